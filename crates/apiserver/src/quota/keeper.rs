//! Keeps `status` of ResourceQuotas right: what is written charges them at once, what goes or ends
//! is counted here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sealane_store::{Entry, Key};
use serde_json::{Value, json};

use super::{concerned, count, ledger, with_status};
use crate::{kinds::RESOURCE_QUOTA, object, server::Server};

/// Between two counts: who deletes a hundred pods is counted a few times, not a hundred.
const PAUSE: Duration = Duration::from_millis(50);

/// Up to which revision of the objects, and of the quota itself, a quota has been counted.
type Counted = HashMap<Key, (u64, u64)>;

/// Runs until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut revisions = server.store.revisions();
    let mut counted = Counted::new();
    loop {
        revisions.mark_unchanged();
        let quotas = server
            .store
            .list(&RESOURCE_QUOTA.bucket(), None, |_| true)
            .entries;
        counted.retain(|key, _| quotas.iter().any(|entry| entry.key == *key));
        for entry in &quotas {
            keep(&server, entry, &mut counted).await;
        }
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            changed = revisions.changed() => if changed.is_err() {
                return;
            },
        }
        if !quotas.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Counts what is used of a quota if that may have changed.
async fn keep(server: &Server, entry: &Entry, counted: &mut Counted) {
    let Ok(quota) = serde_json::from_slice::<Value>(&entry.object.unpack()) else {
        return;
    };
    let changed = changed(server, &quota);
    let before = counted.get(&entry.key);
    if before.is_some_and(|(objects, own)| *objects >= changed && *own >= entry.revision) {
        return;
    }
    let _lock = server.quotas.lock(object::namespace(&quota)).await;
    // Somebody may have charged it while the lock was theirs.
    let Some(current) = server.store.get(&entry.key) else {
        return;
    };
    let Ok(quota) = serde_json::from_slice::<Value>(&current.object.unpack()) else {
        return;
    };
    let (changed, used) = (self::changed(server, &quota), count(server, &quota));
    let hard = ledger::hard(&quota).value();
    let status = json!({ "hard": hard, "used": used.value() });
    let mut revision = current.revision;
    if quota["status"] != status {
        let write = with_status(&current, quota, &used);
        match server.store.write(vec![write]).await {
            Ok(written) => revision = written.first().map_or(revision, |entry| entry.revision),
            // Whoever changed it has made a new revision, which wakes us.
            Err(cause) => return tracing::debug!(%cause, "write what is used of a quota"),
        }
    }
    counted.insert(entry.key.clone(), (changed, revision));
}

/// The newest change of any object that the quota may count.
fn changed(server: &Server, quota: &Value) -> u64 {
    let kinds = concerned(server, quota).into_iter();
    let revisions = kinds.map(|(kind, _)| server.store.changed(&kind.bucket()));
    revisions.max().unwrap_or(0)
}
