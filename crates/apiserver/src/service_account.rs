//! What a pod gets from its service account when it is made, as Kubernetes' admission plugin
//! `ServiceAccount` gives it: the account must exist, and its token, the authority of this server
//! and the pod's namespace are mounted where in-cluster clients look for them.
//!
//! The node asks for the token itself and keeps it fresh; here is only the volume that says so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    kinds::{POD, SERVICE_ACCOUNT},
    object::{self, elements_mut},
    server::Server,
    status::ApiError,
    verbs::suffix,
};

/// Where in-cluster clients look (Kubernetes docs, "Accessing the API from within a Pod").
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Volumes of a name that begins so are taken for what they are called.
const VOLUME: &str = "kube-api-access-";
/// An hour, and the seconds by which Kubernetes tells its own tokens from others.
const TOKEN_SECONDS: u32 = 3607;
/// A pod may come right after its namespace, whose `default` account is being made.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives a new pod what its service account has for it.
///
/// # Errors
///
/// 403 when there is no such account.
pub async fn admit(server: &Server, namespace: &str, pod: &mut Value) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    let name = account_name(&pod["spec"]).to_owned();
    let Some(account) = find(server, namespace, &name).await else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return Err(ApiError::forbidden(&POD, called(pod), why));
    };
    give(&mut pod["spec"], &account, || {
        format!("{VOLUME}{}", suffix())
    });
    Ok(())
}

/// A pod's account by either of the field's names.
fn account_name(spec: &Value) -> &str {
    let said = [&spec["serviceAccountName"], &spec["serviceAccount"]];
    let mut names = said.into_iter().filter_map(Value::as_str);
    names.find(|name| !name.is_empty()).unwrap_or("default")
}

/// The name for a message; one that will be generated is known by its beginning.
fn called(pod: &Value) -> &str {
    match object::name(pod) {
        "" => object::meta(pod, "generateName"),
        name => name,
    }
}

async fn find(server: &Server, namespace: &str, name: &str) -> Option<Value> {
    let key = SERVICE_ACCOUNT.key(namespace, name);
    let read = || {
        let entry = server.store.get(&key)?;
        serde_json::from_slice(&entry.object.unpack()).ok()
    };
    if name != "default" {
        return read();
    }
    let mut revisions = server.store.revisions();
    let appears = async {
        loop {
            revisions.mark_unchanged();
            if let Some(account) = read() {
                return Some(account);
            }
            revisions.changed().await.ok()?;
        }
    };
    tokio::time::timeout(PATIENCE, appears).await.ok().flatten()
}

/// Pure: what the account has for the pod.
fn give(spec: &mut Value, account: &Value, new_name: impl FnOnce() -> String) {
    let has_secrets = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    if !has_secrets(&spec["imagePullSecrets"]) && has_secrets(&account["imagePullSecrets"]) {
        spec["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    let automount = [spec, account].map(|object| object["automountServiceAccountToken"].as_bool());
    if automount.into_iter().flatten().next().unwrap_or(true) {
        mount(spec, new_name);
    }
}

/// Mounts the account's volume into each container that has nothing in its place.
fn mount(spec: &mut Value, new_name: impl FnOnce() -> String) {
    let named = |volume: &Value| {
        let name = volume["name"]
            .as_str()
            .filter(|name| name.starts_with(VOLUME));
        name.map(str::to_owned)
    };
    let known = spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(named);
    let is_new = known.is_none();
    let name = known.unwrap_or_else(new_name);
    let mut used = false;
    for part in ["initContainers", "containers"] {
        for container in elements_mut(spec, part) {
            used |= mount_into(container, &name);
        }
    }
    if used && is_new {
        push(&mut spec["volumes"], volume(&name));
    }
}

/// Whether the container has got the mount.
fn mount_into(container: &mut Value, name: &str) -> bool {
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if !container.is_object() || mounts.any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    let mount = json!({ "name": name, "readOnly": true, "mountPath": MOUNT_PATH });
    push(&mut container["volumeMounts"], mount);
    true
}

/// Adds to a list that may be absent; what is no list is left for validation to refuse.
fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{ "key": "ca.crt", "path": "ca.crt" }],
                } },
                { "downwardAPI": { "items": [{
                    "path": "namespace",
                    "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                }] } },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(mut spec: Value, account: Value) -> Value {
        give(&mut spec, &account, || "kube-api-access-x".into());
        spec
    }

    fn paths(container: &Value) -> Vec<&str> {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect()
    }

    #[test]
    fn every_container_finds_its_token() {
        let spec = json!({
            "volumes": [{"name": "v"}], "initContainers": [{"name": "i"}],
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        });
        let spec = given(spec, json!({}));
        assert_eq!(paths(&spec["initContainers"][0]), [MOUNT_PATH]);
        assert_eq!(paths(&spec["containers"][0]), ["/v", MOUNT_PATH]);
        assert_eq!(spec["volumes"][1], volume("kube-api-access-x"));
        assert_eq!(
            given(spec.clone(), json!({})),
            spec,
            "twice changes nothing"
        );
    }

    #[test]
    fn pod_goes_before_account() {
        let bare = || json!({"containers": [{"name": "c"}]});
        for (pod, account, mounted) in [
            (None, None, true),
            (None, Some(false), false),
            (Some(true), Some(false), true),
            (Some(false), None, false),
        ] {
            let mut spec = bare();
            if let Some(word) = pod {
                spec["automountServiceAccountToken"] = word.into();
            }
            let account = account.map_or(
                json!({}),
                |word: bool| json!({"automountServiceAccountToken": word}),
            );
            let spec = given(spec, account);
            assert_eq!(spec.get("volumes").is_some(), mounted, "{spec}");
        }
    }

    #[test]
    fn what_is_there_already_stays() {
        let own = json!({"containers": [
            {"name": "c", "volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]},
        ], "volumes": [{"name": "v"}]});
        assert_eq!(given(own.clone(), json!({})), own);
        let secrets = json!({"imagePullSecrets": [{"name": "s"}]});
        let spec = given(json!({"containers": []}), secrets.clone());
        assert_eq!(spec["imagePullSecrets"], secrets["imagePullSecrets"]);
    }

    #[test]
    fn the_account_is_named_by_either_field() {
        for (spec, expected) in [
            (json!({}), "default"),
            (
                json!({"serviceAccountName": "", "serviceAccount": "b"}),
                "b",
            ),
            (
                json!({"serviceAccountName": "a", "serviceAccount": "b"}),
                "a",
            ),
        ] {
            assert_eq!(account_name(&spec), expected);
        }
    }
}
