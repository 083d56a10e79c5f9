//! Whether what an upstream is asked comes back to us.
//!
//! A node whose `resolv.conf` names the cluster's DNS, or a resolver that forwards there, sends each query in a
//! circle. Queries that wait for an equal one cut the circle at its first turn, so nothing grows, but every name
//! takes until the deadline to fail. So each new upstream gets a probe: a question for a name of our own
//! that nobody else can know. Who asks us for it has been asked by us. Its upstream is then left out, and probed
//! again now and then, until somebody else answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sealane_message::{Kind, Name, Question, Request};

use crate::{
    chance,
    response::examine,
    upstream::{Reception, Upstream},
};

/// What the names of probes begin with.
const LABEL: &str = "sealane-loop-";

/// How often an upstream that does not answer is probed.
const PROBES: usize = 3;

/// Probes that are under way.
#[derive(Debug, Default)]
pub struct Probes(Mutex<HashMap<Name, Probe>>);

#[derive(Debug)]
struct Probe {
    upstream: Weak<Upstream>,
    came_back: bool,
}

impl Probes {
    /// Whether somebody asks for a probe of ours; its upstream is not asked any more.
    pub fn recognise(&self, question: &Question) -> bool {
        if question.kind != Kind::HINFO {
            return false;
        }
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(probe) = probes.get_mut(&question.name) else {
            return false;
        };
        probe.came_back = true;
        let upstream = probe.upstream.upgrade();
        drop(probes);
        if let Some(upstream) = upstream.filter(|one| !one.health().loops()) {
            upstream.health().set_loops(true);
            tracing::error!(upstream = %upstream.address(), "what this upstream is asked comes back to this server; it is left out until that ends. See who it forwards to, and what the node's resolv.conf names");
        }
        true
    }

    /// Asks an upstream of a zone for a name that nobody knows.
    pub async fn look(&self, upstream: &Arc<Upstream>, zone: &Name) {
        for _ in 0..PROBES {
            let Some(request) = probe_of(zone) else {
                return;
            };
            let name = request.question.name;
            let receive = |bytes: &[u8]| match examine(bytes, &request) {
                Ok(_) => Reception::Done(()),
                Err(_) => Reception::Ignored,
            };
            let probe = Probe {
                upstream: Arc::downgrade(upstream),
                came_back: false,
            };
            self.insert(name, probe);
            let answered = upstream.ask(upstream.via, &request, receive).await.is_ok();
            let came_back = self.remove(&name).is_some_and(|probe| probe.came_back);
            if came_back {
                return;
            }
            if answered {
                upstream.health().set_loops(false);
                return;
            }
        }
    }

    fn insert(&self, name: Name, probe: Probe) {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        probes.insert(name, probe);
    }

    fn remove(&self, name: &Name) -> Option<Probe> {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        probes.remove(name)
    }
}

/// A question that nobody else asks. A zone whose name is too long for it has no probe.
fn probe_of(zone: &Name) -> Option<Request> {
    let label = format!("{LABEL}{:016x}", chance::number().ok()?);
    let name = zone.child(label).ok()?;
    Some(Request::new(
        chance::id().ok()?,
        Question::new(name, Kind::HINFO),
    ))
}
