//! The plugin's requests.

use std::{os::fd::OwnedFd, sync::Arc};

use sealane_cni::{
    asked::Asked,
    protocol::{Request, Response},
    types::{CniError, Command, ValidAttachment, code},
};
use sealane_ipam::named::SelectError;
use sealane_objects::ObjectName;
use tokio::time::Instant;

use super::{
    Core, Message, PARKED, Reply, wall_clock,
    work::{Add, Adding, Parked, Work},
};
use crate::{
    answer,
    leases::{Key, Lease, LeaseError, Named, PodRef, Wanted},
    ports,
    wire::{self, Job, WireError, Wired},
};

impl Core {
    pub(super) fn request(&mut self, request: Box<Request>, netns: Option<OwnedFd>, reply: Reply) {
        self.meters.request(request.command);
        let key = key_of(&request);
        match (request.command, netns) {
            (Command::Add, Some(netns)) => self.add(
                key,
                Add {
                    request,
                    netns,
                    reply,
                },
            ),
            (Command::Check, Some(netns)) => self.check(&key, &request, netns, reply),
            (Command::Add | Command::Check, None) => {
                reply.fail(answer::incomplete("the network namespace's descriptor"));
            }
            (Command::Del, _) => self.del(key, reply),
            (Command::Status, _) => reply.done(self.status()),
            (Command::Gc, _) => self.collect(&request, reply),
            // Answered by the plugin itself.
            (Command::Version, _) => reply.done(Ok(())),
        }
    }

    fn add(&mut self, key: Key, add: Add) {
        self.add_by(key, add, Instant::now() + PARKED);
    }

    /// Takes up an ADD, or parks it until the deadline.
    fn add_by(&mut self, key: Key, add: Add, deadline: Instant) {
        if let Some(why) = self.why_not_ready() {
            return self.park(add, deadline, answer::not_ready(&why));
        }
        if self.is_spooled(&key) {
            return self.park(add, deadline, answer::busy(&key));
        }
        if self.work.contains_key(&key) {
            add.reply.fail(answer::busy(&key));
            return;
        }
        if self.book.get(&key).is_some() {
            // Of an earlier ADD that was cut off, or a second ADD: the kernel tells.
            self.start_wiring(key, add, true);
            return;
        }
        match self.lease(&key, &add.request) {
            Ok(()) => self.start_wiring(key, add, false),
            Err(error) if Instant::now() < deadline && self.may_pass(&error) => {
                tracing::debug!("add {key}: {}", error.answer());
                self.parked.push(Parked { deadline, add });
            }
            Err(error) => {
                let error = self.with_cause(error);
                self.tell_refused(&add.request, &error);
                let error = error.answer();
                tracing::warn!("add {key}: {error}");
                add.reply.fail(error);
            }
        }
    }

    /// Whether an address may be had in a moment.
    fn may_pass(&self, failure: &LeaseFailure) -> bool {
        match failure {
            LeaseFailure::Waiting(_) => true,
            LeaseFailure::Lease(error) => self.may_wait(error),
            _ => false,
        }
    }

    fn may_wait(&self, error: &LeaseError) -> bool {
        match self.cloud {
            Some(_) => self.may_come(error),
            None => matches!(error, LeaseError::Resting { .. }),
        }
    }

    /// Where addresses come from EC2, its limits are the cause.
    fn with_cause(&self, failure: LeaseFailure) -> LeaseFailure {
        match &failure {
            LeaseFailure::Lease(error) => match self.shortage(error) {
                Some(why) => LeaseFailure::Shortage(why),
                None => failure,
            },
            _ => failure,
        }
    }

    /// Parks an ADD that is not late already.
    fn park(&mut self, add: Add, deadline: Instant, why: CniError) {
        if Instant::now() < deadline {
            self.parked.push(Parked { deadline, add });
        } else {
            add.reply.fail(why);
        }
    }

    fn lease(&mut self, key: &Key, request: &Request) -> Result<(), LeaseFailure> {
        let pod = pod_of(request);
        let known = pod.as_ref().and_then(|pod| self.pods.get(&pod.name));
        let annotations = known.map(|pod| &pod.annotations);
        let asked = Asked::of(request, annotations).map_err(LeaseFailure::Asked)?;
        self.shape(request).map_err(LeaseFailure::Shape)?;
        let pool = self.pool_of(pod.as_ref(), asked.pool.as_deref())?;
        let host_ports = ports::mappings(request).map_err(LeaseFailure::Asked)?;
        let wanted = Wanted {
            network: &request.network,
            pod,
            host_ports,
            ips: &asked.ips,
            mac: asked.mac,
            pool: pool.as_ref().map(|pool| Named {
                name: &pool.name,
                ranges: &pool.ranges,
            }),
        };
        match self.book.lease(key, wanted, wall_clock()) {
            Ok(_) => Ok(()),
            Err(LeaseError::NoBlock {
                pool,
                family,
                address,
                until,
            }) => Err(self.without_block(&pool, family, address, until.is_some())),
            Err(error) => Err(error.into()),
        }
    }

