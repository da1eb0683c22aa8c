#!/bin/sh
# Makes sure that a Chromium is there that can be driven. Safe to call again. Ends with 77 where it cannot be had here.
set -eu

skip() {
    echo "skipped: chromium: $1"
    exit 77
}

there() {
    for name in ${ATOLL_CHROMIUM:-chromium-headless-shell chrome-headless-shell chromium chromium-browser google-chrome google-chrome-stable}; do
        command -v "$name" >/dev/null && return 0
    done
    return 1
}

there && exit 0
[ "$(id -u)" = 0 ] || skip "it is not installed, and only root can install it"
command -v apt-get >/dev/null || skip "it is not installed, and there is no apt-get to install it with"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
(apt-get update && {
    apt-get install -y --no-install-recommends chromium-headless-shell ||
        apt-get install -y --no-install-recommends chromium
}) >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "apt-get could not install chromium-headless-shell or chromium"
}
rm -f "$log"
there || skip "it is installed, but not on PATH"
