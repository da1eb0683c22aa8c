#!/bin/sh
# Sets up the process sandbox: bubblewrap, and a Python for the programs that run in it. Safe to call again. Ends with 77
# if it cannot be set up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

missing=
command -v bwrap >/dev/null || missing=bubblewrap
python3 -c 'import json, http.server' >/dev/null 2>&1 || missing="$missing python3"
# shellcheck disable=SC2086
[ -z "$missing" ] || install process $missing
# Not all of `/`: what containers mount comes and goes.
bwrap --unshare-all --ro-bind /usr /usr --ro-bind-try /bin /bin --ro-bind-try /lib /lib --ro-bind-try /lib64 /lib64 \
    --proc /proc --dev /dev true ||
    skip process "bubblewrap is not allowed to create namespaces on this machine"
