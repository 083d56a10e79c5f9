//! One webhook of a configuration, and which requests it wants to see.

use std::time::Duration;

use serde_json::Value;

use super::{address::Address, conditions::Conditions};
use crate::kinds::label_selector;

/// A webhook.
#[derive(Debug)]
pub struct Hook {
    /// Its name, which errors name.
    pub name: String,
    /// The configuration that has it.
    pub configuration: String,
    /// Where it is.
    pub address: Address,
    /// Whether a request fails if it cannot be asked.
    pub must_answer: bool,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it also wants to see objects in other versions of the resources that it names.
    pub equivalent: bool,
    /// Whether it wants to be asked again if another one changes the object after it.
    pub reinvoked: bool,
    /// What must be true of a request besides.
    pub conditions: Conditions,
    rules: Vec<Rule>,
    namespaces: Value,
    objects: Value,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural name.
    pub resource: &'a str,
    /// Subresource; empty for the object.
    pub subresource: &'a str,
    /// Whether the objects are in namespaces.
    pub namespaced: bool,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: &'a str,
}

/// The webhooks of a stored configuration.
pub fn read(configuration: &Value) -> Vec<Hook> {
    let name = text(&configuration["metadata"]["name"]);
    let hooks = configuration["webhooks"].as_array().into_iter().flatten();
    hooks.map(|hook| Hook::of(&name, hook)).collect()
}

impl Hook {
    fn of(configuration: &str, hook: &Value) -> Self {
        let rules = hook["rules"].as_array().into_iter().flatten();
        Self {
            name: text(&hook["name"]),
            configuration: configuration.to_owned(),
            address: Address::of(&hook["clientConfig"]),
            must_answer: hook["failurePolicy"] != "Ignore",
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
            equivalent: hook["matchPolicy"] != "Exact",
            reinvoked: hook["reinvocationPolicy"] == "IfNeeded",
            conditions: Conditions::of(&hook["matchConditions"]),
            rules: rules.map(Rule::of).collect(),
            namespaces: hook["namespaceSelector"].clone(),
            objects: hook["objectSelector"].clone(),
        }
    }

    /// Whether one of its rules is about this.
    pub fn wants(&self, subject: &Subject<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(subject))
    }

    /// Whether its selectors choose it: by the labels of the namespace, if there is one, and of the
    /// object as it is or was; those of what has no labels are null.
    pub fn chooses(&self, namespace: Option<&Value>, labels: [&Value; 2]) -> bool {
        let by_namespace =
            namespace.is_none_or(|labels| label_selector::matches(&self.namespaces, labels));
        let mut labels = labels.into_iter();
        by_namespace
            && (label_selector::is_empty(&self.objects)
                || labels.any(|labels| {
                    !labels.is_null() && label_selector::matches(&self.objects, labels)
                }))
    }
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let texts = |list: &Value| list.as_array().into_iter().flatten().map(text).collect();
        Self {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            scope: text(&rule["scope"]),
        }
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|one| one == "*" || one == value);
        let in_scope = match self.scope.as_str() {
            "Namespaced" => subject.namespaced,
            "Cluster" => !subject.namespaced,
            _ => true,
        };
        let named = |pattern: &String| {
            let (resource, part) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == subject.resource)
                && (part == "*" || part == subject.subresource)
        };
        in_scope
            && has(&self.operations, subject.operation)
            && has(&self.groups, subject.group)
            && has(&self.versions, subject.version)
            && self.resources.iter().any(named)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(rule: Value) -> Hook {
        let mut full = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        for (name, value) in rule.as_object().unwrap() {
            full[name] = value.clone();
        }
        let configuration =
            json!({"metadata": {"name": "c"}, "webhooks": [{"name": "h", "rules": [full]}]});
        read(&configuration).remove(0)
    }

    #[test]
    fn rules_choose_requests() {
        let pod = Subject {
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            namespaced: true,
            operation: "CREATE",
        };
        let status = Subject {
            subresource: "status",
            ..pod
        };
        for (rule, subject, expected) in [
            (json!({}), pod, true),
            (json!({}), status, false),
            (json!({"resources": ["*/*"]}), status, true),
            (json!({"resources": ["pods/*"]}), status, true),
            (json!({"resources": ["pods/*"]}), pod, true),
            (json!({"resources": ["*/status"]}), status, true),
            (json!({"resources": ["services"]}), pod, false),
            (json!({"operations": ["UPDATE", "DELETE"]}), pod, false),
            (json!({"apiGroups": ["apps"]}), pod, false),
            (json!({"apiGroups": [""]}), pod, true),
            (json!({"apiVersions": ["v2"]}), pod, false),
            (json!({"scope": "Cluster"}), pod, false),
            (json!({"scope": "Namespaced"}), pod, true),
        ] {
            assert_eq!(
                hook(rule.clone()).wants(&subject),
                expected,
                "{rule} {subject:?}"
            );
        }
    }

    #[test]
    fn selectors_choose_namespaces_and_objects() {
        let mut hook = hook(json!({}));
        let (shop, bare) = (json!({"team": "shop"}), json!({}));
        assert!(hook.chooses(None, [&bare, &Value::Null]));
        hook.namespaces = json!({"matchLabels": {"team": "shop"}});
        assert!(hook.chooses(Some(&shop), [&bare, &Value::Null]));
        assert!(!hook.chooses(Some(&bare), [&shop, &Value::Null]));
        assert!(
            hook.chooses(None, [&bare, &Value::Null]),
            "it is in no namespace"
        );
        hook.objects = json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]});
        assert!(!hook.chooses(Some(&shop), [&shop, &Value::Null]));
        assert!(
            hook.chooses(Some(&shop), [&shop, &bare]),
            "it was chosen before"
        );
    }
}
