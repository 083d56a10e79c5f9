//! The objects that every cluster has from its first moment.

use futures::{
    TryFutureExt as _,
    future::{try_join_all, try_join3},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    authz,
    kinds::{ENDPOINT_SLICE, Kind, NAMESPACE, SERVICE},
    options::Options,
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, replace},
};

/// Namespaces that are there from the start.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The Service of this server.
const KUBERNETES: &str = "kubernetes";

/// Makes what is missing; brings roles and the endpoint of the `kubernetes` Service up to date.
///
/// # Errors
///
/// What the store or the validation says.
pub async fn make(server: &Server, options: &Options) -> anyhow::Result<()> {
    // What is made at once shares a commit, and a real disk takes milliseconds for each.
    let namespaces = NAMESPACES.map(|namespace| {
        let object = json!({ "metadata": { "name": namespace } });
        ensure(server, &NAMESPACE, "", object)
    });
    try_join_all(namespaces).await?;
    let slice = slice(options);
    let roles = authz::system::ensure(server).map_err(refused);
    let (_, is_new, ()) = try_join3(
        ensure(server, &SERVICE, "default", service(server, options)),
        ensure(server, &ENDPOINT_SLICE, "default", slice.clone()),
        roles,
    )
    .await?;
    let found = server.store.get(&ENDPOINT_SLICE.key("default", KUBERNETES));
    if let Some(current) = found.filter(|_| !is_new) {
        let replaced = replace(server, &ENDPOINT_SLICE, Part::Main, slice, &current, false);
        replaced.await.map_err(refused)?;
    }
    Ok(())
}

/// Creates an object unless it is there; whether it was not.
async fn ensure(
    server: &Server,
    kind: &'static Kind,
    namespace: &str,
    mut object: Value,
) -> anyhow::Result<bool> {
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    if server.store.get(&kind.key(namespace, name)).is_some() {
        return Ok(false);
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    match create_object(server, kind, namespace, object, false).await {
        Ok(_) => Ok(true),
        Err(error) if error.code == StatusCode::CONFLICT => Ok(false),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: ApiError) -> anyhow::Error {
    anyhow::anyhow!(error.message)
}

fn service(server: &Server, options: &Options) -> Value {
    let address = server.addresses.first().map(|address| address.to_string());
    json!({
        "metadata": {
            "name": KUBERNETES,
            "labels": { "component": "apiserver", "provider": KUBERNETES },
        },
        "spec": {
            "clusterIP": address,
            "ports": [{
                "name": "https", "port": 443, "protocol": "TCP",
                "targetPort": options.advertise_address.port(),
            }],
        },
    })
}

fn slice(options: &Options) -> Value {
    let address = options.advertise_address;
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": KUBERNETES,
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": KUBERNETES },
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [address.ip().to_string()],
            "conditions": { "ready": true },
        }],
        "ports": [{ "name": "https", "port": address.port(), "protocol": "TCP" }],
    })
}
