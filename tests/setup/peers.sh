#!/bin/sh
# Makes sure that the programs that scenarios are tested against are there: Python packages in an environment of their
# own, target/peers. Safe to call again. Ends with 77 where that cannot be done here.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: peers: $1"
    exit 77
}

packages="datasette grpcio grpcio-reflection grpcio-health-checking grpcio-tools websockets"
home=target/peers
complete() {
    # shellcheck disable=SC2086
    [ -x "$home/bin/python" ] && "$home/bin/python" -m pip show --quiet $packages >/dev/null 2>&1
}
complete && exit 0

command -v python3 >/dev/null || skip "python3 is not installed"
mkdir -p target
log=target/peers.log
# shellcheck disable=SC2086
{ python3 -m venv "$home" && "$home/bin/python" -m pip install --disable-pip-version-check $packages; } >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "pip could not install $packages"
}
