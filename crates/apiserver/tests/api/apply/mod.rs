//! Server-side apply: who owns what, by raw requests and by kubectl.

mod by_kubectl;
mod custom;
mod documented;
mod tracked;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::requests::send;

const YAML: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const MAP: &str = "/api/v1/namespaces/default/configmaps/settings";

/// Applies a configuration as this manager.
async fn apply(
    client: &kube::Client,
    path: &str,
    manager: &str,
    config: &Value,
) -> (StatusCode, Value) {
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{separator}fieldManager={manager}");
    send(client, Method::PATCH, &path, YAML, config.to_string()).await
}

/// A ConfigMap `settings` with this data.
fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})
}

async fn get(client: &kube::Client, path: &str) -> Value {
    let (status, object) = send(client, Method::GET, path, "", "").await;
    assert_eq!(status, StatusCode::OK, "{object}");
    object
}

/// The entries of an object: `MANAGER OPERATION [SUBRESOURCE]`, and what is owned; sorted, since
/// their own order depends on the second.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    let mut owners: Vec<(String, Value)> = entries
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or("");
            let who = format!(
                "{} {} {}",
                text("manager"),
                text("operation"),
                text("subresource")
            );
            assert_eq!(text("fieldsType"), "FieldsV1");
            assert!(!text("time").is_empty(), "{entry}");
            (who.trim_end().to_owned(), entry["fieldsV1"].clone())
        })
        .collect();
    owners.sort_by(|(one, _), (other, _)| one.cmp(other));
    owners
}

/// Who owns anything.
fn names(object: &Value) -> Vec<String> {
    owners(object).into_iter().map(|(who, _)| who).collect()
}
