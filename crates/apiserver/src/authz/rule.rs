//! One rule of a role, and what it allows.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Attributes, Object, Resource};

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What may be done; `*` for everything.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    /// Groups of the resources.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `RESOURCE`, `RESOURCE/SUBRESOURCE`, `*/SUBRESOURCE` or `*`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The only names, if there are any.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources; one may end with `*`.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub paths: Vec<String>,
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Rule {
    /// Whether the rule allows this.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        has(&self.verbs, asked.verb)
            && match &asked.object {
                Object::Path(path) => self.paths.iter().any(|pattern| covers_path(pattern, path)),
                Object::Resource(of) => {
                    has(&self.api_groups, of.group)
                        && self
                            .resources
                            .iter()
                            .any(|pattern| covers_resource(pattern, of))
                        && (self.resource_names.is_empty()
                            || self.resource_names.iter().any(|name| name == of.name))
                }
            }
    }

    /// The rules for one verb, group, resource and name (or one verb and path) each that together
    /// say what this one says.
    pub fn single(&self) -> Vec<Self> {
        let one = |value: &String| vec![value.clone()];
        let mut singles = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                singles.push(Self {
                    verbs: one(verb),
                    paths: one(path),
                    ..Self::default()
                });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let single = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    let named = |name| Self {
                        resource_names: one(name),
                        ..single.clone()
                    };
                    singles.extend(self.resource_names.iter().map(named));
                    if self.resource_names.is_empty() {
                        singles.push(single);
                    }
                }
            }
        }
        singles
    }

    /// Whether this rule allows all that `single`, one of [`Self::single`], does.
    pub fn covers(&self, single: &Self) -> bool {
        let all = |ours: &[String], its: &[String]| its.iter().all(|one| has(ours, one));
        let part = |resource: &str| {
            let of = match resource.split_once('/') {
                Some((resource, subresource)) => Resource {
                    resource,
                    subresource,
                    ..Resource::default()
                },
                None => Resource {
                    resource,
                    ..Resource::default()
                },
            };
            self.resources
                .iter()
                .any(|pattern| pattern == resource || covers_resource(pattern, &of))
        };
        let path = |path: &String| self.paths.iter().any(|pattern| covers_path(pattern, path));
        let named = self.resource_names.is_empty()
            || (!single.resource_names.is_empty()
                && single
                    .resource_names
                    .iter()
                    .all(|name| self.resource_names.contains(name)));
        all(&self.verbs, &single.verbs)
            && all(&self.api_groups, &single.api_groups)
            && single.resources.iter().all(|resource| part(resource))
            && single.paths.iter().all(path)
            && named
    }
}

/// Whether a list names a value, or everything.
fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|one| one == "*" || one == value)
}

fn covers_resource(pattern: &str, of: &Resource<'_>) -> bool {
    if pattern == "*" {
        return true;
    }
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    subresource == of.subresource
        && (resource == of.resource || (resource == "*" && !subresource.is_empty()))
}

fn covers_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => path.starts_with(stem),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: serde_json::Value) -> Rule {
        serde_json::from_value(value).unwrap()
    }

    fn ask<'a>(verb: &'a str, group: &'a str, place: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = place.split_once('/').unwrap_or((place, ""));
        let of = Resource {
            group,
            resource,
            subresource,
            name,
            ..Resource::default()
        };
        Attributes {
            verb,
            object: Object::Resource(of),
        }
    }

    #[test]
    fn a_rule_allows_what_it_says() {
        let pods =
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        let one = json!({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*/scale"], "resourceNames": ["web"]});
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        for (of, asked, expected) in [
            (&pods, ask("get", "", "pods", "p"), true),
            (&pods, ask("list", "", "pods", ""), true),
            (&pods, ask("get", "", "pods/log", "p"), true),
            (&pods, ask("get", "", "pods/exec", "p"), false),
            (&pods, ask("delete", "", "pods", "p"), false),
            (&pods, ask("get", "apps", "pods", "p"), false),
            (&one, ask("patch", "apps", "deployments/scale", "web"), true),
            (
                &one,
                ask("patch", "apps", "deployments/scale", "other"),
                false,
            ),
            (&one, ask("patch", "apps", "deployments", "web"), false),
            (&one, ask("list", "apps", "deployments/scale", ""), false),
            (&all, ask("escalate", "x.io", "things/status", "t"), true),
        ] {
            assert_eq!(
                rule(of.clone()).allows(&asked),
                expected,
                "{of} {asked} {asked:?}"
            );
        }
    }

    #[test]
    fn paths_match_whole_or_by_their_beginning() {
        let of = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}));
        for (path, expected) in [
            ("/healthz", true),
            ("/healthz/x", false),
            ("/api/v1", true),
            ("/api", false),
            ("/", false),
        ] {
            let asked = Attributes {
                verb: "get",
                object: Object::Path(path),
            };
            assert_eq!(of.allows(&asked), expected, "{path}");
        }
    }

    #[test]
    fn what_is_held_covers_what_is_given() {
        let held = rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["*"]}));
        let given = rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": ["a"]}),
        );
        assert_eq!(given.single().len(), 2);
        assert!(given.single().iter().all(|single| held.covers(single)));
        assert!(!held.single().iter().any(|single| given.covers(single)));
        let more = rule(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}));
        assert!(!more.single().iter().any(|single| held.covers(single)));
    }
}
