//! Discovery: which groups, versions and resources there are, read off the kinds that are served.

use std::{cmp::Reverse, collections::BTreeMap};

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::{self, Body},
    kinds::{Kind, KindRef, Served, Subresource},
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
pub fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.review.is_some() {
        &["create"]
    } else if kind.measured.is_some() {
        &["get", "list"]
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
pub fn answer(served: &Served, parts: &[&str], accept: Accept) -> Option<Response<Body>> {
    let found = match (parts, accept.form) {
        (["api"], Form::Discovery(version)) => {
            aggregated(served, version, |group| group.is_empty())
        }
        (["apis"], Form::Discovery(version)) => {
            aggregated(served, version, |group| !group.is_empty())
        }
        (["api"], _) => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        (["apis"], _) => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": named_groups(served).collect::<Vec<_>>(),
        }),
        (["api", version], _) => resources(served, "", version)?,
        (["apis", name], _) => group(name, groups(served).get(*name)?),
        (["apis", group, version], _) => resources(served, group, version)?,
        ([], _) => json!({ "paths": paths(served) }),
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

/// Groups and their versions, the preferred one first.
fn groups(served: &Served) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in served.iter() {
        let versions = groups.entry(kind.group).or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| Reverse(Priority::of(version)));
    }
    groups
}

/// Which version of a group clients should take, as Kubernetes orders them: stable ones before
/// `beta` before `alpha`, newer before older, and what is no such version after all.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority<'a> {
    Other(Reverse<&'a str>),
    Known(Stage, u64, u64),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha,
    Beta,
    Stable,
}

impl<'a> Priority<'a> {
    fn of(version: &'a str) -> Self {
        Self::known(version).unwrap_or(Self::Other(Reverse(version)))
    }

    fn known(version: &str) -> Option<Self> {
        let rest = version.strip_prefix('v')?;
        for (word, stage) in [("alpha", Stage::Alpha), ("beta", Stage::Beta)] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some(Self::Known(stage, major.parse().ok()?, minor.parse().ok()?));
            }
        }
        Some(Self::Known(Stage::Stable, rest.parse().ok()?, 0))
    }
}

/// All groups that have a name.
fn named_groups(served: &Served) -> impl Iterator<Item = Value> {
    let named = groups(served)
        .into_iter()
        .filter(|(name, _)| !name.is_empty());
    named.map(|(name, versions)| group(name, &versions))
}

fn group(name: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
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

fn kinds_of(served: &Served, group: &str, version: &str) -> Vec<KindRef> {
    let wanted = |kind: &KindRef| kind.group == group && kind.version == version;
    served.iter().filter(wanted).collect()
}

fn resources(served: &Served, group: &str, version: &str) -> Option<Value> {
    let kinds = kinds_of(served, group, version);
    let first = kinds.first()?;
    let resources: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| resource_and_parts(kind))
        .collect();
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version(),
        "resources": resources,
    }))
}

fn resource_and_parts(kind: &Kind) -> Vec<Value> {
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
pub struct Part {
    /// Its name in paths.
    pub name: &'static str,
    /// Group of what is sent to it.
    pub group: &'static str,
    /// Version of that.
    pub version: &'static str,
    /// Kind of that.
    pub kind: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
    /// Which one it is; the status, if none.
    pub of: Option<Subresource>,
}

/// The subresources of a kind.
pub fn parts(kind: &Kind) -> impl Iterator<Item = Part> + '_ {
    let status = kind.status.then_some(Part {
        name: "status",
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        verbs: STATUS_VERBS,
        of: None,
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
            of: Some(*part),
        }
    });
    status.into_iter().chain(others)
}

/// All groups that `wanted` accepts, with versions and resources, in one list.
fn aggregated(served: &Served, version: &str, wanted: impl Fn(&str) -> bool) -> Value {
    let groups: Vec<Value> = groups(served)
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| aggregated_version(served, group, version))
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

fn aggregated_version(served: &Served, group: &str, version: &str) -> Value {
    let of = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let resources: Vec<Value> = kinds_of(served, group, version)
        .iter()
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

fn paths(served: &Served) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, versions) in groups(served) {
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
    use crate::kinds::KINDS;

    #[test]
    fn versions_are_in_kubernetes_order() {
        let mut versions = [
            "foo1",
            "v1alpha1",
            "v2",
            "v10beta3",
            "v1",
            "v11beta2",
            "v3beta1",
            "foo10",
            "v12alpha1",
            "v10",
            "v11alpha2",
        ];
        versions.sort_by_key(|version| Reverse(Priority::of(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v11beta2",
                "v10beta3",
                "v3beta1",
                "v12alpha1",
                "v11alpha2",
                "v1alpha1",
                "foo1",
                "foo10"
            ]
        );
    }

    #[test]
    fn every_kind_is_discovered_in_both_ways() {
        let served = Served::default();
        for kind in KINDS {
            let legacy = resources(&served, kind.group, kind.version).unwrap();
            let names: Vec<&str> = legacy["resources"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|r| r["name"].as_str())
                .collect();
            assert!(names.contains(&kind.plural), "{kind:?}");
            let all = aggregated(&served, "v2", |group| group == kind.group);
            let found = all["items"][0]["versions"][0]["resources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|r| r["resource"] == kind.plural);
            assert!(found, "{kind:?}");
        }
        assert!(resources(&served, "apps", "v9").is_none());
    }
}
