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

has && exit 0
node_version=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
[ "${node_version:-0}" -ge 20 ] || skip agents "Node.js 20 or newer is missing; install it with npm, then run this again"
command -v npm >/dev/null || skip agents "npm is missing; install it, then run this again"
mkdir -p "$agents"
log=$(mktemp)
# shellcheck disable=SC2086
npm install --prefix "$agents" --no-audit --no-fund $packages >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip agents "npm could not install $packages"
}
rm -f "$log"
has || skip agents "the packages are installed but do not start"
