#!/usr/bin/env bash
# Sets everything up and shows the factory at work, offline: it grows a greeting service while the answers of a
# real model come from the tape examples/greeting/cassette.jsonl. Safe to call again.
#
#   examples/run.sh [DIR]     puts the program and the journal below DIR (target/greeting)
#
# ATOLL names a binary to use instead of building one. Ends with 77 where the run cannot be had on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

example=examples/greeting
place=${1:-target/greeting}

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
need python3 python3-minimal
tests/setup/sandbox.sh

if [ ! -f "$example/cassette.jsonl" ]; then
  echo "there is no tape $example/cassette.jsonl: record one with --record, see docs/factory.md" >&2
  exit 77
fi
# Words of the file, without its comments.
read -r -d '' -a inputs < <(grep -v '^#' "$example/run.args") || true
exec "$ATOLL" run factory "${inputs[@]}" --runtime process --out "$place/program" --data-dir "$place/runs" \
  --replay "$example/cassette.jsonl"
