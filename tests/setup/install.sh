# For scripts in this directory, to be sourced.
#
#   skip WHAT WHY          says that WHAT cannot be set up on this machine, and ends with 77
#   install WHAT PACKAGE…  installs Debian packages, or skips WHAT
#   cargo_program NAME     installs a cargo subcommand from crates.io if it is missing
#   debian_sources         prints the file that says where this machine's Debian packages come from

skip() {
    echo "skipped: $1: $2"
    exit 77
}

install() {
    what=$1
    shift
    [ "$(id -u)" = 0 ] || skip "$what" "missing packages: $*; run \`apt-get install $*\` as root, then this again"
    command -v apt-get >/dev/null || skip "$what" "missing packages: $*; install them, then run this again"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    (apt-get update && apt-get install -y --no-install-recommends "$@") >"$log" 2>&1 || {
        tail -n 20 "$log"
        skip "$what" "apt-get could not install $*"
    }
    rm -f "$log"
}

debian_sources() {
    for file in /etc/apt/sources.list.d/*debian*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        if grep -qsE '^(deb |Types:)' "$file"; then
            echo "$file"
            return
        fi
    done
    echo /etc/apt/sources.list
}

cargo_program() {
    cargo "$1" --version >/dev/null 2>&1 && return
    # Building them takes longer than what they do here: optimise less.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off cargo install --locked "cargo-$1"
}
