//! What every namespace has, and how one goes.
//!
//! ```text
//!   namespace made ──► its `default` ServiceAccount
//!   namespace deleted ──► everything in it deleted ──► nothing left ──► finalizer `kubernetes` gone ──► gone
//! ```
//!
//! The task looks at all namespaces whenever something may have changed: at each write while a
//! namespace is going, else at changes of namespaces and service accounts.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use sealane_store::{Entry, Watch};
use serde_json::{Value, json};

use crate::{
    kinds::{self, KINDS, Kind, NAMESPACE, SERVICE_ACCOUNT},
    request::DeleteOptions,
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, delete_object, replace},
};

/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the server stops.
pub async fn run(server: Arc<Server>) {
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            result = follow(&server) => if let Err(cause) = result {
                tracing::warn!(message = cause.message, "look after namespaces: starting over");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Server) -> Result<(), ApiError> {
    let mut revisions = server.store.revisions();
    let since = server.store.revision();
    let watch = |kind: &Kind| {
        server
            .store
            .watch(&kind.bucket(), since)
            .map_err(ApiError::internal)
    };
    let (mut namespaces, mut accounts) = (watch(&NAMESPACE)?, watch(&SERVICE_ACCOUNT)?);
    loop {
        revisions.mark_unchanged();
        let going = look_after_all(server).await?;
        tokio::select! {
            changed = next(&mut namespaces) => changed?,
            changed = next(&mut accounts) => changed?,
            changed = revisions.changed(), if going => {
                changed.map_err(|_| ApiError::unavailable("the store is closed"))?;
            }
        }
    }
}

async fn next(watch: &mut Watch) -> Result<(), ApiError> {
    watch.next().await.map(drop).map_err(ApiError::internal)
}

/// Looks after every namespace; whether one is going.
async fn look_after_all(server: &Server) -> Result<bool, ApiError> {
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
            .map(|namespace| fill(server, namespace.key.name())),
    )
    .await?;
    let gone = try_join_all(going.iter().map(|namespace| empty(server, namespace))).await?;
    Ok(!gone.into_iter().all(|gone| gone))
}

/// Makes what every namespace has.
async fn fill(server: &Server, namespace: &str) -> Result<(), ApiError> {
    if server
        .store
        .get(&SERVICE_ACCOUNT.key(namespace, "default"))
        .is_some()
    {
        return Ok(());
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    match create_object(server, &SERVICE_ACCOUNT, namespace, account, false).await {
        Ok(_) => Ok(()),
        // Somebody else made it, or the namespace is going meanwhile.
        Err(error) if ["AlreadyExists", "Forbidden", "NotFound"].contains(&error.reason) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes what is in a namespace, and it when nothing is left; whether it is gone.
async fn empty(server: &Server, namespace: &Entry) -> Result<bool, ApiError> {
    let name = namespace.key.name();
    let mut left = false;
    for kind in KINDS
        .iter()
        .filter(|kind| kind.namespaced && kind.stored_as.is_none())
    {
        for entry in server
            .store
            .list(&kind.bucket(), Some(name), |_| true)
            .entries
        {
            left |= !forget(server, kind, &entry).await?;
        }
    }
    if left {
        return Ok(false);
    }
    finalize(server, namespace).await
}

/// Deletes one object; whether it is gone. One that is going already is left to its finalizers.
async fn forget(
    server: &Server,
    kind: &'static kinds::Kind,
    entry: &Entry,
) -> Result<bool, ApiError> {
    let (namespace, name) = (entry.key.namespace(), entry.key.name());
    let options = DeleteOptions::default();
    match delete_object(server, kind, namespace, name, &options).await {
        Ok(_) => Ok(server.store.get(&entry.key).is_none()),
        Err(error) if error.reason == "NotFound" => Ok(true),
        Err(error) => Err(error),
    }
}

/// Removes the finalizer that kept an empty namespace; whether it is gone.
async fn finalize(server: &Server, namespace: &Entry) -> Result<bool, ApiError> {
    let mut object: Value =
        serde_json::from_slice(&namespace.object).map_err(ApiError::internal)?;
    if let Some(finalizers) = object["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != "kubernetes");
    }
    match replace(
        server,
        &NAMESPACE,
        Part::Finalizers,
        object,
        namespace,
        false,
    )
    .await
    {
        Ok(_) => Ok(server.store.get(&namespace.key).is_none()),
        Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => Ok(false),
        Err(error) => Err(error),
    }
}
