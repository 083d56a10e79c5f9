//! Objects that are kept only for a while: Events.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kinds::{KINDS, Kind},
    request::DeleteOptions,
    server::Server,
    verbs::delete_object,
};

/// How often old objects are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Runs until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for kind in KINDS.iter().filter(|kind| kind.stored_as.is_none()) {
            if let Some(ttl_seconds) = kind.ttl_seconds {
                forget(&server, kind, Timestamp::now().as_second() - ttl_seconds).await;
            }
        }
    }
}

async fn forget(server: &Server, kind: &Kind, before: i64) {
    let old = server.store.list(&kind.bucket(), None, |entry| {
        serde_json::from_slice(&entry.object.unpack())
            .is_ok_and(|object| last_seen(&object) < before)
    });
    for entry in old.entries {
        let (namespace, name) = (entry.key.namespace(), entry.key.name());
        let deleted = delete_object(server, kind, namespace, name, &DeleteOptions::default()).await;
        if let Err(error) = deleted {
            tracing::debug!(message = error.message, "forget an old object");
        }
    }
}

/// When an object was last heard of, in seconds since 1970.
fn last_seen(object: &Value) -> i64 {
    let times = [
        &object["series"]["lastObservedTime"],
        &object["lastTimestamp"],
        &object["eventTime"],
        &object["metadata"]["creationTimestamp"],
    ];
    let parsed = times
        .into_iter()
        .filter_map(|time| time.as_str()?.parse::<Timestamp>().ok());
    parsed.map(Timestamp::as_second).max().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_latest_time_counts() {
        let event = json!({
            "metadata": {"creationTimestamp": "1970-01-01T00:00:10Z"},
            "lastTimestamp": "1970-01-01T00:00:20Z", "eventTime": null,
        });
        assert_eq!(last_seen(&event), 20);
        assert_eq!(last_seen(&json!({})), i64::MAX);
    }
}
