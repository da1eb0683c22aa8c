#!/usr/bin/env bash
# Sets everything up and runs every check and test.
#
#   tests/run.sh [--no-skips] [--setup-only] [--times] [ARGUMENT…]
#
# Installs what is missing: bubblewrap, a Docker engine and base images, Chromium, databases and terminal programs from Debian's
# packages, Node.js below /usr/local if there is none (both as root), Python and npm packages below target/, cargo-nextest and
# cargo-deny. What cannot run on this machine is skipped; the last lines say what and why. ARGUMENTs go to `cargo nextest run`.
#
#   --no-skips    fail if anything was skipped
#   --setup-only  install what is missing and stop
#   --times       print how long each part took before the list of what was skipped
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

no_skips=
setup_only=
times=
while [ $# -gt 0 ]; do
  case $1 in
    --no-skips) no_skips=1 ;;
    --setup-only) setup_only=1 ;;
    --times) times=1 ;;
    -h | --help) usage && exit 0 ;;
    *) break ;;
  esac
  shift
done

# shellcheck source=tests/setup/phases.sh
. tests/setup/phases.sh

require=()
skips=()
# Runs a set-up script. Exit code 77 means that it cannot be done on this machine; the last line says why.
setup() {
  local what=$1 code=0 output
  shift
  output=$("$@") || code=$?
  [ -z "$output" ] || echo "$output"
  case $code in
    0) require+=("$what") ;;
    77) skips+=("${output##*$'\n'}") ;;
    *) echo "setting up $what failed with exit code $code" >&2; exit "$code" ;;
  esac
}

summary() {
  [ -z "$times" ] || phases
  if [ ${#skips[@]} = 0 ]; then
    echo "nothing was skipped"
    return
  fi
  printf '%s\n' "${skips[@]}"
  if [ -n "$no_skips" ]; then
    echo "failed: --no-skips is set and ${#skips[@]} of the set-up steps were skipped"
    exit 1
  fi
}

phase "set-up"
tests/setup/rust.sh
setup process tests/setup/sandbox.sh
setup docker tests/setup/docker.sh
setup chromium tests/setup/chromium.sh
setup peers tests/setup/peers.sh
setup agents tests/setup/agents.sh
setup terminal tests/setup/terminal.sh
setup databases tests/setup/databases.sh
case " ${require[*]-} " in *" docker "*) setup images tests/setup/images.sh ;; esac
if [ -n "$setup_only" ]; then summary; exit 0; fi
# shellcheck source=tests/setup/install.sh
. tests/setup/install.sh
phase "tools of cargo"
cargo_program nextest
cargo_program deny

# A test that needs something that could be set up fails instead of skipping itself.
ATOLL_REQUIRE=$(IFS=,; echo "${require[*]-}")
export ATOLL_REQUIRE
echo "set up: ${ATOLL_REQUIRE:-nothing beyond Rust}"

phase "dependencies, format"
cargo deny check licenses bans sources
cargo fmt --check
phase "lints"
cargo clippy --all-targets --locked -- -D warnings
phase "build of the program"
cargo build --locked --bin atoll
phase "README in a bare root"
setup bare-root tests/setup/bare_root.sh
phase "build of the tests"
[ $# -gt 0 ] || cargo nextest run --locked --no-run
phase "tests"
code=0
cargo nextest run --locked --no-fail-fast "$@" || code=$?
phase "tests in documentation"
cargo test --locked --doc || code=$?
summary
exit "$code"
