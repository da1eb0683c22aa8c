#!/bin/sh
# Makes sure that a Docker daemon answers: installs the engine from the distribution's packages where it is
# missing and starts it where it does not run. Safe to call again. Ends with 77 where that cannot be done here.
set -eu

skip() {
    echo "skipped: docker: $1"
    exit 77
}

answers() {
    curl --silent --fail --max-time 5 --unix-socket "$socket" http://localhost/_ping >/dev/null 2>&1
}

socket=/var/run/docker.sock
case "${DOCKER_HOST:-}" in
    unix://*) socket=${DOCKER_HOST#unix://} ;;
    ?*) skip "DOCKER_HOST=$DOCKER_HOST is no local socket" ;;
esac
answers && exit 0
[ "$(id -u)" = 0 ] || skip "no daemon answers at $socket, and only root can start one"

if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null; then
    command -v apt-get >/dev/null || skip "dockerd is not installed, and there is no apt-get to install it with"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    (apt-get update && apt-get install -y --no-install-recommends docker.io iptables) >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip "apt-get could not install docker.io"
    }
    rm -f "$log"
    # Packages may start the daemon themselves.
    answers && exit 0
fi

log=${TMPDIR:-/tmp}/atoll-dockerd.log
setsid nohup dockerd --host "unix://$socket" >"$log" 2>&1 </dev/null &
tries=0
until answers; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ]; then
        tail -n 20 "$log"
        skip "dockerd does not answer after 30 s, its log is in $log"
    fi
    sleep 0.2
done
