#!/usr/bin/env bash
# All checks, as CI runs them. Installs what is missing (bubblewrap, the Docker engine, base images, Chromium from
# Debian's packages, Python programs from pip); what cannot run on this machine is named as skipped, with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."

require=()
# Runs a set-up script; 77 means "cannot be had here".
setup() {
  local what=$1 code=0
  shift
  "$@" || code=$?
  case $code in
    0) require+=("$what") ;;
    77) echo "skipped: everything that needs $what" ;;
    *) echo "setting up $what failed with exit code $code" >&2; exit "$code" ;;
  esac
}
setup process tests/setup/sandbox.sh
setup docker tests/setup/docker.sh
setup chromium tests/setup/chromium.sh
setup peers tests/setup/peers.sh
setup agents tests/setup/agents.sh
setup terminal tests/setup/terminal.sh
setup databases tests/setup/databases.sh
case " ${require[*]-} " in *" docker "*) setup images tests/setup/images.sh ;; esac

# What could be set up must be tested: a test that skips itself all the same fails.
ATOLL_REQUIRE=$(IFS=,; echo "${require[*]-}")
export ATOLL_REQUIRE
echo "will run with: ${ATOLL_REQUIRE:-nothing beyond the language}"

if ! cargo nextest --version >/dev/null 2>&1; then
  cargo install --locked cargo-nextest
fi
if cargo deny --version >/dev/null 2>&1; then
  cargo deny check licenses bans sources
else
  echo "skipped: licences, bans and sources: cargo-deny is not installed"
fi
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo nextest run --locked --no-fail-fast "$@"
