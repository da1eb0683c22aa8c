#!/bin/sh
# Makes sure that programs for a terminal are there: whiptail, nano and fzf. Safe to call again. Ends with 77 where
# that cannot be done here.
set -eu

skip() {
    echo "skipped: terminal: $1"
    exit 77
}

has() {
    for program in whiptail nano fzf; do
        command -v "$program" >/dev/null || return 1
    done
}

has && exit 0
[ "$(id -u)" = 0 ] || skip "whiptail, nano or fzf is not installed, and only root can install them"
command -v apt-get >/dev/null || skip "whiptail, nano or fzf is not installed, and there is no apt-get to install them with"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
(apt-get update && apt-get install -y --no-install-recommends whiptail nano fzf) >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "apt-get could not install whiptail, nano and fzf"
}
rm -f "$log"
has || skip "whiptail, nano or fzf is still not on PATH"
