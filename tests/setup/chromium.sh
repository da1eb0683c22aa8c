#!/bin/sh
# Sets up a Chromium that can be driven. Safe to call again. Ends with 77 if it cannot be set up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

has() {
    for name in ${ATOLL_CHROMIUM:-chromium-headless-shell chrome-headless-shell chromium chromium-browser google-chrome google-chrome-stable}; do
        command -v "$name" >/dev/null && return 0
    done
    return 1
}

has && exit 0
(install chromium chromium-headless-shell >/dev/null) || install chromium chromium
has || skip chromium "it is installed, but not on PATH"