    /// What people who look at the pod should know of a refusal.
    fn tell_refused(&self, request: &Request, failure: &LeaseFailure) {
        let pod = pod_of(request);
        let reason = match failure {
            LeaseFailure::UsedUp(_)
            | LeaseFailure::Shortage(_)
            | LeaseFailure::Lease(LeaseError::Exhausted(_) | LeaseError::Resting { .. }) => {
                self.meters.exhausted();
                "AddressesUsedUp"
            }
            LeaseFailure::Shape(_) => "BandwidthRefused",
            LeaseFailure::Lease(LeaseError::NoSubnet) => return,
            _ => "AddressRefused",
        };
        (self.announce)(pod.as_ref(), reason, &failure.answer().msg);
    }

    /// Takes up what waited for the node to become ready, for a DEL before it, or for an address.
    pub(super) fn unpark(&mut self) {
        if self.parked.is_empty() || self.why_not_ready().is_some() {
            return;
        }
        for Parked { deadline, add } in std::mem::take(&mut self.parked) {
            self.add_by(key_of(&add.request), add, deadline);
        }
    }

    /// Ends the waiting of ADDs that have waited long enough; each is told what it waited for.
    pub(super) fn refuse_late(&mut self, now: Instant) {
        if !self.parked.iter().any(|parked| now >= parked.deadline) {
            return;
        }
        let (late, waiting) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| now >= parked.deadline);
        self.parked = waiting;
        let late: Vec<Parked> = late;
        for Parked { deadline, add } in late {
            self.add_by(key_of(&add.request), add, deadline);
        }
    }

    /// Frees what has rested, if somebody may wait for it: an ADD, or a pool for its block.
    pub(super) fn end_rests(&mut self) {
        if !self.parked.is_empty() || !self.pools.is_empty() {
            self.book.end_rests(wall_clock());
        }
    }

    /// When the next address has rested, if somebody waits for one.
    pub(super) fn rest_ends_at(&self) -> Option<Instant> {
        if self.parked.is_empty() && self.pools.is_empty() {
            return None;
        }
        let until = self.book.sources().resting().next()?;
        Some(Instant::now() + until.saturating_sub(wall_clock()))
    }

    /// Wires a lease; one that is new is written meanwhile.
    fn start_wiring(&mut self, key: Key, add: Add, found: bool) {
        let (Some(lease), Some(ground)) = (self.book.get(&key).cloned(), self.node.ground()) else {
            add.reply.fail(answer::busy(&key));
            return;
        };
        let (inbox, task_key) = (self.inbox.clone(), key.clone());
        self.wirer.wire(Job {
            ground,
            admit: self.guard.elements(&lease),
            // Read before, when the address was leased.
            shape: self.shape(&add.request).unwrap_or_default(),
            lease,
            netns: add.netns,
            done: Box::new(move |result| {
                let key = task_key;
                // Fails only when the core has gone, and with it whoever asked.
                let _ = inbox.blocking_send(Message::Wired { key, result });
            }),
        });
        let adding = Adding {
            netns: add.request.netns,
            found,
            reply: add.reply,
            unsaved: (!found).then(|| self.book.version()),
            refused: None,
            wired: None,
            then: Vec::new(),
        };
        self.work.insert(key, Work::Adding(adding));
    }

    pub(super) fn wired(&mut self, key: Key, result: Result<Wired, WireError>) {
        let Some(Work::Adding(mut adding)) = self.work.remove(&key) else {
            return;
        };
        self.node.note_changed(&key);
        self.note_change();
        match result {
            Ok(wired) => {
                adding.wired = Some(wired);
                self.settle(key, adding);
            }
            Err(error) => {
                tracing::warn!("wire {key}: {error}");
                // A second ADD must not end the lease of the first.
                let keep = adding.found && matches!(error, WireError::Attached);
                adding.reply.fail(match error {
                    WireError::Attached => answer::already_attached(&key),
                    error => answer::not_wired(&key, &error),
                });
                if !adding.then.is_empty() {
                    self.start_unwiring(key, adding.then);
                } else if !keep {
                    self.free(key, Vec::new());
                }
            }
        }
    }

    /// An ADD whose version of the leases is in the file, or could not be put there.
    pub(super) fn saved_add(
        &mut self,
        key: Key,
        mut adding: Adding,
        result: &Result<(), CniError>,
    ) {
        adding.unsaved = None;
        adding.refused = result.clone().err();
        self.settle(key, adding);
    }

    /// Answers an ADD that is done, and does what came meanwhile.
    fn settle(&mut self, key: Key, adding: Adding) {
        let unwanted = !adding.then.is_empty() || adding.refused.is_some();
        match (&adding.wired, adding.unsaved) {
            (None, _) => return drop(self.work.insert(key, Work::Adding(adding))),
            (Some(_), Some(_)) if !unwanted => {
                return drop(self.work.insert(key, Work::Adding(adding)));
            }
            _ => {}
        }
        let lease = self.book.get(&key).cloned();
        match (
            &adding.refused,
            &adding.wired,
            self.node.programmed(),
            lease,
        ) {
            (Some(error), ..) => adding.reply.fail(error.clone()),
            (None, Some(wired), Some(node), Some(lease)) if !unwanted => {
                tracing::debug!("added {key}: {:?}", lease.addresses);
                adding
                    .reply
                    .added(answer::added(node, &lease, wired, &adding.netns));
                self.duplicates.ask(node, &lease);
            }
            // A DEL came; a node that was ready stays so, and a lease in work stays.
            _ => adding.reply.fail(answer::busy(&key)),
        }
        if unwanted {
            self.start_unwiring(key, adding.then);
        }
    }

    pub(super) fn del(&mut self, key: Key, reply: Reply) {
        self.drop_parked(&key);
        match self.work.get_mut(&key) {
            None => self.start_unwiring(key, vec![reply]),
            Some(Work::Adding(adding)) => adding.then.push(reply),
            Some(Work::Unwiring { replies } | Work::Freeing { replies, .. }) => replies.push(reply),
        }
    }

    /// A DEL means that nobody waits for the ADD before it any more.
    fn drop_parked(&mut self, key: &Key) {
        self.parked.retain(|Parked { add, .. }| {
            add.request.container_id != key.container_id || add.request.ifname != key.ifname
        });
    }

    fn start_unwiring(&mut self, key: Key, replies: Vec<Reply>) {
        let (kernel, inbox) = (self.kernel.clone(), self.inbox.clone());
        let task_key = key.clone();
        tokio::spawn(async move {
            let result = wire::unwire(&kernel, &task_key).await;
            let key = task_key;
            let _ = inbox.send(Message::Unwired { key, result }).await;
        });
        self.work.insert(key, Work::Unwiring { replies });
    }

    pub(super) fn unwired(&mut self, key: Key, result: Result<(), WireError>) {
        let Some(Work::Unwiring { replies }) = self.work.remove(&key) else {
            return;
        };
        // A list that was begun before shows its link, and a lease must not be taken up from that.
        self.node.note_changed(&key);
        self.note_change();
        match result {
            Ok(()) => self.free(key, replies),
            Err(error) => {
                tracing::warn!("unwire {key}: {error}");
                let error = answer::not_wired(&key, &error);
                for reply in replies {
                    reply.fail(error.clone());
                }
            }
        }
    }

    /// A pod has come or gone.
    fn note_change(&mut self) {
        if self.node.is_mixed() {
            self.node.set_dirty();
        }
    }

    /// Releases a lease; whoever waits is answered when that is on disk.
    pub(super) fn free(&mut self, key: Key, replies: Vec<Reply>) {
        if let Some(lease) = self.book.get(&key).cloned() {
            self.dismiss(&lease);
        }
        self.duplicates.forget(&key);
        if self.book.release(&key, wall_clock()).is_some() {
            tracing::debug!("released {key}");
            let number = self.book.version();
            self.work.insert(key, Work::Freeing { number, replies });
        } else {
            for reply in replies {
                reply.done(Ok(()));
            }
        }
    }

    fn status(&self) -> Result<(), CniError> {
        if let Some(why) = self.why_not_ready() {
            // Pods that are here already may miss what could not be repaired.
            let limited = self.node.trouble().is_some() && self.book.leases().len() > 0;
            return Err(if limited {
                answer::limited(&why)
            } else {
                answer::not_available(&why)
            });
        }
        if let Some(error) = &self.save.failed {
            return Err(answer::not_available(&error.to_string()));
        }
        if let Some(why) = self.cloud_is_used_up() {
            return Err(answer::not_available(&why));
        }
        match self.book.full_subnet() {
            Some(full) => Err(answer::not_available(&format!(
                "subnet {} is used up: all of its {} pod addresses are leased",
                full.pool.subnet(),
                full.pool.size()
            ))),
            None => Ok(()),
        }
    }

    fn check(&self, key: &Key, request: &Request, netns: OwnedFd, reply: Reply) {
        let (lease, ground) = match (self.book.get(key), self.node.ground()) {
            (None, _) => return reply.fail(answer::faulty(key, &["it has no lease".into()])),
            (_, None) => {
                let why = self.why_not_ready().unwrap_or_default();
                return reply.fail(answer::not_ready(&why));
            }
            (Some(lease), Some(ground)) => (Arc::clone(lease), ground),
        };
        let shape = match self.shape(request) {
            Ok(shape) => shape,
            Err(error) => return reply.fail(error),
        };
        let differing = unlike_result(&lease, request);
        let kernel = self.kernel.clone();
        tokio::spawn(async move {
            let found = wire::faults(&kernel, &ground, &lease, &netns, shape).await;
            reply.done(examined(found, differing, &lease.key()));
        });
    }

    /// GC: a DEL for each attachment of the network that is not valid any more.
    fn collect(&mut self, request: &Request, reply: Reply) {
        let Some(valid) = &request.valid_attachments else {
            // Without the list everything would be garbage.
            return reply.fail(CniError::new(
                code::INVALID_CONFIG,
                "GC without cni.dev/valid-attachments",
            ));
        };
        let is_garbage = |lease: &&Arc<Lease>| {
            let kept = |v: &ValidAttachment| {
                v.container_id == lease.container_id && v.ifname == lease.ifname
            };
            lease.network == request.network
                && !valid.iter().any(kept)
                && !self.work.contains_key(&lease.key())
        };
        let garbage: Vec<Key> = self
            .book
            .leases()
            .filter(is_garbage)
            .map(|l| l.key())
            .collect();
        let mut answers = Vec::new();
        for key in garbage {
            tracing::info!("collect {key}: the runtime does not know it any more");
            let (each, answer) = Reply::channel();
            answers.push(answer);
            self.del(key, each);
        }
        tokio::spawn(async move {
            let mut result = Ok(());
            for answer in answers {
                if let Ok(Response::Failed(error)) = answer.await {
                    result = Err(error);
                }
            }
            reply.done(result);
        });
    }
}

