//! The downward API: what a pod may be told about itself, as variable or file (pure).
//!
//! Source: Kubernetes docs, "Downward API", available fields.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::desired::Desired;
use crate::quantity;

/// What may be told.
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
    /// What a container without a limit may take.
    pub allocatable: Allocatable,
}

/// What the node has for pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocatable {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// Why something cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    /// A field that the downward API does not have.
    #[error(
        "fieldRef {0}: expected metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.hostIP(s) or status.podIP(s)"
    )]
    Field(String),
    /// A resource that is not one, or cannot be read.
    #[error(
        "resourceFieldRef {0}: expected limits.cpu, limits.memory, requests.cpu, requests.memory, or an ephemeral-storage or hugepages-SIZE that the container sets"
    )]
    Resource(String),
    /// A container that the pod does not have.
    #[error("container {0} not found")]
    Container(String),
}

/// The value of a pod's field.
///
/// # Errors
/// [`DownwardError::Field`].
pub fn field(selector: &ObjectFieldSelector, facts: Facts<'_>) -> Result<String, DownwardError> {
    let path = selector.field_path.as_str();
    value(path, facts).ok_or_else(|| DownwardError::Field(path.to_owned()))
}

fn value(path: &str, facts: Facts<'_>) -> Option<String> {
    let metadata = &facts.pod.pod.metadata;
    let spec = facts.pod.spec();
    Some(match path {
        "metadata.name" => facts.pod.name().to_owned(),
        "metadata.namespace" => facts.pod.namespace().to_owned(),
        "metadata.uid" => facts.pod.uid().to_owned(),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
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
    let texts: Vec<_> = ips.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

/// `key="value"` by line, as files show labels and annotations.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs = map.into_iter().flatten();
    let lines: Vec<_> = pairs
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    lines.join("\n")
}

/// A text as Go's `%q` writes it, for what labels and annotations usually hold.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && c.is_ascii() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// The value of a container's resource, in units of the divisor, rounded up.
///
/// `own` is the container that asks, which a selector may leave out to name.
///
/// # Errors
/// [`DownwardError::Resource`], [`DownwardError::Container`].
pub fn resource(
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
    facts: Facts<'_>,
) -> Result<String, DownwardError> {
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => facts
            .pod
            .container(name)
            .ok_or_else(|| DownwardError::Container(name.to_owned()))?,
        None => own.ok_or_else(|| DownwardError::Container(String::new()))?,
    };
    let unknown = || DownwardError::Resource(selector.resource.clone());
    let amount = amount(&selector.resource, container, facts.allocatable).ok_or_else(unknown)?;
    let one = Quantity("1".to_owned());
    let divisor = selector.divisor.as_ref().unwrap_or(&one);
    let divisor = match selector.resource.ends_with(".cpu") {
        true => quantity::millis(divisor).ok_or_else(unknown)?,
        false => quantity::units(divisor).ok_or_else(unknown)?,
    };
    let scale = if selector.resource.ends_with(".cpu") {
        1000
    } else {
        1
    };
    // A divisor of 0 is one that was not given.
    let divisor = if divisor == 0 { scale } else { divisor };
    Ok(amount.div_ceil(divisor).to_string())
}

/// Thousandths of a CPU, else units.
fn amount(resource: &str, container: &Container, node: Allocatable) -> Option<u64> {
    let (list, name) = resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let read = match name {
        "cpu" => quantity::millis,
        "memory" | "ephemeral-storage" => quantity::units,
        name if name.starts_with("hugepages-") => quantity::units,
        _ => return None,
    };
    let limit = resources.and_then(|r| r.limits.as_ref()?.get(name));
    let request = resources.and_then(|r| r.requests.as_ref()?.get(name));
    let set = match list {
        "limits" => limit,
        "requests" => request.or(limit),
        _ => return None,
    };
    match (set.and_then(read), list, name) {
        (Some(amount), _, _) => Some(amount),
        (None, "limits", "cpu") => Some(node.cpu_millis),
        (None, "limits", "memory") => Some(node.memory_bytes),
        (None, "requests", _) => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod() -> Desired {
        let object = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "u-7",
                "labels": {"app": "web", "tier": "a\"b"}, "annotations": {"a.b/c": "d\ne"},
            },
            "spec": {"nodeName": "node-2", "serviceAccountName": "robot", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}},
                {"name": "bare"},
            ]},
        });
        Desired::new(Arc::new(serde_json::from_value(object).unwrap()))
    }

    fn with_facts<T>(ask: impl Fn(Facts<'_>) -> T) -> T {
        let ips = ["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let host_ips = ["172.29.0.2".parse().unwrap()];
        ask(Facts {
            pod: &pod(),
            ips: &ips,
            host_ips: &host_ips,
            hostname: "web-1",
            allocatable: Allocatable {
                cpu_millis: 4000,
                memory_bytes: 8 << 30,
            },
        })
    }

    #[test]
    fn fields() {
        for (path, expected) in [
            ("metadata.name", "web-1"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u-7"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier=\"a\\\"b\""),
            ("metadata.annotations", "a.b/c=\"d\\ne\""),
            ("metadata.annotations['a.b/c']", "d\ne"),
            ("spec.nodeName", "node-2"),
            ("spec.serviceAccountName", "robot"),
            ("status.podIP", "10.244.1.5"),
            ("status.podIPs", "10.244.1.5,fd00::5"),
            ("status.hostIP", "172.29.0.2"),
            ("status.hostIPs", "172.29.0.2"),
        ] {
            let selector = ObjectFieldSelector {
                field_path: path.into(),
                ..Default::default()
            };
            let found = with_facts(|facts| field(&selector, facts));
            assert_eq!(found.as_deref(), Ok(expected), "{path}");
        }
        let selector = ObjectFieldSelector {
            field_path: "spec.x".into(),
            ..Default::default()
        };
        let error = with_facts(|facts| field(&selector, facts)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("fieldRef spec.x: expected metadata.name")
        );
    }

    #[test]
    fn resources_are_rounded_up_and_default_to_the_node() {
        for (container, resource_name, divisor, expected) in [
            ("c", "limits.cpu", None, Some("2")),
            ("c", "limits.cpu", Some("1m"), Some("1500")),
            ("c", "requests.cpu", Some("0"), Some("2")),
            ("c", "requests.memory", Some("1Mi"), Some("64")),
            ("c", "limits.memory", Some("1Gi"), Some("8")),
            ("bare", "limits.cpu", None, Some("4")),
            ("bare", "requests.cpu", None, Some("0")),
            ("bare", "limits.ephemeral-storage", None, None),
            ("bare", "limits.pods", None, None),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some(container.into()),
                resource: resource_name.into(),
                divisor: divisor.map(|d| Quantity(d.into())),
            };
            let found = with_facts(|facts| resource(&selector, None, facts)).ok();
            assert_eq!(
                found.as_deref(),
                expected,
                "{container} {resource_name} {divisor:?}"
            );
        }
    }
}
