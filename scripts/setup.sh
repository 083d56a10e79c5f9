#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks.
#
#     scripts/setup.sh TOOLS [tests|fuzz]
#
# Packages come by apt-get, which needs root; into TOOLS, which does not, come
#
#     kubectl       the newest that the package mirrors have
#     kubectl-old   one of an older generation, for `tests`
#     python        an environment with the Python client of Kubernetes, for `tests`
#     moto          one with moto's EC2, for `tests`
#
# Quick, and without network, when nothing is missing. On other distributions it
# says what to install.
set -euo pipefail

readonly tools=${1:?usage: scripts/setup.sh TOOLS [tests|fuzz]}
readonly purpose=${2:-build}
readonly oldest_cargo=1.91
# The oldest that is supported, and that tests are made for.
readonly oldest_kubectl=1.28
# Where fetched ones come from, newest first: Debian 12's own is too old, and these run there.
readonly kubectl_suites=(sid trixie)
readonly python_client=37.0.2
# EC2 on loopback; `server` of its extras would bring every other service of Amazon's along.
readonly moto=5.2.5

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# at_least HAVE WANT: whether version HAVE is WANT or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

### Rust

check_rust() {
    local have sudo_hides=
    # "cargo 1.91.0 (…)"
    read -r _ have _ < <(cargo --version 2>/dev/null) || true
    if [ -z "${have:-}" ]; then
        [ -z "${SUDO_USER:-}" ] ||
            sudo_hides="; if $SUDO_USER has one, sudo hides it: keep PATH and HOME (sudo --preserve-env=HOME env PATH=\"\$PATH\" make)"
        fail "no cargo: install Rust $oldest_cargo or newer with rustup$sudo_hides"
    fi
    at_least "$have" "$oldest_cargo" ||
        fail "cargo is $have, $oldest_cargo or newer is needed: run \`rustup update stable\`"
    local component
    for component in clippy rustfmt; do
        "cargo-${component/rustfmt/fmt}" --version >/dev/null 2>&1 || add_component "$component"
    done
}

add_component() {
    command -v rustup >/dev/null || fail "no $1 beside cargo: install it as you installed Rust"
    say "adding $1"
    rustup component add "$1"
}

### Packages

# Each line: what to look for, the package it is in, what for.
needed() {
    cat <<'TABLE'
program:ip          iproute2                     look into network namespaces
program:tcpdump     tcpdump                      watch packets
program:curl        curl                         ask pods from this machine
program:nft         nftables                     compare our rules with what it shows
program:iptables    iptables                     compare our rules with what it shows
program:cc          gcc                          link
library:libc.a      libc6-dev                    link statically
file:/usr/lib/cni/bridge  containernetworking-plugins  compare our plugin with the reference ones
file:/etc/ssl/certs/ca-certificates.crt  ca-certificates  reach package mirrors by TLS
TABLE
    [ "$purpose" != fuzz ] || echo 'program:g++ g++ build libFuzzer'
    [ "$purpose" = tests ] || return 0
    cat <<'TABLE'
file:/usr/bin/python3  python3                  run the Python client of Kubernetes, and moto
python:ensurepip   python3-venv                 give it an environment of its own
program:unbound    unbound                      answer names of the outside world
program:musl-gcc   musl-tools                   ask for names by musl's resolver
program:docker-registry  docker-registry        pull images from
program:skopeo     skopeo                       push images to it, and make archives
program:umoci      umoci                        compare our unpacking with its
program:containerd containerd                   make pods with our plugin by a real runtime
program:runc       runc                         start their containers
program:dig        bind9-dnsutils               ask for names
python:dns.resolver  python3-dnspython          ask for names by another client
TABLE
}

