//! The task that looks after ServiceCIDRs and repairs IPAddresses that somebody has changed.
//!
//! It watches both kinds. Services need not be watched: what they change of their addresses is
//! written together with it.

use std::{sync::Arc, time::Duration};

use sealane_store::{Change, ChangeKind};

use super::{
    objects::is_ours,
    repair::{self, parent, read, repair_address, repair_service},
    service_cidrs::{any_is_going, look_after, ranges},
};
use crate::{
    kinds::{IP_ADDRESS, Kind, SERVICE_CIDR},
    server::Server,
    status::ApiError,
};

/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the server stops; all was found right, or repaired, at the revision `since`.
pub async fn run(server: Arc<Server>, since: u64) {
    let mut since = Some(since);
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            result = follow(&server, since.take()) => if let Err(cause) = result {
                tracing::warn!(message = cause.message, "look after addresses: starting over");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn follow(server: &Server, since: Option<u64>) -> Result<(), ApiError> {
    let since = match since {
        Some(since) => since,
        None => repair::repair(server).await?,
    };
    let watch = |kind: &Kind| {
        let watch = server.store.watch(&kind.bucket(), since);
        watch.map_err(ApiError::internal)
    };
    let (mut cidrs, mut addresses) = (watch(&SERVICE_CIDR)?, watch(&IP_ADDRESS)?);
    look_after(server).await?;
    loop {
        tokio::select! {
            change = cidrs.next() => {
                change.map_err(ApiError::internal)?;
                look_after(server).await?;
            }
            change = addresses.next() => {
                let change = change.map_err(ApiError::internal)?;
                address_changed(server, &change).await?;
            }
        }
    }
}

async fn address_changed(server: &Server, change: &Change) -> Result<(), ApiError> {
    if change.kind != ChangeKind::Deleted
        && let Some(entry) = server.store.get(&change.entry.key)
    {
        repair_address(server, &entry).await?;
        if is_ours(&entry) {
            return Ok(());
        }
    }
    let service = read(&change.entry).and_then(|address| parent(server, &address));
    if let Some(service) = service {
        repair_service(server, service, &ranges(&server.store)).await?;
    }
    if any_is_going(&server.store) {
        look_after(server).await?;
    }
    Ok(())
}
