//! How a definition goes: its objects first.
//!
//! ```text
//!   deletion asked for ──► nothing is made any more ──► all objects deleted ──► none left ──► gone
//! ```

use futures::future::try_join_all;
use jiff::Timestamp;
use sealane_store::Entry;
use serde_json::json;

use super::{
    CLEANUP,
    keeper::{Known, change},
    kinds_of,
    status::set_condition,
};
use crate::{
    kinds::Kind,
    request::{DeleteOptions, Propagation},
    server::Server,
    status::ApiError,
    verbs::{Part, delete_object},
};

/// Objects that are deleted at once: they share a commit.
const AT_ONCE: usize = 256;

/// Deletes the objects of a definition, and it when none is left; whether it is gone.
pub async fn empty(server: &Server, known: &Known) -> Result<bool, ApiError> {
    let Some(definition) = &known.definition else {
        return release(server, &known.entry).await;
    };
    // No object is made from before this on, and those that were being made are in the store
    // when it is written.
    let now = Timestamp::now();
    let said = (
        "InstanceDeletionInProgress",
        "CustomResource deletion is in progress",
    );
    let begun = change(server, &known.entry, Part::Status, |object| {
        set_condition(&mut object["status"], "Terminating", true, said, now);
    });
    if !begun.await? {
        return Ok(false);
    }
    let kinds = kinds_of(definition);
    let Some(kind) = kinds.iter().find(|kind| kind.is_stored()) else {
        return release(server, &known.entry).await;
    };
    let all = || server.store.list(&kind.bucket(), None, |_| true).entries;
    for some in all().chunks(AT_ONCE) {
        try_join_all(some.iter().map(|entry| forget(server, kind, entry))).await?;
    }
    if !all().is_empty() {
        return Ok(false);
    }
    match server.store.get(&known.entry.key) {
        Some(entry) => release(server, &entry).await,
        None => Ok(true),
    }
}

/// Deletes one object; one that is going already is left to its finalizers.
async fn forget(server: &Server, kind: &Kind, entry: &Entry) -> Result<(), ApiError> {
    let (namespace, name) = (entry.key.namespace(), entry.key.name());
    let options = DeleteOptions::propagating(Propagation::Background);
    match delete_object(server, kind, namespace, name, &options).await {
        Ok(_) => Ok(()),
        Err(error) if error.reason == "NotFound" => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the finalizer that kept a definition; whether it is gone.
async fn release(server: &Server, entry: &Entry) -> Result<bool, ApiError> {
    change(server, entry, Part::Main, |object| {
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| *finalizer != json!(CLEANUP));
        }
    })
    .await?;
    Ok(server.store.get(&entry.key).is_none())
}
