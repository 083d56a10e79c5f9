#!/usr/bin/env bash
# From nothing to two pods that talk across nodes, and back to nothing.
#
#     SEALANE=target/sealane scripts/demo.sh
#
# The cluster is called `demo`, so that one of your own is left alone. It is
# taken down whatever happens: failure, Ctrl-C, a closed terminal.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly sealane=${SEALANE:-target/sealane}
readonly name=demo

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

# What happens, in words.
tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# The command as one would type it, then what it does.
run() {
    printf '%s$ %s%s\n' "$dim" "$*" "$plain"
    "$@"
}

# Stand-ins, so that what is shown is what one would type.
sealane() { "$sealane" "$@" --name "$name"; }
show_sealane() {
    printf '%s$ sealane %s --name %s%s\n' "$dim" "$*" "$name" "$plain"
    sealane "$@"
}

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

take_down() {
    local code=$?
    # A second Ctrl-C must not stop half way.
    trap '' INT TERM HUP
    trap - EXIT
    if [ "$up" = yes ]; then
        if [ $code -ge 128 ]; then
            printf '\ndemo: interrupted; the cluster is taken down\n' >&2
        elif [ $code -ne 0 ]; then
            printf '\ndemo: something went wrong; this is what the cluster says, before it is taken down:\n' >&2
            sealane status >&2 || true
        fi
        sealane down >&2 || {
            printf 'demo: the cluster could not be taken down; try: %s down --name %s\n' "$sealane" "$name" >&2
            code=1
        }
    fi
    exit "$code"
}

[ "$(id -u)" -eq 0 ] || fail "needs root, for network namespaces: sudo make demo"
[ -x "$sealane" ] || fail "no $sealane: run \`make build\` first"
command -v kubectl >/dev/null || fail "no kubectl in PATH: run \`make setup\`, which puts one in target/tools"

up=no
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

tell '1. A cluster of two nodes: namespaces on a bridge, an API server, an agent and a node process each.'
up=yes
show_sealane up

tell '2. Two pods, one on each node.'
KUBECONFIG=$(sealane kubeconfig)
export KUBECONFIG
run kubectl apply -f examples/two-pods.yaml
run kubectl wait --for=condition=Ready --timeout=60s pod/pod-a pod/pod-b
run kubectl get nodes,pods -o wide

tell '3. How node-1 finds the pods of node-2: a route to their subnet.'
run ip netns exec "$name-node-1" ip route

tell '4. pod-a asks pod-b. pod-b sees the address that pod-a has: nothing was translated on the way.'
address=$(kubectl get pod pod-b -o 'jsonpath={.status.podIP}')
run kubectl exec pod-a -- curl -s "http://$address:8080"

tell '5. What the cluster says of itself.'
show_sealane status

tell '6. And away with it.'
run kubectl delete -f examples/two-pods.yaml
show_sealane down
up=no

tell 'That was a Kubernetes network. Yours: `make install`, `sealane up`, and kubectl as always.'
