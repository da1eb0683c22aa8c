#!/bin/sh
# Sets up programs for a terminal: whiptail, nano, fzf, top and curl. Safe to call again. Ends with 77 if they cannot be set
# up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

missing=
for program in whiptail nano fzf curl; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
command -v top >/dev/null || missing="$missing procps"
# shellcheck disable=SC2086
[ -z "$missing" ] || install terminal $missing
