#!/usr/bin/env bash
# Sets everything up, builds Atoll, and runs the factory on one of the examples.
#
#   examples/run.sh [--docker] [--live] [--setup-only] [--times] [EXAMPLE [DIR]]
#
# EXAMPLE is a directory next to this file (default: greeting). DIR gets the program and the journal (target/EXAMPLE).
# Offline by default: the answers of a real model come from EXAMPLE/cassette.jsonl, everything else happens for real.
#
#   --docker      build and run programs in Docker instead of the process sandbox
#   --live        ask the model of the example and record its answers in DIR/cassette.jsonl
#   --setup-only  install what is missing and stop
#   --times       print how long each part took at the end
#
# Safe to run again. ATOLL names a binary to use instead of building one. Exit code 77: something is missing that cannot be
# installed here; the message lists it.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

runtime=process
live=
setup_only=
times=
while [ $# -gt 0 ]; do
  case $1 in
    --docker) runtime=docker ;;
    --live) live=1 ;;
    --setup-only) setup_only=1 ;;
    --times) times=1 ;;
    -h | --help) usage && exit 0 ;;
    [!-]*) break ;;
    *) echo "unknown option $1" >&2 && usage >&2 && exit 2 ;;
  esac
  shift
done
example=examples/${1:-greeting}
place=${2:-target/${1:-greeting}}
if [ ! -f "$example/run.args" ]; then
  echo "unknown example ${1:-greeting}; known: $(cd examples && echo */run.args | sed 's#/run.args##g')" >&2
  exit 2
fi

# shellcheck source=tests/setup/phases.sh
. tests/setup/phases.sh
phase "set-up"
# Everything that is missing is found before anything takes time.
if [ -z "${ATOLL-}" ]; then tests/setup/rust.sh; fi
if [ "$runtime" = docker ]; then
  tests/setup/docker.sh
  if ! docker image inspect python:3.12-slim >/dev/null 2>&1; then
    tests/setup/images.sh
    export ATOLL_DOCKER_IMAGES=${ATOLL_DOCKER_IMAGES:-python:3.12-slim=atoll/python:3}
  fi
else
  tests/setup/sandbox.sh
fi
if [ -n "$setup_only" ]; then exit 0; fi

phase "build"
if [ -z "${ATOLL-}" ]; then
  cargo build --locked --profile ci --bin atoll
  ATOLL=${CARGO_TARGET_DIR:-target}/ci/atoll
fi
mkdir -p "$place"
tape=(--replay "$example/cassette.jsonl")
if [ -n "$live" ]; then tape=(--record "$place/cassette.jsonl"); fi
# The words of the file without its comments.
read -r -d '' -a inputs < <(grep -v '^#' "$example/run.args") || true
run=("$ATOLL" run factory "${inputs[@]}" --runtime "$runtime" --out "$place/program" --data-dir "$place/runs" "${tape[@]}")
[ -n "$times" ] || exec "${run[@]}"
phase "run"
code=0
"${run[@]}" || code=$?
phases
exit "$code"
