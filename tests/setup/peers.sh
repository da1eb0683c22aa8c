#!/bin/sh
# Sets up target/peers, a Python environment with the servers that tests talk to. Safe to call again. Ends with 77 if it
# cannot be set up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh
cd ../..

packages="anthropic google-genai ollama openai datasette grpcio grpcio-reflection grpcio-health-checking grpcio-tools websockets httpbin a2wsgi sse-starlette uvicorn"
peers=target/peers

has() {
    [ -x "$peers/bin/python" ] && "$peers/bin/python" -c \
        'import anthropic, datasette, google.genai, grpc, grpc_health.v1, grpc_reflection.v1alpha, grpc_tools, ollama, openai, websockets' 2>/dev/null
}

has && exit 0
python3 -c 'import ensurepip, venv' 2>/dev/null || install peers python3 python3-venv ca-certificates
log=$(mktemp)
# shellcheck disable=SC2086
{ python3 -m venv "$peers" && "$peers/bin/python" -m pip install --quiet $packages; } >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip peers "pip could not install $packages"
}
rm -f "$log"
has || skip peers "the packages are installed but cannot be imported"
