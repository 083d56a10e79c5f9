//! Binding: the scheduler's decision about a pod.

use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{finish::commit, update::ATTEMPTS};
use crate::{
    answer::{self, Body},
    check::format,
    object,
    request::{Accept, Payload, WriteOptions, read_value},
    server::Context,
    status::ApiError,
    webhooks,
};

/// Gives a pod to a node.
///
/// # Errors
///
/// 400 for a body that names none, 404 without the pod, 409 if it has a node or is going.
pub async fn bind(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let binding = read_value(&payload)?.value;
    let (binding, warnings) = webhooks::post(context, binding, options.dry_run).await?;
    let node = binding["target"]["name"].as_str().unwrap_or("").to_owned();
    if node.is_empty() {
        return Err(ApiError::bad_request(
            "Binding: target.name: Required value",
        ));
    }
    if let Some(why) = format::dns_subdomain(&node).into_iter().next() {
        return Err(ApiError::bad_request(format!(
            "Binding: target.name: Invalid value: {node:?}: {why}"
        )));
    }
    let (kind, target) = (&*context.kind, &context.target);
    let name = &target.name;
    for attempt in 1.. {
        let found = context.server.store.get(&kind.key(&target.namespace, name));
        let current = found.ok_or_else(|| ApiError::not_found(kind, name))?;
        let mut pod: Value =
            serde_json::from_slice(&current.object.unpack()).map_err(ApiError::internal)?;
        assign(&mut pod, &node, &binding).map_err(|why| ApiError::conflict(kind, name, &why))?;
        if options.dry_run {
            break;
        }
        match commit(&context.server, kind, &pod, Some(&current), None).await {
            Ok(_) => break,
            Err(error) if error.reason == "Conflict" && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    let response = answer::value(StatusCode::CREATED, Accept::PLAIN, &status);
    Ok(answer::warn(response, &warnings))
}

fn assign(pod: &mut Value, node: &str, binding: &Value) -> Result<(), String> {
    let name = object::name(pod).to_owned();
    if object::is_deleting(pod) {
        return Err(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let has = pod["spec"]["nodeName"].as_str().unwrap_or("");
    if !has.is_empty() {
        return Err(format!("pod {name} is already assigned to node {has:?}"));
    }
    let uid = object::meta(binding, "uid");
    if !uid.is_empty() && uid != object::meta(pod, "uid") {
        return Err(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::meta(pod, "uid")
        ));
    }
    pod["spec"]["nodeName"] = node.into();
    for (key, value) in binding["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": object::time(Timestamp::now()),
    });
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(scheduled);
    }
    Ok(())
}
