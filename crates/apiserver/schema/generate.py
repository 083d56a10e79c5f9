#!/usr/bin/env python3
"""Writes kubernetes.txt: how Kubernetes' types look in protobuf, and how their fields merge.

    for repo in api apimachinery apiextensions-apiserver metrics; do
        git clone -b release-1.36 https://github.com/kubernetes/$repo
    done
    ./generate.py api apimachinery apiextensions-apiserver metrics > kubernetes.txt

Names, numbers and types of fields come from each package's generated.proto; that a field is a
pointer, is inlined in JSON, or is merged by a key, from the tags in types.go; how appliers share
it, from the markers above it there (`+listType`, `+listMapKey`, `+mapType`, `+structType`).
"""

import re
import subprocess
import sys

PACKAGES = {
    "k8s.io.api.admissionregistration.v1": ("api", "admissionregistration/v1"),
    "k8s.io.api.core.v1": ("api", "core/v1"),
    "k8s.io.api.apps.v1": ("api", "apps/v1"),
    "k8s.io.api.authentication.v1": ("api", "authentication/v1"),
    "k8s.io.api.authorization.v1": ("api", "authorization/v1"),
    "k8s.io.api.autoscaling.v1": ("api", "autoscaling/v1"),
    "k8s.io.api.autoscaling.v2": ("api", "autoscaling/v2"),
    "k8s.io.api.batch.v1": ("api", "batch/v1"),
    "k8s.io.api.coordination.v1": ("api", "coordination/v1"),
    "k8s.io.api.discovery.v1": ("api", "discovery/v1"),
    "k8s.io.api.events.v1": ("api", "events/v1"),
    "k8s.io.api.networking.v1": ("api", "networking/v1"),
    "k8s.io.api.policy.v1": ("api", "policy/v1"),
    "k8s.io.api.rbac.v1": ("api", "rbac/v1"),
    "k8s.io.api.scheduling.v1": ("api", "scheduling/v1"),
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1": ("apiextensions-apiserver", "pkg/apis/apiextensions/v1"),
    "k8s.io.apimachinery.pkg.apis.meta.v1": ("apimachinery", "pkg/apis/meta/v1"),
    "k8s.io.apimachinery.pkg.api.resource": ("apimachinery", "pkg/api/resource"),
    "k8s.io.apimachinery.pkg.runtime": ("apimachinery", "pkg/runtime"),
    "k8s.io.apimachinery.pkg.util.intstr": ("apimachinery", "pkg/util/intstr"),
    "k8s.io.metrics.pkg.apis.metrics.v1beta1": ("metrics", "pkg/apis/metrics/v1beta1"),
}
ROOTS = """
core.v1: Binding ConfigMap Endpoints Event LimitRange Namespace Node Pod ReplicationController ResourceQuota Secret Service ServiceAccount
admissionregistration.v1: MutatingWebhookConfiguration ValidatingWebhookConfiguration
apiextensions.v1: CustomResourceDefinition
apps.v1: ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
authentication.v1: SelfSubjectReview TokenRequest TokenReview
authorization.v1: LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
autoscaling.v1: HorizontalPodAutoscaler Scale
autoscaling.v2: HorizontalPodAutoscaler
batch.v1: CronJob Job
coordination.v1: Lease
discovery.v1: EndpointSlice
events.v1: Event
metrics.v1beta1: NodeMetrics PodMetrics
networking.v1: IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
policy.v1: Eviction PodDisruptionBudget
rbac.v1: ClusterRole ClusterRoleBinding Role RoleBinding
scheduling.v1: PriorityClass
meta.v1: DeleteOptions
"""
SCALARS = {
    "string": "text", "bytes": "bytes", "bool": "bool", "double": "double",
    "int32": "int", "int64": "int", "uint32": "int", "uint64": "int",
}


def short(package):
    return re.sub(r"k8s\.io\.((\w+\.pkg\.(apis\.)?)|api\.)", "", package)


def read(repo, path):
    try:
        return subprocess.run(["git", "-C", repo, "show", f"{BRANCH}:{path}"], check=True,
                              capture_output=True, text=True).stdout
    except subprocess.CalledProcessError:
        return ""


def tags(source):
    """What types.go says: of a field (struct, number), and which structs are atomic."""
    found, atomic, struct, markers = {}, set(), None, []
    for line in source.splitlines():
        if marker := re.match(r"\s*// *\+(\w+)=(\S+)", line):
            markers.append((marker[1], marker[2]))
            continue
        if line.lstrip().startswith("//") or not line.strip():
            continue
        said, markers = markers, []
        if start := re.match(r"type (\w+) struct {", line):
            struct = start[1]
            if ("structType", "atomic") in said:
                atomic.add(struct)
        elif line == "}":
            struct = None
        tag = re.match(r"\t(?:\w+\s+)?(\S+)\s+`(.*)`", line)
        number = tag and re.search(r'protobuf:"\w+,(\d+)', tag[2])
        if not (struct and number):
            continue
        found[struct, int(number[1])] = field(tag[1], tag[2], said)
    return found, atomic