/// Why an ADD got no lease.
pub(super) enum LeaseFailure {
    /// What it asks for cannot be read.
    Asked(CniError),
    /// Its bandwidth cannot be read.
    Shape(CniError),
    /// What decides about it is on its way.
    Waiting(String),
    /// The pool that it should come from does not serve.
    Select(SelectError),
    /// That pool has nothing left for this node.
    UsedUp(String),
    Lease(LeaseError),
    /// EC2 gives none, and why.
    Shortage(String),
}

impl LeaseFailure {
    fn answer(&self) -> CniError {
        match self {
            Self::Asked(error) | Self::Shape(error) => error.clone(),
            Self::Shortage(why) => CniError::new(code::ADDRESSES_USED_UP, why)
                .with_details("the runtime tries again; docs/cloud.md says which limits there are"),
            Self::Waiting(why) => answer::waiting(why),
            Self::Select(error) => answer::no_pool(error),
            Self::UsedUp(why) => answer::pool_used_up(why),
            Self::Lease(error) => answer::no_lease(error),
        }
    }
}

fn key_of(request: &Request) -> Key {
    Key {
        container_id: request.container_id.clone(),
        ifname: request.ifname.clone(),
    }
}

/// The pod as Kubernetes' runtimes name it in `CNI_ARGS`.
pub(super) fn pod_of(request: &Request) -> Option<PodRef> {
    let arg = |name: &str| request.args.get(name).cloned();
    Some(PodRef {
        name: ObjectName::new(arg("K8S_POD_NAMESPACE")?, arg("K8S_POD_NAME")?),
        uid: arg("K8S_POD_UID").unwrap_or_default(),
    })
}

/// What the runtime remembers of ADD, against the lease.
fn unlike_result(lease: &Lease, request: &Request) -> Vec<String> {
    let Some(result) = &request.prev_result else {
        return Vec::new();
    };
    let missing = lease.addresses.iter().filter(|leased| {
        !result
            .ips
            .iter()
            .any(|ip| ip.address.addr() == leased.addr())
    });
    missing
        .map(|leased| format!("prevResult does not have the leased address {leased}"))
        .collect()
}

fn examined(
    found: Result<Vec<String>, WireError>,
    mut faults: Vec<String>,
    key: &Key,
) -> Result<(), CniError> {
    match found {
        Ok(found) => faults.extend(found),
        Err(error) => return Err(answer::not_wired(key, &error)),
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(answer::faulty(key, &faults))
    }
}
