//! Asking an upstream that is down until it answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sealane_message::{Kind, Question, Request};
use tokio::time::{sleep, timeout};

use super::{Reception, Upstream};
use crate::{chance, response::examine};

/// How long a probe waits, as CoreDNS's does.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// Probes an upstream that has gone down; ends when it is up, or no longer an upstream of ours.
pub fn start(upstream: &Arc<Upstream>) {
    tokio::spawn(until_it_is_up(Arc::downgrade(upstream)));
}

async fn until_it_is_up(upstream: Weak<Upstream>) {
    loop {
        let next = |upstream: Arc<Upstream>| upstream.health().next_probe(&upstream.health_check);
        let Some(wait) = upstream.upgrade().and_then(next) else {
            return;
        };
        sleep(wait).await;
        let Some(upstream) = upstream.upgrade().filter(|one| one.health().is_down()) else {
            return;
        };
        if answers(&upstream).await {
            upstream.health().answered(None);
            tracing::info!(upstream = %upstream.address(), "an upstream answers again");
            return;
        }
        upstream.meters.probe_failed();
    }
}

/// Whatever it says, it is there.
async fn answers(upstream: &Upstream) -> bool {
    let Ok(id) = chance::id() else {
        return false;
    };
    let check = &upstream.health_check;
    let mut request = Request::new(id, Question::new(check.name, Kind::NS));
    request.recursion_desired = check.recursion;
    let receive = |bytes: &[u8]| match examine(bytes, &request) {
        Ok(_) => Reception::Done(()),
        Err(_) => Reception::Ignored,
    };
    let asked = upstream.ask(upstream.via, &request, receive);
    matches!(timeout(ANSWERED_WITHIN, asked).await, Ok(Ok(())))
}
