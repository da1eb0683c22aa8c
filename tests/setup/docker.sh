#!/bin/sh
# Sets up a Docker engine: installs it if it is missing and starts its daemon if none answers. Safe to call again. Ends
# with 77 if it cannot be set up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

socket=/var/run/docker.sock
case "${DOCKER_HOST:-}" in
    unix://*) socket=${DOCKER_HOST#unix://} ;;
    ?*) skip docker "DOCKER_HOST=$DOCKER_HOST is not a local socket" ;;
esac

answers() {
    docker --host "unix://$socket" info >/dev/null 2>&1
}

# `docker top` asks the `ps` of the machine.
command -v ps >/dev/null || install docker procps
answers && exit 0
[ "$(id -u)" = 0 ] || skip docker "no daemon answers at $socket, and only root can start one"
if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null; then
    install docker docker.io iptables
    # Installing the package may have started the daemon.
    answers && exit 0
fi

log=${TMPDIR:-/tmp}/atoll-dockerd.log
setsid nohup dockerd --host "unix://$socket" >"$log" 2>&1 </dev/null &
daemon=$!
tries=0
until answers; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ]; then
        tail -n 20 "$log"
        skip docker "dockerd does not answer after 30 s; its log is $log"
    fi
    sleep 0.2
done
echo "started the Docker daemon (process $daemon, log $log); it keeps running: stop it with \`kill $daemon\`"
