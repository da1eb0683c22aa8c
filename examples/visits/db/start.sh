# A database of its own, in /tmp and gone with the service.
set -e
PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH
initdb --auth=trust --username=visits --no-sync --pgdata=/tmp/data >/dev/null
echo 'create database visits' | postgres --single -D /tmp/data postgres >/dev/null
exec postgres -D /tmp/data -c listen_addresses=0.0.0.0 -c unix_socket_directories= -c fsync=off \
    -c dynamic_shared_memory_type=mmap
