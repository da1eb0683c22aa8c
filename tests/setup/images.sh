#!/bin/sh
# Makes the base images of the tests and examples from the distribution's own packages: no registry is asked. They have names
# of their own, and `[docker.images]` (or ATOLL_DOCKER_IMAGES) uses them in place of the official ones that Dockerfiles name. Images
# that exist are kept, so a second call takes a moment.
#
#   images.sh             atoll/busybox:latest and atoll/python:3
#   images.sh busybox     only the small one, in seconds
set -eu
cd "$(dirname "$0")"
. ./install.sh

has() { docker image inspect "$1" >/dev/null 2>&1; }

need() {
    command -v "$1" >/dev/null || install images "$2"
}

busybox_image() {
    has atoll/busybox:latest && return 0
    need busybox busybox-static
    root=$(mktemp -d)
    mkdir -p "$root/bin" "$root/tmp" "$root/etc" "$root/root"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    chmod 1777 "$root/tmp"
    tar -C "$root" -c . | docker import --change 'CMD ["sh"]' - atoll/busybox:latest >/dev/null
    rm -rf "$root"
}

# The distribution's Python 3.
python_image() {
    has atoll/python:3 && return 0
    need mmdebstrap mmdebstrap
    work=$(mktemp -d)
    chmod 755 "$work"
    . /etc/os-release
    mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates \
        "$VERSION_CODENAME" "$work/base.tar" "$(debian_sources)"
    docker import --change 'CMD ["python3"]' --change 'ENV PYTHONUNBUFFERED=1' "$work/base.tar" atoll/base:new >/dev/null
    printf 'FROM atoll/base:new\nRUN ln -sf python3 /usr/bin/python\n' | docker build -q -t atoll/python:3 - >/dev/null
    docker rmi atoll/base:new >/dev/null
    rm -rf "$work"
}

case "${1:-all}" in
    busybox) busybox_image ;;
    all) busybox_image; python_image ;;
    *) echo "images.sh: no image set named '$1'" >&2; exit 2 ;;
esac
