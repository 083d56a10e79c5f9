#!/usr/bin/env python3
"""Writes kubernetes.txt: how Kubernetes' types look in protobuf, and how their lists merge.

    git clone -b release-1.36 https://github.com/kubernetes/api
    git clone -b release-1.36 https://github.com/kubernetes/apimachinery
    ./generate.py api apimachinery > kubernetes.txt

Names, numbers and types of fields come from each package's generated.proto; that a field is a
pointer, is inlined in JSON, or is merged by a key, from the tags in types.go.
"""

import re
import subprocess
import sys

PACKAGES = {
    "k8s.io.api.core.v1": ("api", "core/v1"),
    "k8s.io.api.apps.v1": ("api", "apps/v1"),
    "k8s.io.api.authentication.v1": ("api", "authentication/v1"),
    "k8s.io.api.authorization.v1": ("api", "authorization/v1"),
    "k8s.io.api.autoscaling.v1": ("api", "autoscaling/v1"),
    "k8s.io.api.coordination.v1": ("api", "coordination/v1"),
    "k8s.io.api.discovery.v1": ("api", "discovery/v1"),
    "k8s.io.api.events.v1": ("api", "events/v1"),
    "k8s.io.api.networking.v1": ("api", "networking/v1"),
    "k8s.io.api.policy.v1": ("api", "policy/v1"),
    "k8s.io.api.rbac.v1": ("api", "rbac/v1"),
    "k8s.io.apimachinery.pkg.apis.meta.v1": ("apimachinery", "pkg/apis/meta/v1"),
    "k8s.io.apimachinery.pkg.api.resource": ("apimachinery", "pkg/api/resource"),
    "k8s.io.apimachinery.pkg.runtime": ("apimachinery", "pkg/runtime"),
    "k8s.io.apimachinery.pkg.util.intstr": ("apimachinery", "pkg/util/intstr"),
}
ROOTS = """
core.v1: Binding ConfigMap Endpoints Event Namespace Node Pod ReplicationController Secret Service ServiceAccount
apps.v1: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
authentication.v1: SelfSubjectReview TokenRequest TokenReview
authorization.v1: LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
autoscaling.v1: Scale
coordination.v1: Lease
discovery.v1: EndpointSlice
events.v1: Event
networking.v1: IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
policy.v1: Eviction PodDisruptionBudget
rbac.v1: ClusterRole ClusterRoleBinding Role RoleBinding
meta.v1: DeleteOptions
"""
SCALARS = {
    "string": "text", "bytes": "bytes", "bool": "bool", "double": "double",
    "int32": "int", "int64": "int", "uint32": "int", "uint64": "int",
}


def short(package):
    return package.removeprefix("k8s.io.api.").removeprefix("k8s.io.apimachinery.pkg.").removeprefix("apis.")


def read(repo, path):
    try:
        return subprocess.run(["git", "-C", repo, "show", f"{BRANCH}:{path}"], check=True,
                              capture_output=True, text=True).stdout
    except subprocess.CalledProcessError:
        return ""


def tags(source):
    """(struct, number) -> (name in JSON, pointer, inline, merge key, merges)"""
    found, struct = {}, None
    for line in source.splitlines():
        if start := re.match(r"type (\w+) struct {", line):
            struct = start[1]
        elif line == "}":
            struct = None
        tag = re.match(r"\t(?:\w+\s+)?(\S+)\s+`(.*)`", line)
        number = tag and re.search(r'protobuf:"\w+,(\d+)', tag[2])
        if not (struct and number):
            continue
        name = re.search(r'json:"(\w*)', tag[2])
        key = re.search(r'patchMergeKey:"(\w+)"', tag[2])
        strategy = re.search(r'patchStrategy:"([\w,]+)"', tag[2])
        found[struct, int(number[1])] = (
            name and name[1],
            tag[1].startswith("*"),
            'json:",inline"' in tag[2],
            key and key[1],
            bool(strategy) and "merge" in strategy[1].split(","),
        )
    return found


def messages(package, proto, tagged):
    found, message = {}, None
    for line in proto.splitlines():
        if start := re.match(r"message (\w+) {", line):
            message = start[1]
            found[f"{short(package)}.{message}"] = fields = []
        field = re.match(r"  (optional|repeated|required|map<string, ([\w.]+)>)\s*([\w.]*) (\w+) = (\d+);", line) \
            or re.match(r"  (map<string, ([\w.]+)>)()\s+(\w+) = (\d+);", line)
        if not (message and field):
            continue
        label, value, kind, name, number = field.groups()
        kind = value or kind
        if kind not in SCALARS:
            kind = kind.lstrip(".")
            package_of, _, last = kind.rpartition(".")
            kind = f"{short(package_of or package)}.{last}"
        kind = SCALARS.get(kind, kind)
        json, pointer, inline, key, merges = tagged.get(
            (message, int(number)), ("", False, False, None, False))
        words = [number, json or name, kind]
        if label.startswith("map"):
            words.append("map")
        elif label == "repeated":
            words.append("list")
            words += [f"by={key}"] if key and merges else ["set"] if merges else []
        elif pointer:
            words.append("pointer")
        if inline:
            words.append("inline")
        fields.append(words)
    return found


REPOS, BRANCH = dict(zip(["api", "apimachinery"], sys.argv[1:3])), "release-1.36"
everything = {}
for package, (repo, path) in PACKAGES.items():
    source = "".join(read(REPOS[repo], f"{path}/{name}") for name in ["types.go", "well_known_types.go"])
    everything |= messages(package, read(REPOS[repo], f"{path}/generated.proto"), tags(source))

wanted = [f"{line.split(':')[0]}.{kind}" for line in ROOTS.strip().splitlines()
          for kind in line.split(":")[1].split()]
reached = set()
while wanted:
    name = wanted.pop()
    if name not in reached and not name.endswith("ManagedFieldsEntry"):
        reached.add(name)
        wanted += [words[2] for words in everything[name] if words[2] in everything]

print("""\
# How Kubernetes' types look in protobuf, and how strategic merge patches merge their lists.
# Derived by generate.py from kubernetes/api and kubernetes/apimachinery, branch release-1.36,
# (c) The Kubernetes Authors, Apache-2.0.
#
# TYPE, then for each field: number name kind [map | list [by=KEY | set] | pointer] [inline]""")
for name in sorted(reached):
    print(f"\n{name}")
    for words in everything[name]:
        print(" ".join(words))
