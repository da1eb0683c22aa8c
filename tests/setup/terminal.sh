#!/bin/sh
# Sets up programs for a terminal: whiptail, nano and fzf. Safe to call again. Ends with 77 if they cannot be set up on this
# machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

missing=
for program in whiptail nano fzf; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
# shellcheck disable=SC2086
[ -z "$missing" ] || install terminal $missing
