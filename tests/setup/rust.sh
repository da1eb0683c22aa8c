#!/bin/sh
# Checks for what building Atoll takes: a Rust toolchain, which is not installed here, and a C compiler, which is. Safe to call
# again. Ends with 77 if something is missing.
set -eu
cd "$(dirname "$0")"
. ./install.sh

wanted=1.90
known=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
[ -n "$known" ] || skip rust "a Rust toolchain ($wanted or newer) is missing; install one, for example from https://rustup.rs"
oldest=$(printf '%s\n%s\n' "$wanted" "$known" | sort -V | head -n 1)
[ "$oldest" = "$wanted" ] || skip rust "Rust $known is too old; $wanted or newer is needed"

missing=
command -v cc >/dev/null || missing="gcc libc6-dev"
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || missing="$missing ca-certificates"
# shellcheck disable=SC2086
[ -z "$missing" ] || install rust $missing
