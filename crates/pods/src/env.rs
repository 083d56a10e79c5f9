//! A container's environment, and `$(VAR)` in its command.
//!
//! Order matters: a variable may refer to those defined before it, and a later
//! definition of a name replaces the earlier one. Sources: Kubernetes docs
//! "Define Dependent Environment Variables"; `third_party/forked/golang/expansion`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource};

use crate::desired::Desired;

/// What the downward API may ask for besides the pod itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// The pod's addresses.
    pub ips: &'a [IpAddr],
    /// The node's addresses.
    pub host_ips: &'a [IpAddr],
    /// The pod's hostname.
    pub hostname: &'a str,
}

/// Why a variable has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A source that is not honoured yet.
    #[error("env {name}: valueFrom.{kind} is not supported yet")]
    Source {
        /// The variable.
        name: String,
        /// The kind of source.
        kind: &'static str,
    },
    /// A field that the downward API does not have.
    #[error(
        "env {name}: fieldRef {path}: expected metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.hostIP(s) or status.podIP(s)"
    )]
    Field {
        /// The variable.
        name: String,
        /// What was asked for.
        path: String,
    },
    /// `envFrom`, which is not honoured yet.
    #[error("envFrom is not supported yet")]
    From,
}

/// A container's variables, in order of first definition.
///
/// # Errors
/// When a variable has a source that we do not honour.
pub fn variables(
    container: &Container,
    facts: Facts<'_>,
) -> Result<Vec<(String, String)>, EnvError> {
    if container
        .env_from
        .as_ref()
        .is_some_and(|from| !from.is_empty())
    {
        return Err(EnvError::From);
    }
    let mut defined = vec![("HOSTNAME".to_owned(), facts.hostname.to_owned())];
    for variable in container.env.iter().flatten() {
        let value = value(variable, &defined, facts)?;
        match defined.iter_mut().find(|(name, _)| *name == variable.name) {
            Some((_, earlier)) => *earlier = value,
            None => defined.push((variable.name.clone(), value)),
        }
    }
    Ok(defined)
}

/// Replaces `$(VAR)` in each word of a command; unknown names stay as they are, `$$` is a dollar.
pub fn expand_all(words: Option<&[String]>, variables: &[(String, String)]) -> Vec<String> {
    words
        .unwrap_or_default()
        .iter()
        .map(|word| expand(word, variables))
        .collect()
}

fn value(
    variable: &EnvVar,
    defined: &[(String, String)],
    facts: Facts<'_>,
) -> Result<String, EnvError> {
    let Some(source) = &variable.value_from else {
        return Ok(expand(
            variable.value.as_deref().unwrap_or_default(),
            defined,
        ));
    };
    let Some(field) = &source.field_ref else {
        return Err(EnvError::Source {
            name: variable.name.clone(),
            kind: kind(source),
        });
    };
    field_value(&field.field_path, facts).ok_or_else(|| EnvError::Field {
        name: variable.name.clone(),
        path: field.field_path.clone(),
    })
}

fn kind(source: &EnvVarSource) -> &'static str {
    match source {
        EnvVarSource {
            config_map_key_ref: Some(_),
            ..
        } => "configMapKeyRef",
        EnvVarSource {
            secret_key_ref: Some(_),
            ..
        } => "secretKeyRef",
        EnvVarSource {
            resource_field_ref: Some(_),
            ..
        } => "resourceFieldRef",
        _ => "fileKeyRef",
    }
}

/// The downward API's fields (Kubernetes docs, "Downward API", available fields).
fn field_value(path: &str, facts: Facts<'_>) -> Option<String> {
    let metadata = &facts.pod.pod.metadata;
    let spec = facts.pod.spec();
    Some(match path {
        "metadata.name" => facts.pod.name().to_owned(),
        "metadata.namespace" => facts.pod.namespace().to_owned(),
        "metadata.uid" => facts.pod.uid().to_owned(),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.podIP" => first(facts.ips),
        "status.podIPs" => joined(facts.ips),
        "status.hostIP" => first(facts.host_ips),
        "status.hostIPs" => joined(facts.host_ips),
        path => {
            let (map, key) = subscript(path)?;
            let map = match map {
                "metadata.labels" => metadata.labels.as_ref(),
                "metadata.annotations" => metadata.annotations.as_ref(),
                _ => return None,
            };
            map.and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default()
        }
    })
}

/// `metadata.labels['app']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(IpAddr::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// One word with its references replaced.
fn expand(word: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match variables.iter().find(|(defined, _)| defined == name) {
                Some((_, value)) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Desired {
        let object = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "u-7",
                "labels": {"app": "web"}, "annotations": {"a.b/c": "d"},
            },
            "spec": {"nodeName": "node-2", "serviceAccountName": "robot", "containers": []},
        });
        Desired::new(Arc::new(serde_json::from_value(object).unwrap()))
    }

    fn of(env: Value) -> Result<Vec<(String, String)>, EnvError> {
        let container = serde_json::from_value(json!({"name": "c", "env": env})).unwrap();
        let ips = ["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let host_ips = ["172.29.0.2".parse().unwrap()];
        let pod = pod();
        let facts = Facts {
            pod: &pod,
            ips: &ips,
            host_ips: &host_ips,
            hostname: "web-1",
        };
        variables(&container, facts).map(|all| all[1..].to_vec())
    }

    #[test]
    fn references_are_expanded_as_kubernetes_does() {
        let variables = [
            ("A".to_owned(), "1".to_owned()),
            ("B_C".to_owned(), "two".to_owned()),
        ];
        let cases = [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(B_C)z", "x1ytwoz"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("50$", "50$"),
            ("$()", "$()"),
            ("é$(A)é", "é1é"),
        ];
        for (word, expected) in cases {
            assert_eq!(expand(word, &variables), expected, "{word}");
        }
    }

    #[test]
    fn variables_see_those_before_them_and_replace_their_namesakes() {
        let env = json!([
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(C)"},
            {"name": "C", "value": "3"},
            {"name": "A", "value": "$(A)0"},
            {"name": "EMPTY"},
        ]);
        let expected = [("A", "10"), ("B", "1$(C)"), ("C", "3"), ("EMPTY", "")];
        let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(of(env), Ok(expected));
    }

    #[test]
    fn fields_of_the_downward_api() {
        let cases = [
            ("metadata.name", "web-1"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u-7"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['a.b/c']", "d"),
            ("spec.nodeName", "node-2"),
            ("spec.serviceAccountName", "robot"),
            ("status.podIP", "10.244.1.5"),
            ("status.podIPs", "10.244.1.5,fd00::5"),
            ("status.hostIP", "172.29.0.2"),
            ("status.hostIPs", "172.29.0.2"),
        ];
        for (path, expected) in cases {
            let env = json!([{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
            assert_eq!(
                of(env),
                Ok(vec![("V".to_owned(), expected.to_owned())]),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let cases = [
            (
                json!({"secretKeyRef": {"name": "s", "key": "k"}}),
                "env V: valueFrom.secretKeyRef is not supported yet",
            ),
            (
                json!({"configMapKeyRef": {"name": "s", "key": "k"}}),
                "env V: valueFrom.configMapKeyRef is not supported yet",
            ),
            (
                json!({"fieldRef": {"fieldPath": "spec.x"}}),
                "env V: fieldRef spec.x: expected metadata.name",
            ),
        ];
        for (source, expected) in cases {
            let error = of(json!([{"name": "V", "valueFrom": source}]))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
