#!/bin/sh
# Tries the two commands of the README in a bare Debian root. Ends with 77 if such a root cannot be made on this machine.
#
#   tests/setup/bare_root.sh           `examples/run.sh` with the binary that is built already, and the set-up of `tests/run.sh`
#   tests/setup/bare_root.sh --first   the whole `examples/run.sh` from nothing, and how long its parts took
#   tests/setup/bare_root.sh --full    the same, then the whole `tests/run.sh`: half an hour or more
#
# The toolchain of this machine is lent to the root, because README asks for one. With --full the root has a network of its own, so
# that its Docker daemon does not disturb that of the machine. The environment of the caller is not passed on, except for what says how
# to reach the network.
set -eu
cd "$(dirname "$0")/../.."
. tests/setup/install.sh

mode=${1:-set-up}
case $mode in
    set-up | --first | --full) ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $mode" >&2; exit 2 ;;
esac

[ "$(id -u)" = 0 ] || skip bare-root "only root can enter another root directory"
command -v mmdebstrap >/dev/null || install bare-root mmdebstrap
unshare --mount --pid --fork true 2>/dev/null || skip bare-root "this machine does not allow new namespaces"

base=target/bare-root.tar
if [ ! -e "$base" ]; then
    mkdir -p target
    # shellcheck source=/dev/null
    . /etc/os-release
    log=$(mktemp)
    # The format is named because mmdebstrap would take it from the end of the file's name.
    mmdebstrap --quiet --format=tar --variant=minbase "$VERSION_CODENAME" "$base.new" "$(debian_sources)" >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip bare-root "mmdebstrap could not make a Debian root"
    }
    rm -f "$log"
    mv "$base.new" "$base"
fi

work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$root"
chmod 755 "$work" "$root"
tar -C "$root" -xpf "$base"
mkdir -p "$root/atoll" "$root/.old" "$root/opt/rust"
: >>"$root/etc/resolv.conf"
# The certificate authorities that this machine trusts.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    command install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/machine.crt"
fi
# The files of the project as they are, without what was built; also without git, or where its repository is missing.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard >"$work/files"
    tar -c --null -T "$work/files" | tar -C "$root/atoll" -xp
else
    tar -c --exclude=./target --exclude=./.git --exclude=./.atoll . | tar -C "$root/atoll" -xp
fi
[ "$mode" != set-up ] || cp "${CARGO_TARGET_DIR:-target}/debug/atoll" "$root/usr/local/bin/atoll"

cat >"$work/inside" <<'END'
set -eu
cd /atoll
say() { printf '\n== %s\n' "$*"; }
if [ "$MODE" = set-up ]; then
    examples/run.sh --help >/dev/null
    tests/run.sh --help >/dev/null
    # Without a toolchain both say so before anything else.
    if said=$(examples/run.sh 2>&1); then echo "examples/run.sh without Rust succeeded"; exit 1; fi
    case $said in *"a Rust toolchain"*) ;; *) echo "examples/run.sh without Rust: $said"; exit 1 ;; esac
    ATOLL=/usr/local/bin/atoll examples/run.sh --times greeting
    test -s target/greeting/program/Dockerfile
    # With one, the tests install the rest. Two Docker daemons on one network would disturb each other.
    export PATH="/opt/rust/bin:$PATH" DOCKER_HOST=tcp://none
    tests/run.sh --setup-only
    for program in cc bwrap psql redis-server whiptail nano fzf node npm; do command -v "$program" >/dev/null; done
    target/peers/bin/python -c "import grpc, websockets"
    exit 0
fi
# The programs that cargo installs are found as on a machine that rustup has set up.
export PATH="$HOME/.cargo/bin:/opt/rust/bin:$PATH"
say "examples/run.sh from nothing ($(nproc) processors)"
examples/run.sh --times
test -s target/greeting/program/Dockerfile
if [ "$MODE" = --full ]; then
    say "tests/run.sh from nothing, but for the crates that the first command has downloaded"
    rm -rf target
    tests/run.sh --times
fi
END

cat >"$work/enter" <<'END'
root=$1 rust=$2 inside=$3
if [ -n "$NETWORK" ]; then
    # The network is connected from outside; the file system of /sys shows the network of who mounts it.
    tries=0
    until grep -q tap0 /proc/net/route; do
        tries=$((tries + 1))
        [ "$tries" -le 100 ] || { echo "the network of the bare root is not there after 10 s"; exit 1; }
        sleep 0.1
    done
fi
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ -n "$NETWORK" ]; then
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
else
    mount --rbind /sys "$root/sys"
fi
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind "$rust" "$root/opt/rust"
cp "$inside" "$root/inside"
cd "$root"
pivot_root . .old
umount -l /.old
exec sh /inside
END

# How this machine reaches the network; everything else of the environment stays outside.
set --
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE PIP_CERT PIP_INDEX_URL CI; do
    eval "value=\${$name-}"
    # shellcheck disable=SC2154
    [ -z "$value" ] || set -- "$@" "$name=$value"
done
set -- "$@" HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin MODE="$mode"
rust=$(rustc --print sysroot)
if [ "$mode" != --full ]; then
    env -i "$@" NETWORK= \
        unshare --mount --pid --fork --kill-child sh -eu "$work/enter" "$root" "$rust" "$work/inside"
    exit
fi

command -v slirp4netns >/dev/null || install bare-root slirp4netns
env -i "$@" NETWORK=1 \
    unshare --mount --net --pid --fork --kill-child sh -eu "$work/enter" "$root" "$rust" "$work/inside" &
entered=$!
# The process has its own network a moment after it has begun.
until [ "$(readlink "/proc/$entered/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
    kill -0 "$entered"
    sleep 0.1
done
slirp4netns --configure --mtu=65520 --disable-host-loopback "$entered" tap0 >"$work/network.log" 2>&1 &
network=$!
# unshare ignores the gentler signals while it waits; what runs inside ends with it.
trap 'kill -KILL "$entered" "$network" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM
wait "$entered"
