#!/bin/sh
# Makes sure that target/agents has the coding agents that tests start. Safe to call again, and silent where all is there.
# Ends with 77 where that cannot be done here.
set -eu
cd "$(dirname "$0")/../.."

packages="@anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0 @google/gemini-cli@0.61.0"
agents=target/agents

skip() {
    echo "skipped: agents: $1"
    exit 77
}

has() {
    for name in claude codex gemini; do
        "$agents/node_modules/.bin/$name" --version >/dev/null 2>&1 || return 1
    done
}

has && exit 0
command -v npm >/dev/null || skip "there is no npm"
mkdir -p "$agents"
log=$(mktemp)
# shellcheck disable=SC2086
npm install --prefix "$agents" --no-audit --no-fund $packages >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "npm could not install $packages"
}
rm -f "$log"
has || skip "the packages are installed but do not start"
