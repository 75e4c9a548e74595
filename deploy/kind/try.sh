#!/usr/bin/env bash
# A kind cluster whose DNS is kdns: builds the image, loads it, swaps it into the Deployment coredns, asks from a pod.
#
#     deploy/kind/try.sh            leaves the cluster running
#     deploy/kind/try.sh --delete   deletes it
#
# Needs docker, kind and kubectl. KDNS_KIND_CLUSTER (kdns) and KDNS_IMAGE (kdns:0.1.0) name what is made.
# It talks to the context kind-$KDNS_KIND_CLUSTER alone, whatever your current one is.
set -euo pipefail
cd "$(dirname "$0")/../.."

cluster=${KDNS_KIND_CLUSTER:-kdns}
image=${KDNS_IMAGE:-kdns:0.1.0}
client=registry.k8s.io/e2e-test-images/agnhost:2.53 # has dig
step="starting"

say() {
    step=$1
    printf -- '--- %s\n' "$step"
}
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}
explain() {
    local status=$?
    [ "$status" -eq 0 ] || printf 'failed (exit status %s) while: %s\n' "$status" "$step" >&2
}
trap explain EXIT

kube() { kubectl --context "kind-$cluster" "$@"; }
in_pod() { kube exec dns-client -- "$@"; }

# expect WHAT WANTED dig-arguments...: dig from the pod, up to ten times, for endpoints take a moment to be programmed.
expect() {
    local what=$1 wanted=$2 got="" attempt
    shift 2
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        got=$(in_pod dig +short +time=2 +tries=1 "$@" | sort | paste -sd' ' -) || got="no answer (attempt $attempt)"
        if [ "$got" = "$wanted" ]; then
            printf 'ok: %s: %s\n' "$what" "$got"
            return
        fi
        sleep 1
    done
    fail "$what: dig $* says '$got', not '$wanted'"
}

for program in docker kind kubectl; do
    command -v "$program" >/dev/null 2>&1 || fail "$program is not installed (or not in PATH)"
done
docker info >/dev/null 2>&1 || fail "docker does not answer: is its daemon running, and may you use it?"

if [ "${1:-}" = "--delete" ]; then
    say "deleting the cluster $cluster"
    kind delete cluster --name "$cluster"
    exit 0
fi
[ $# -eq 0 ] || fail "unknown argument $1: there is --delete, and nothing else"

say "building $image"
docker build --tag "$image" .
docker run --rm --read-only --user 65532:65532 --cap-drop ALL --cap-add NET_BIND_SERVICE \
    --security-opt no-new-privileges "$image" -version

# Not grep -q: that ends at the match, and kind, cut off in the middle, would count as failed (pipefail).
if ! kind get clusters 2>/dev/null | grep -x "$cluster" >/dev/null; then
    say "creating the cluster $cluster"
    kind create cluster --name "$cluster" --config deploy/kind/cluster.yaml --wait 180s
fi

say "loading $image into its nodes"
kind load docker-image "$image" --name "$cluster"

say "a pod to ask from"
kube run dns-client --image "$client" --restart Never --dry-run=client --output yaml --command -- sleep infinity |
    kube apply --filename -
kube wait --for condition=Ready pod/dns-client --timeout 180s

say "swapping the image of the Deployment coredns"
before=$(kube --namespace kube-system get deployment coredns --output 'jsonpath={.spec.template.spec.containers[0].image}')
[ "$before" = "$image" ] || echo "before: $before. To roll back:" \
    "kubectl --context kind-$cluster --namespace kube-system set image deployment/coredns coredns=$before"
kube --namespace kube-system set image deployment/coredns "coredns=$image"
if ! kube --namespace kube-system rollout status deployment/coredns --timeout 180s; then
    kube --namespace kube-system get pods --selector k8s-app=kube-dns --output wide >&2
    kube --namespace kube-system logs --selector k8s-app=kube-dns --tail 20 --prefix >&2 || true
    fail "the rollout did not finish; the old pods go on answering"
fi

say "asking from a pod"
address=$(kube get service kubernetes --output 'jsonpath={.spec.clusterIP}')
dns=$(kube --namespace kube-system get service kube-dns --output 'jsonpath={.spec.clusterIP}')
pods=$(kube --namespace kube-system get endpointslices --selector kubernetes.io/service-name=kube-dns \
    --output 'jsonpath={range .items[*].endpoints[*]}{.addresses[0]}{"\n"}{end}' | wc -l)
[ "$pods" -ge 2 ] || fail "kube-dns has $pods endpoints, not 2"
name=kubernetes.default.svc.cluster.local
expect "a Service" "$address" "$name"
expect "over TCP" "$address" +tcp "$name"
expect "by the search list" "$address" +search kubernetes.default
expect "a port" "0 100 443 $name." SRV "_https._tcp.$name"
expect "an address" "$name." -x "$address"
expect "the DNS itself" "$dns" kube-dns.kube-system.svc.cluster.local
expect "the version of the specification" '"1.1.0"' TXT dns-version.cluster.local
status=$(in_pod dig +noall +comments nowhere.default.svc.cluster.local | grep -o 'status: [A-Z]*')
[ "$status" = "status: NXDOMAIN" ] || fail "a name that does not exist: $status, not NXDOMAIN"
echo "ok: a name that does not exist: NXDOMAIN"
if outside=$(in_pod dig +short +time=3 +tries=2 example.com) && [ -n "$outside" ]; then
    echo "ok: a name outside: example.com"
else
    echo "note: no answer for example.com; does a node of this cluster reach a resolver?" >&2
fi

echo "The cluster $cluster is served by $image. Delete it with: $0 --delete"
