#!/bin/sh
# Makes sure that bubblewrap is there and may make namespaces. Safe to call again. Ends with 77 where that cannot
# be done here.
set -eu

skip() {
    echo "skipped: process: $1"
    exit 77
}

if ! command -v bwrap >/dev/null; then
    [ "$(id -u)" = 0 ] || skip "bubblewrap is not installed, and only root can install it"
    command -v apt-get >/dev/null || skip "bubblewrap is not installed, and there is no apt-get to install it with"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    (apt-get update && apt-get install -y --no-install-recommends bubblewrap) >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip "apt-get could not install bubblewrap"
    }
    rm -f "$log"
fi
bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev true || skip "bubblewrap may not make namespaces here"