def field(kind, tag, markers):
    """One field: its tags and markers."""
    told = dict(markers)
    name = re.search(r'json:"([^",]*)', tag)
    key = re.search(r'patchMergeKey:"(\w+)"', tag)
    strategy = re.search(r'patchStrategy:"([\w,]+)"', tag)
    merges = bool(strategy) and "merge" in strategy[1].split(",")
    by = [key[1]] if key and merges else None
    keys = [value for what, value in markers if what == "listMapKey"]
    # A list without a marker is shared as strategic merge patches merge it.
    list_type = told.get("listType", "map" if by else "set" if merges else "atomic")
    pointer = kind.startswith("*")
    default = told.get("default", "")
    return {
        "name": name and name[1],
        "pointer": pointer,
        "inline": 'json:",inline"' in tag,
        "by": by and by[0],
        "merges": merges,
        "retain": bool(strategy) and "retainKeys" in strategy[1].split(","),
        "list": list_type,
        "keys": keys or by,
        "atomic": "atomic" in (told.get("mapType"), told.get("structType")),
        "default": default if re.match(r'"|\d', default) else None,
        "required": not pointer and ",omitempty" not in tag,
    }


def messages(package, proto, tagged):
    found, message = {}, None
    for line in proto.splitlines():
        if start := re.match(r"message (\w+) {", line):
            message = start[1]
            found[f"{short(package)}.{message}"] = fields = []
        match = re.match(r"  (optional|repeated|required|map<string, ([\w.]+)>)\s*([\w.]*) (\w+) = (\d+);", line) \
            or re.match(r"  (map<string, ([\w.]+)>)()\s+(\w+) = (\d+);", line)
        if not (message and match):
            continue
        label, value, kind, name, number = match.groups()
        kind = value or kind
        if kind not in SCALARS:
            kind = kind.lstrip(".")
            package_of, _, last = kind.rpartition(".")
            kind = f"{short(package_of or package)}.{last}"
        kind = SCALARS.get(kind, kind)
        told = tagged.get((message, int(number))) or field("", "", [])
        words = [number, told["name"] or name, kind]
        if label.startswith("map"):
            words.append("map")
        elif label == "repeated":
            words.append("list")
            words += [f"by={told['by']}"] if told["by"] else ["set"] if told["merges"] else []
            words += {
                "map": [f"keys={','.join(told['keys'] or [])}"], "set": ["unique"], "atomic": [],
            }[told["list"]]
        elif told["pointer"]:
            words.append("pointer")
        if label != "optional" and told["required"]:
            words.append("kept")
        words += [flag for flag in ["inline", "retain", "atomic"] if told[flag]]
        zero = {"text": '""', "int": "0"}.get(kind) if told["required"] else None
        fields.append((words, told["default"] or zero))
    return found


REPOS = dict(zip(["api", "apimachinery", "apiextensions-apiserver", "metrics"], sys.argv[1:5]))
BRANCH = "release-1.36"
everything, atomic = {}, set()
for package, (repo, path) in PACKAGES.items():
    files = ["types.go", "types_jsonschema.go", "well_known_types.go"]
    source = "".join(read(REPOS[repo], f"{path}/{name}") for name in files)
    fields, structs = tags(source)
    everything |= messages(package, read(REPOS[repo], f"{path}/generated.proto"), fields)
    atomic |= {f"{short(package)}.{struct}" for struct in structs}

wanted = [f"{line.split(':')[0]}.{kind}" for line in ROOTS.strip().splitlines()
          for kind in line.split(":")[1].split()]
reached = set()
while wanted:
    name = wanted.pop()
    if name not in reached:
        reached.add(name)
        wanted += [words[2] for words, _ in everything[name] if words[2] in everything]


def is_key(name, of):
    """Whether this field of the type tells elements of some list apart."""
    return any(words[2] == of and word.startswith("keys=") and name in word[5:].split(",")
               for fields in everything.values() for words, _ in fields for word in words)


print("""\
# How Kubernetes' types look in protobuf, and how strategic merge patches and appliers merge them.
# Derived by generate.py from kubernetes/api, apimachinery, apiextensions-apiserver and metrics,
# branch release-1.36, (c) The Kubernetes Authors, Apache-2.0.
#
# TYPE [atomic], then for each field:
# number name kind [map | list [by=KEY | set] [keys=KEY,... | unique] | pointer] [kept] [inline] [retain] [atomic] [default=JSON]
#
# by, set, retain: what strategic merge patches do; keys, unique, atomic: what server-side apply does.
# kept: Go encodes it also when it is empty. A default is told of fields that are keys.""")
for name in sorted(reached):
    print(f"\n{name}" + (" atomic" if name in atomic else ""))
    for words, default in everything[name]:
        if default is not None and is_key(words[1], name):
            words = [*words, f"default={default}"]
        print(" ".join(words))
