#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks.
#
#     scripts/setup.sh TOOLS
#
# Packages come by apt-get, which needs root; a kubectl that is new enough is
# unpacked into TOOLS, which does not. Quick, and without network, when
# nothing is missing. On other distributions it says what to install.
set -euo pipefail

readonly tools=${1:?usage: scripts/setup.sh TOOLS}
readonly oldest_cargo=1.91
# `kubectl exec` speaks WebSocket by default since 1.30, which is what the embedded API serves.
readonly oldest_kubectl=1.30

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
}

is_there() {
    case $1 in
        program:*) command -v "${1#*:}" >/dev/null || [ -x "/usr/sbin/${1#*:}" ] ;;
        # gcc prints the bare name of a library that it cannot find.
        library:*) [[ $(cc -print-file-name="${1#*:}" 2>/dev/null) == /* ]] ;;
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
    # The lists on disk may do; a fresh machine has none, an old one's are out of date.
    apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
    }
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -eq 0 ] || fail "still missing after apt-get: ${packages[*]}"
}

### kubectl

# The minor version matters: 1.32 of "v1.32.4".
kubectl_version() {
    "$1" version --client --output=json 2>/dev/null |
        sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\).*/\1/p' | head -n 1
}

is_good_kubectl() {
    local have
    [ -x "$1" ] || return 1
    have=$(kubectl_version "$1")
    [ -n "$have" ] && at_least "$have" "$oldest_kubectl"
}

ensure_kubectl() {
    local installed
    is_good_kubectl "$tools/kubectl" && return 0
    installed=$(command -v kubectl || true)
    [ -n "$installed" ] && is_good_kubectl "$installed" && return 0
    say "kubectl ${installed:+here is $(kubectl_version "$installed" || true), }$oldest_kubectl or newer is needed: looking for one"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    if kubectl_from_own_suite || kubectl_from_newer_debian; then
        say "kubectl $(kubectl_version "$tools/kubectl") is in $tools"
    else
        fail "no kubectl $oldest_kubectl or newer could be had from this machine's package mirrors;" \
            "install one as the Kubernetes documentation says (\"Install Tools\"), anywhere in PATH"
    fi
}

kubectl_from_own_suite() {
    command -v apt-get >/dev/null || return 1
    fetch_kubectl "$scratch/own"
}

# Debian 12's is too old and newer ones run there: take it, alone, from the suite after.
kubectl_from_newer_debian() {
    local mirror suite
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || return 1
    for suite in trixie sid; do
        fetch_from_suite "$mirror" "$suite" && return 0
    done
    return 1
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
    fetch_kubectl "$root" "${options[@]}"
}

# fetch_kubectl FOLDER [APT OPTION...]: downloads, unpacks, tries. What is installed is
# hidden from apt, which would otherwise insist on a version that only this machine has.
fetch_kubectl() {
    local folder=$1 package
    local unpacking=(-o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
    shift
    for package in kubectl kubernetes-client; do
        rm -rf "$folder/download"
        mkdir -p "$folder/download"
        (cd "$folder/download" && apt-get -qq "$@" "${unpacking[@]}" download "$package") >/dev/null 2>&1 || continue
        dpkg -x "$folder"/download/*.deb "$folder/unpacked" || continue
        if is_good_kubectl "$folder/unpacked/usr/bin/kubectl"; then
            install -D -m 0755 "$folder/unpacked/usr/bin/kubectl" "$tools/kubectl"
            return 0
        fi
    done
    return 1
}

check_rust
install_packages
ensure_kubectl
