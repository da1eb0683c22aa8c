#!/bin/sh
# Makes a Python environment with the programs that scenarios are tested against, in target/peers. Safe to call again.
# Ends with 77 where it cannot be had here.
set -eu
cd "$(dirname "$0")/../.."

packages="datasette grpcio grpcio-reflection grpcio-health-checking grpcio-tools websockets"
modules="datasette, grpc, grpc_reflection, grpc_health, grpc_tools, websockets"

skip() {
    echo "skipped: peers: $1"
    exit 77
}

complete() {
    target/peers/bin/python -c "import $modules" 2>/dev/null
}

complete && exit 0
command -v python3 >/dev/null || skip "there is no python3"
mkdir -p target
log=$(mktemp)
python3 -m venv target/peers >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "python3 makes no environment"
}
# shellcheck disable=SC2086
target/peers/bin/pip install --quiet --disable-pip-version-check $packages >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "pip could not install $packages"
}
rm -f "$log"
complete || skip "the environment in target/peers is not complete"
