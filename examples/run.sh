#!/usr/bin/env bash
# Sets everything up and shows the factory at work: it grows one of the examples.
#
#   examples/run.sh [--docker] [--live] [EXAMPLE [DIR]]
#
# EXAMPLE is a directory beside this file (greeting), DIR is where program and journal are put (target/EXAMPLE).
# Offline, the answers of a real model come from the tape EXAMPLE/cassette.jsonl; candidates run in a sandbox.
#
#   --docker   candidates are built and run by Docker
#   --live     asks the model of the example instead of the tape, and keeps its answers in DIR/cassette.jsonl
#
# Safe to call again. ATOLL names a binary to use instead of building one. Ends with 77 where it cannot be had on this
# machine.
set -euo pipefail
cd "$(dirname "$0")/.."

runtime=process
live=
while [ $# -gt 0 ]; do
  case $1 in
    --docker) runtime=docker ;;
    --live) live=1 ;;
    [!-]*) break ;;
    *)
      echo "examples/run.sh [--docker] [--live] [EXAMPLE [DIR]]" >&2
      exit 2
      ;;
  esac
  shift
done
example=examples/${1:-greeting}
place=${2:-target/${1:-greeting}}
if [ ! -f "$example/run.args" ]; then
  echo "there is no example ${1:-greeting}; there are: $(cd examples && echo */run.args | sed 's#/run.args##g')" >&2
  exit 2
fi

need() {
  local command=$1 package=$2
  command -v "$command" >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >/dev/null && return 0
  fi
  echo "$command is missing: install the package $package, then run this again" >&2
  exit 77
}

if [ -z "${ATOLL-}" ]; then
  command -v cargo >/dev/null || {
    echo "a Rust toolchain (1.90 or newer) is missing: install one, then run this again" >&2
    exit 77
  }
  need cc gcc
  cargo build --locked
  ATOLL=target/debug/atoll
fi
if [ "$runtime" = docker ]; then
  tests/setup/docker.sh
  tests/setup/images.sh
else
  need python3 python3-minimal
  tests/setup/sandbox.sh
fi

mkdir -p "$place"
tape=(--replay "$example/cassette.jsonl")
[ -z "$live" ] || tape=(--record "$place/cassette.jsonl")
# Words of the file, without its comments.
read -r -d '' -a inputs < <(grep -v '^#' "$example/run.args") || true
exec "$ATOLL" run factory "${inputs[@]}" --runtime "$runtime" --out "$place/program" --data-dir "$place/runs" "${tape[@]}"
