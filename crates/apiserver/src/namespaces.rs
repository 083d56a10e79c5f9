//! What every namespace has, and how one goes.
//!
//! ```text
//!   namespace made ──► its `default` ServiceAccount, its ConfigMap `kube-root-ca.crt`
//!   namespace deleted ──► everything in it deleted ──► nothing left ──► finalizer `kubernetes` gone ──► gone
//! ```
//!
//! The task looks at all namespaces whenever something may have changed: at each write while a
//! namespace is going, else at changes of namespaces, service accounts and these ConfigMaps.

use std::{sync::Arc, time::Duration};

use futures::future::{try_join, try_join_all};
use sealane_store::{Entry, Watch};
use serde_json::{Value, json};

use crate::{
    kinds::{CONFIG_MAP, Kind, NAMESPACE, SERVICE_ACCOUNT},
    owners::Writing,
    request::{DeleteOptions, Propagation},
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, delete_object, replace},
};

/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// The ConfigMap by which pods know the server.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Runs until the server stops; `root_ca` (PEM) is the authority of the server's certificate.
pub async fn run(server: Arc<Server>, root_ca: String) {
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            result = follow(&server, &root_ca) => if let Err(cause) = result {
                tracing::warn!(message = cause.message, "look after namespaces: starting over");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Server, root_ca: &str) -> Result<(), ApiError> {
    let mut revisions = server.store.revisions();
    let since = server.store.revision();
    let watch = |kind: &Kind| {
        server
            .store
            .watch(&kind.bucket(), since)
            .map_err(ApiError::internal)
    };
    let (mut namespaces, mut accounts) = (watch(&NAMESPACE)?, watch(&SERVICE_ACCOUNT)?);
    let mut config_maps = watch(&CONFIG_MAP)?;
    let mut doubted = true;
    loop {
        revisions.mark_unchanged();
        let own = Own { root_ca, doubted };
        let going = look_after_all(server, own).await?;
        doubted = false;
        tokio::select! {
            changed = next(&mut namespaces) => changed?,
            changed = next(&mut accounts) => changed?,
            changed = next_root_ca(&mut config_maps) => {
                changed?;
                doubted = true;
            }
            changed = revisions.changed(), if going => {
                changed.map_err(|_| ApiError::unavailable("the store is closed"))?;
            }
        }
    }
}

/// What every namespace's ConfigMap says, and whether one may have been changed.
#[derive(Clone, Copy)]
struct Own<'a> {
    root_ca: &'a str,
    doubted: bool,
}

/// Waits for a change of one of our ConfigMaps; others are everywhere and do not matter.
async fn next_root_ca(watch: &mut Watch) -> Result<(), ApiError> {
    loop {
        let change = watch.next().await.map_err(ApiError::internal)?;
        if change.entry.key.name() == ROOT_CA {
            return Ok(());
        }
    }
}

async fn next(watch: &mut Watch) -> Result<(), ApiError> {
    watch.next().await.map(drop).map_err(ApiError::internal)
}

/// Looks after every namespace; whether one is going.
async fn look_after_all(server: &Server, own: Own<'_>) -> Result<bool, ApiError> {
    let namespaces = server
        .store
        .list(&NAMESPACE.bucket(), None, |_| true)
        .entries;
    let (going, staying): (Vec<_>, Vec<_>) = namespaces
        .into_iter()
        .partition(|namespace| namespace.attributes.field("status.phase") == Some("Terminating"));
    try_join_all(
        staying
            .iter()
            .map(|namespace| fill(server, namespace.key.name(), own)),
    )
    .await?;
    let gone = try_join_all(going.iter().map(|namespace| empty(server, namespace))).await?;
    Ok(!gone.into_iter().all(|gone| gone))
}

/// Makes what every namespace has.
async fn fill(server: &Server, namespace: &str, own: Own<'_>) -> Result<(), ApiError> {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    try_join(
        ensure(server, &SERVICE_ACCOUNT, namespace, account),
        publish(server, namespace, own),
    )
    .await
    .map(drop)
}

/// Makes the ConfigMap with the authority, or puts back what it says.
async fn publish(server: &Server, namespace: &str, own: Own<'_>) -> Result<(), ApiError> {
    let data = json!({ "ca.crt": own.root_ca });
    let Some(current) = server.store.get(&CONFIG_MAP.key(namespace, ROOT_CA)) else {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": ROOT_CA },
            "data": data,
        });
        return ensure(server, &CONFIG_MAP, namespace, object).await;
    };
    if !own.doubted {
        return Ok(());
    }
    let mut object: Value =
        serde_json::from_slice(&current.object.unpack()).map_err(ApiError::internal)?;
    if object["data"] == data {
        return Ok(());
    }
    object["data"] = data;
    let replaced = replace(
        server,
        &CONFIG_MAP,
        Part::Main,
        object,
        &current,
        &Writing::ours(),
    )
    .await;
    replaced.map(drop).or_else(is_settled)
}

async fn ensure(
    server: &Server,
    kind: &Kind,
    namespace: &str,
    object: Value,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if server.store.get(&kind.key(namespace, name)).is_some() {
        return Ok(());
    }
    let created = create_object(server, kind, namespace, object, &Writing::ours()).await;
    created.map(drop).or_else(is_settled)
}

/// Somebody else made or changed it, which leads to another look, made it immutable, or the
/// namespace is going meanwhile.
fn is_settled(error: ApiError) -> Result<(), ApiError> {
    match error.reason {
        "AlreadyExists" | "Conflict" | "Forbidden" | "Invalid" | "NotFound" => Ok(()),
        _ => Err(error),
    }
}

/// Deletes what is in a namespace, and it when nothing is left; whether it is gone.
async fn empty(server: &Server, namespace: &Entry) -> Result<bool, ApiError> {
    let name = namespace.key.name();
    let mut left = false;
    let served = server.kinds.now();
    for kind in served.stored().filter(|kind| kind.namespaced) {
        for entry in server
            .store
            .list(&kind.bucket(), Some(name), |_| true)
            .entries
        {
            left |= !forget(server, &kind, &entry).await?;
        }
    }
    if left {
        return Ok(false);
    }
    finalize(server, namespace).await
}

/// Deletes one object; whether it is gone. One that is going already is left to its finalizers.
async fn forget(server: &Server, kind: &Kind, entry: &Entry) -> Result<bool, ApiError> {
    let (namespace, name) = (entry.key.namespace(), entry.key.name());
    let options = DeleteOptions::propagating(Propagation::Background);
    match delete_object(server, kind, namespace, name, &options).await {
        Ok(_) => Ok(server.store.get(&entry.key).is_none()),
        Err(error) if error.reason == "NotFound" => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the finalizer that kept an empty namespace; whether it is gone.
async fn finalize(server: &Server, namespace: &Entry) -> Result<bool, ApiError> {
    let mut object: Value =
        serde_json::from_slice(&namespace.object.unpack()).map_err(ApiError::internal)?;
    if let Some(finalizers) = object["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != "kubernetes");
    }
    match replace(
        server,
        &NAMESPACE,
        Part::Finalizers,
        object,
        namespace,
        &Writing::ours(),
    )
    .await
    {
        Ok(_) => Ok(server.store.get(&namespace.key).is_none()),
        Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => Ok(false),
        Err(error) => Err(error),
    }
}
