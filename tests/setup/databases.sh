#!/bin/sh
# Makes sure that redis-server and PostgreSQL are there. Safe to call again. Ends with 77 where that cannot be done here.
set -eu

skip() {
    echo "skipped: databases: $1"
    exit 77
}

has() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && command -v psql >/dev/null &&
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

has && exit 0
[ "$(id -u)" = 0 ] || skip "redis-server or PostgreSQL is not installed, and only root can install them"
command -v apt-get >/dev/null || skip "redis-server or PostgreSQL is not installed, and there is no apt-get to install them with"
export DEBIAN_FRONTEND=noninteractive
# Tests start their own: nothing is started by the packages where that can be helped.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
log=$(mktemp)
(apt-get update && apt-get install -y --no-install-recommends redis-server postgresql) >"$log" 2>&1 || {
    tail -n 20 "$log"
    skip "apt-get could not install redis-server and postgresql"
}
rm -f "$log"
has || skip "redis-server or PostgreSQL is still not here"
