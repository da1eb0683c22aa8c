#!/bin/sh
# Tries the two commands of the README in a bare Debian root: `examples/run.sh` from its set-up to the finished example, and the
# set-up of `tests/run.sh`. Uses the binary that is built already. Ends with 77 if such a root cannot be made on this machine.
set -eu
cd "$(dirname "$0")/../.."
. tests/setup/install.sh

[ "$(id -u)" = 0 ] || skip bare-root "only root can enter another root directory"
command -v mmdebstrap >/dev/null || install bare-root mmdebstrap
unshare --mount --pid --fork true 2>/dev/null || skip bare-root "this machine does not allow new namespaces"

base=target/bare-root.tar
if [ ! -e "$base" ]; then
    mkdir -p target
    # The package sources of this machine, and how it reaches them.
    sources=/etc/apt/sources.list
    [ -f /etc/apt/sources.list.d/debian.sources ] && sources=/etc/apt/sources.list.d/debian.sources
    # shellcheck source=/dev/null
    . /etc/os-release
    log=$(mktemp)
    # The format is named because mmdebstrap would take it from the end of the file's name.
    mmdebstrap --quiet --format=tar --variant=minbase "$VERSION_CODENAME" "$base.new" "$sources" >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip bare-root "mmdebstrap could not make a Debian root"
    }
    rm -f "$log"
    mv "$base.new" "$base"
fi

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xpf "$base"
mkdir -p "$root/atoll" "$root/.old" "$root/opt/rust"
: >>"$root/etc/resolv.conf"
# The certificate authorities that this machine trusts.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    command install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/machine.crt"
fi
# The files of the project as they are, without what was built; also without git, or where its repository is missing.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard >"$root/.files"
    tar -c --null -T "$root/.files" | tar -C "$root/atoll" -xp
else
    tar -c --exclude=./target --exclude=./.git --exclude=./.atoll . | tar -C "$root/atoll" -xp
fi
cp "${CARGO_TARGET_DIR:-target}/debug/atoll" "$root/usr/local/bin/atoll"
# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child sh -euc '
    root=$1 rust=$2
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    mount --bind "$rust" "$root/opt/rust"
    cd "$root"
    pivot_root . .old
    umount -l /.old
    cd /atoll
    unset CARGO_TARGET_DIR
    export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    examples/run.sh --help >/dev/null
    tests/run.sh --help >/dev/null
    # Without a toolchain both say so before anything else.
    if said=$(examples/run.sh 2>&1); then echo "examples/run.sh without Rust succeeded"; exit 1; fi
    case $said in *"a Rust toolchain"*) ;; *) echo "examples/run.sh without Rust: $said"; exit 1 ;; esac
    ATOLL=/usr/local/bin/atoll examples/run.sh greeting
    test -s target/greeting/program/Dockerfile
    # With one, the tests install the rest. Two Docker daemons on one network would disturb each other.
    export PATH="/opt/rust/bin:$PATH" DOCKER_HOST=tcp://none
    tests/run.sh --setup-only
    for program in cc bwrap psql redis-server whiptail nano fzf; do command -v "$program" >/dev/null; done
    target/peers/bin/python -c "import grpc, websockets"
' enter "$root" "$(rustc --print sysroot)"
