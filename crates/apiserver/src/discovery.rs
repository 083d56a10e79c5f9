//! Discovery: which groups, versions and resources there are, read off the table of kinds.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::{self, Body},
    kinds::{KINDS, Kind},
    request::{Accept, Form},
};

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

/// What may be done with objects of a kind.
fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.review.is_some() {
        &["create"]
    } else {
        VERBS
    }
}

/// The Kubernetes version whose API this is.
const MAJOR: &str = "1";
const MINOR: &str = "36";

/// The version of the server.
pub fn version() -> Response<Body> {
    let ours = env!("CARGO_PKG_VERSION");
    let version = json!({
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": format!("v{MAJOR}.{MINOR}.0+sealane-{ours}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", std::env::consts::ARCH),
    });
    answer::value(StatusCode::OK, Accept::PLAIN, &version)
}

/// Answers a discovery path; `None` if it is none.
pub fn answer(parts: &[&str], accept: Accept) -> Option<Response<Body>> {
    let found = match (parts, accept.form) {
        (["api"], Form::Discovery(version)) => aggregated(version, |group| group.is_empty()),
        (["apis"], Form::Discovery(version)) => aggregated(version, |group| !group.is_empty()),
        (["api"], _) => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        (["apis"], _) => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups().keys().filter(|group| !group.is_empty()).map(|name| group(name)).collect::<Vec<_>>(),
        }),
        (["api", version], _) => resources("", version)?,
        (["apis", name], _) => groups().contains_key(*name).then(|| group(name))?,
        (["apis", group, version], _) => resources(group, version)?,
        ([], _) => json!({ "paths": paths() }),
        _ => return None,
    };
    let is_aggregated = matches!(parts, ["api"] | ["apis"]);
    let accept = match accept.form {
        Form::Discovery(_) if is_aggregated => accept,
        _ => Accept {
            form: Form::Object,
            ..accept
        },
    };
    Some(answer::value(StatusCode::OK, accept, &found))
}

/// Groups and their versions.
fn groups() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in KINDS {
        let versions = groups.entry(kind.group).or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    groups
}

fn group(name: &str) -> Value {
    let versions: Vec<Value> = groups()
        .get(name)
        .into_iter()
        .flatten()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "preferredVersion": versions.first(),
        "versions": versions,
    })
}

fn kinds_of(group: &str, version: &str) -> Vec<&'static Kind> {
    let served = |kind: &&Kind| kind.group == group && kind.version == version;
    KINDS.iter().copied().filter(served).collect()
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds = kinds_of(group, version);
    let first = kinds.first()?;
    let resources: Vec<Value> = kinds.iter().copied().flat_map(resource_and_parts).collect();
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version(),
        "resources": resources,
    }))
}

fn resource_and_parts(kind: &'static Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let parts = parts(kind).map(|part| {
        let mut shown = json!({
            "name": format!("{}/{}", kind.plural, part.name),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": part.kind,
            "verbs": part.verbs,
        });
        if (part.group, part.version) != (kind.group, kind.version) {
            shown["group"] = part.group.into();
            shown["version"] = part.version.into();
        }
        shown
    });
    std::iter::once(resource).chain(parts).collect()
}

/// What discovery says of a subresource.
struct Part {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

fn parts(kind: &'static Kind) -> impl Iterator<Item = Part> {
    let status = kind.status.then_some(Part {
        name: "status",
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        verbs: STATUS_VERBS,
    });
    let others = kind.subresources.iter().map(|part| {
        let own = (kind.group, kind.version);
        let (group, version) = part.group_version().unwrap_or(own);
        Part {
            name: part.name(),
            group,
            version,
            kind: part.kind(),
            verbs: part.verbs(),
        }
    });
    status.into_iter().chain(others)
}

/// All groups that `wanted` accepts, with versions and resources, in one list.
fn aggregated(version: &str, wanted: impl Fn(&str) -> bool) -> Value {
    let groups: Vec<Value> = groups()
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| aggregated_version(group, version))
                .collect();
            json!({
                "metadata": { "name": group, "creationTimestamp": null },
                "versions": versions,
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    })
}

fn aggregated_version(group: &str, version: &str) -> Value {
    let of = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let resources: Vec<Value> = kinds_of(group, version)
        .into_iter()
        .map(|kind| {
            let parts: Vec<Value> = parts(kind)
                .map(|part| {
                    json!({
                        "subresource": part.name,
                        "responseKind": of(part.group, part.version, part.kind),
                        "verbs": part.verbs,
                    })
                })
                .collect();
            let mut resource = json!({
                "resource": kind.plural,
                "responseKind": of(group, version, kind.kind),
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.singular,
                "verbs": verbs(kind),
            });
            for (name, list) in [
                ("shortNames", kind.short_names),
                ("categories", kind.categories),
            ] {
                if !list.is_empty() {
                    resource[name] = json!(list);
                }
            }
            if !parts.is_empty() {
                resource["subresources"] = json!(parts);
            }
            resource
        })
        .collect();
    json!({ "version": version, "resources": resources, "freshness": "Current" })
}

fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, versions) in groups() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.extend(
                versions
                    .iter()
                    .map(|version| format!("/apis/{group}/{version}")),
            );
        }
    }
    let others = ["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"];
    paths.extend(others.map(str::to_owned));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_discovered_in_both_ways() {
        for kind in KINDS {
            let legacy = resources(kind.group, kind.version).unwrap();
            let names: Vec<&str> = legacy["resources"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|r| r["name"].as_str())
                .collect();
            assert!(names.contains(&kind.plural), "{kind:?}");
            let all = aggregated("v2", |group| group == kind.group);
            let found = all["items"][0]["versions"][0]["resources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|r| r["resource"] == kind.plural);
            assert!(found, "{kind:?}");
        }
        assert!(resources("apps", "v9").is_none());
    }
}
