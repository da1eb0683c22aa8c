#!/bin/sh
# Sets up redis-server and PostgreSQL. Safe to call again. Ends with 77 if they cannot be set up on this machine.
set -eu
cd "$(dirname "$0")"
. ./install.sh

has() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && command -v psql >/dev/null &&
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

has && exit 0
# The tests start servers of their own: keep the packages from starting theirs.
policy=/usr/sbin/policy-rc.d
if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
install databases redis-server postgresql
has || skip databases "redis-server or PostgreSQL is still missing"
