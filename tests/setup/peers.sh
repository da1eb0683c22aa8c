#!/bin/sh
# Makes sure that target/peers is a Python environment with the servers that tests talk to. Safe to call again, and
# silent where all is there. Ends with 77 where that cannot be done here.
set -eu
cd "$(dirname "$0")/../.."

packages="anthropic google-genai ollama openai datasette grpcio grpcio-reflection grpcio-health-checking grpcio-tools websockets httpbin a2wsgi sse-starlette uvicorn"
peers=target/peers

skip() {
    echo "skipped: peers: $1"
    exit 77
}

has() {
    [ -x "$peers/bin/python" ] && "$peers/bin/python" -c \
        'import anthropic, datasette, google.genai, grpc, grpc_health.v1, grpc_reflection.v1alpha, grpc_tools, ollama, openai, websockets' 2>/dev/null
}

has && exit 0
command -v python3 >/dev/null || skip "there is no python3"
log=$(mktemp)
# shellcheck disable=SC2086
{ python3 -m venv "$peers" && "$peers/bin/python" -m pip install --quiet $packages; } >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "pip could not install $packages"
}
rm -f "$log"
has || skip "the packages are installed but cannot be imported"