is_there() {
    case $1 in
        program:*) command -v "${1#*:}" >/dev/null || [ -x "/usr/sbin/${1#*:}" ] ;;
        # gcc prints the bare name of a library that it cannot find.
        library:*) [[ $(cc -print-file-name="${1#*:}" 2>/dev/null) == /* ]] ;;
        python:*) /usr/bin/python3 -c "import ${1#*:}" 2>/dev/null ;;
        file:*) [ -e "${1#*:}" ] ;;
    esac
}

missing_packages() {
    local what package _
    while read -r what package _; do
        is_there "$what" || echo "$package"
    done < <(needed)
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "missing: ${packages[*]} (Debian's names); this machine has no apt-get, install them your way"
    [ "$(id -u)" -eq 0 ] ||
        fail "missing: ${packages[*]}; run as root: apt-get update && apt-get install -y ${packages[*]}"
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    start_no_services
    # The lists on disk may do; a fresh machine has none, an old one's are out of date.
    apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
    }
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -eq 0 ] || fail "still missing after apt-get: ${packages[*]}"
}

# Tests run programs of these packages by themselves. What Debian's packages ask before they start a
# service says no until the end of this script, unless an administrator has something to say there.
start_no_services() {
    local policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || return 0
    policy_made=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
}

### kubectl

# The minor version matters: 1.32 of "v1.32.4".
kubectl_version() {
    "$1" version --client --output=json 2>/dev/null |
        sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\).*/\1/p' | head -n 1
}

# is_kubectl FILE OLDEST: whether it runs and is that or newer.
is_kubectl() {
    local have
    [ -x "$1" ] || return 1
    have=$(kubectl_version "$1")
    [ -n "$have" ] && at_least "$have" "$2"
}

ensure_kubectl() {
    local installed suite
    is_kubectl "$tools/kubectl" "$oldest_kubectl" && return 0
    say "looking for the newest kubectl"
    for suite in "${kubectl_suites[@]}"; do
        kubectl_from_suite "$suite" "$oldest_kubectl" kubectl && break
    done
    if [ ! -e "$tools/kubectl" ] && installed=$(command -v kubectl); then
        is_kubectl "$installed" "$oldest_kubectl" && place_link "$installed" kubectl
    fi
    is_kubectl "$tools/kubectl" "$oldest_kubectl" ||
        fail "no kubectl $oldest_kubectl or newer could be had from this machine's package mirrors;" \
            "install one as the Kubernetes documentation says (\"Install Tools\"), anywhere in PATH"
    say "kubectl $(kubectl_version "$tools/kubectl") is in $tools"
}

# Package mirrors keep no 1.28: one that somebody has installed is taken, else Debian 13's 1.32.
# Tests run what is there and say so.
ensure_old_kubectl() {
    local installed
    is_kubectl "$tools/kubectl-old" "$oldest_kubectl" && return 0
    installed=$(oldest_installed_kubectl)
    if [ -n "$installed" ]; then
        place_link "$installed" kubectl-old
    else
        kubectl_from_suite trixie "$oldest_kubectl" kubectl-old || {
            say "no older kubectl than $(kubectl_version "$tools/kubectl") could be had: tests run with one generation"
            return 0
        }
    fi
    say "kubectl-old is $(kubectl_version "$tools/kubectl-old"), from ${installed:-Debian trixie}"
}

# The oldest supported one older than ours, among those in PATH and beside them (`kubectl.1.28`).
oldest_installed_kubectl() {
    local ours candidate version
    ours=$(kubectl_version "$tools/kubectl")
    for candidate in $(installed_kubectls); do
        version=$(kubectl_version "$candidate")
        if [ -n "$version" ] && at_least "$version" "$oldest_kubectl" && ! at_least "$version" "$ours"; then
            printf '%s %s\n' "$version" "$candidate"
        fi
    done | sort -V | sed -n '1s/^[^ ]* //p'
}

installed_kubectls() {
    local folders folder
    IFS=: read -r -a folders <<<"$PATH"
    for folder in "${folders[@]}"; do
        [ "$folder" != "$tools" ] || continue
        compgen -G "$folder/kubectl" || true
        compgen -G "$folder/kubectl[.-]1.*" || true
        [ ! -e "$folder/kubectl" ] ||
            compgen -G "$(dirname "$(readlink -f "$folder/kubectl")")/kubectl[.-]1.*" || true
    done | sort -u
}

place_link() {
    mkdir -p "$tools"
    ln -sfn "$1" "$tools/$2"
}

# The mirror of this machine's own apt sources, so that proxies and local mirrors are used as they are set.
debian_mirror() {
    command -v apt-get >/dev/null || return 0
    # Without package lists, as in a fresh container, apt does not know whose mirror is whose.
    [ -n "$(own_mirrors)" ] || [ "$(id -u)" -ne 0 ] || apt-get update -qq
    own_mirrors | head -n 1
}

own_mirrors() {
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
        grep -v -e '-security' || true
}

# kubectl_from_suite SUITE OLDEST NAME: takes kubectl, alone, from that suite of Debian.
kubectl_from_suite() {
    local mirror
    mirror=$(debian_mirror)
    [ -n "$mirror" ] && fetch_from_suite "$mirror" "$@"
}

# An apt of its own: its lists, cache and sources are below one folder, the machine's are left alone.
fetch_from_suite() {
    local root=$scratch/$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$root"/{lists/partial,cache/archives/partial,parts}
    local signed=
    [ -e "$keyring" ] && signed="[signed-by=$keyring] "
    printf 'deb %s%s %s main\n' "$signed" "$1" "$2" >"$root/sources.list"
    local options=(
        -o "Dir::Etc::sourcelist=$root/sources.list"
        -o "Dir::Etc::sourceparts=$root/parts"
        -o "Dir::State::lists=$root/lists"
        -o "Dir::Cache=$root/cache"
        -o APT::Sandbox::User=root
        -o Acquire::Languages=none
    )
    say "reading the package list of Debian $2"
    apt-get -qq "${options[@]}" update || return 1
    fetch_kubectl "$root" "$3" "$4" "${options[@]}"
}

# fetch_kubectl FOLDER OLDEST NAME APT_OPTION...: downloads, unpacks, tries. What is installed is
# hidden from apt, which would otherwise insist on a version that only this machine has.
fetch_kubectl() {
    local folder=$1 oldest=$2 name=$3 package
    local unpacking=(-o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
    shift 3
    for package in kubectl kubernetes-client; do
        rm -rf "$folder/download"
        mkdir -p "$folder/download"
        (cd "$folder/download" && apt-get -qq "$@" "${unpacking[@]}" download "$package") >/dev/null 2>&1 || continue
        dpkg -x "$folder"/download/*.deb "$folder/unpacked" || continue
        if is_kubectl "$folder/unpacked/usr/bin/kubectl" "$oldest"; then
            install -D -m 0755 "$folder/unpacked/usr/bin/kubectl" "$tools/$name"
            return 0
        fi
    done
    return 1
}

### Python

# ensure_environment NAME PACKAGE...: the first with its version says whether all is there.
#
# The system's own Python, so that pods of the host image can use it too. One for each purpose: the client of
# Kubernetes and moto ask for versions of python-dateutil that exclude each other, and pip would look for hours.
ensure_environment() {
    local name=$1 python=$tools/$1
    shift
    has_python_package "$python" "$1" && return 0
    say "making an environment with $1"
    rm -rf "$python"
    /usr/bin/python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check "$@" ||
        fail "no environment $name: pip could not install $*"
}

# has_python_package FOLDER NAME==VERSION; extras in brackets do not count.
has_python_package() {
    local name=${2%%[\[=]*} version=${2##*==}
    "$1/bin/python" -c "import importlib.metadata as m; assert m.version('$name') == '$version'" 2>/dev/null
}

scratch=$(mktemp -d)
policy_made=
trap 'rm -rf "$scratch" ${policy_made:+"$policy_made"}' EXIT
check_rust
install_packages
ensure_kubectl
[ "$purpose" = tests ] || exit 0
ensure_old_kubectl
ensure_environment python "kubernetes==$python_client"
ensure_environment moto "moto[ec2]==$moto" flask==3.1.3 flask-cors==6.0.5
