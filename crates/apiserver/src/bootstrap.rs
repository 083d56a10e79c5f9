//! The objects that every cluster has from its first moment.

use std::{sync::Arc, time::Duration};

use futures::{
    TryFutureExt as _,
    future::{try_join, try_join_all, try_join3},
};
use http::StatusCode;
use jiff::Timestamp;
use sealane_store::{Watch, WatchError};
use serde_json::{Value, json};

use crate::{
    authz,
    kinds::{
        ENDPOINT_SLICE, ENDPOINTS, Kind, NAMESPACE, PRIORITY_CLASS, SERVICE, SERVICE_CIDR,
        SYSTEM_PRIORITIES,
    },
    object,
    options::Options,
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, replace},
};

/// Namespaces that are there from the start.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);
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
    let priorities = SYSTEM_PRIORITIES.map(|(name, value, description)| {
        let object = json!({
            "metadata": { "name": name }, "value": value, "description": description,
        });
        ensure(server, &PRIORITY_CLASS, "", object)
    });
    try_join3(
        try_join_all(namespaces),
        try_join_all(priorities),
        ensure(server, &SERVICE_CIDR, "", service_cidr(options)),
    )
    .await?;
    let roles = authz::system::ensure(server).map_err(refused);
    try_join(own_service(server, options), roles).await?;
    Ok(())
}

/// Makes this server's own Service and its endpoint again whenever somebody deletes or changes
/// them: pods find the server by it. Runs until the server stops.
pub async fn keep(server: Arc<Server>, options: Options) {
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            result = follow(&server, &options) => if let Err(cause) = result {
                tracing::warn!("look after Service {KUBERNETES}: starting over: {cause:#}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Server, options: &Options) -> anyhow::Result<()> {
    let since = server.store.revision();
    let watch = |kind: &Kind| server.store.watch(&kind.bucket(), since);
    let (mut services, mut slices) = (watch(&SERVICE)?, watch(&ENDPOINT_SLICE)?);
    let mut endpoints = watch(&ENDPOINTS)?;
    loop {
        own_service(server, options).await?;
        tokio::select! {
            changed = next(&mut services) => changed?,
            changed = next(&mut slices) => changed?,
            changed = next(&mut endpoints) => changed?,
        }
    }
}

/// Waits for a change of an object of ours; others do not matter.
async fn next(watch: &mut Watch) -> Result<(), WatchError> {
    loop {
        let change = watch.next().await?;
        let key = &change.entry.key;
        if (key.namespace(), key.name()) == ("default", KUBERNETES) {
            return Ok(());
        }
    }
}

async fn own_service(server: &Server, options: &Options) -> anyhow::Result<()> {
    try_join3(
        ensure(server, &SERVICE, "default", service(server, options)),
        renew(server, &ENDPOINT_SLICE, slice(options)),
        endpoints(server, options),
    )
    .await
    .map(drop)
}

/// Makes an object of this server's own Service, or brings it up to date.
async fn renew(server: &Server, kind: &Kind, object: Value) -> anyhow::Result<()> {
    if ensure(server, kind, "default", object.clone()).await? {
        return Ok(());
    }
    let found = server.store.get(&kind.key("default", KUBERNETES));
    if let Some(current) = found {
        let writing = Writing::ours();
        let replaced = replace(server, kind, Part::Main, object, &current, &writing);
        match replaced.await {
            // Somebody was faster, which leads to another look.
            Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => {}
            result => drop(result.map_err(refused)?),
        }
    }
    Ok(())
}

/// The older form of the endpoint. A loopback address, which a server has that serves this
/// machine alone, can be none.
async fn endpoints(server: &Server, options: &Options) -> anyhow::Result<()> {
    let address = options.advertise_address;
    if address.ip().is_loopback() {
        return Ok(());
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": KUBERNETES,
            "namespace": "default",
            // There is a slice of it already.
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": address.ip().to_string() }],
            "ports": [{ "name": "https", "port": address.port(), "protocol": "TCP" }],
        }],
    });
    renew(server, &ENDPOINTS, object).await
}

/// Creates an object unless it is there; whether it was not.
async fn ensure(
    server: &Server,
    kind: &Kind,
    namespace: &str,
    mut object: Value,
) -> anyhow::Result<bool> {
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    if server.store.get(&kind.key(namespace, name)).is_some() {
        return Ok(false);
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    match create_object(server, kind, namespace, object, &Writing::ours()).await {
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

/// The ranges of Services' addresses. It stays as long as there are Services, which is always.
fn service_cidr(options: &Options) -> Value {
    json!({
        "metadata": {
            "name": KUBERNETES,
            "finalizers": ["networking.k8s.io/service-cidr-finalizer"],
        },
        "spec": {
            "cidrs": options.service_cluster_ip_range.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes Service CIDR is ready",
            "lastTransitionTime": object::time(Timestamp::now()),
        }]},
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
