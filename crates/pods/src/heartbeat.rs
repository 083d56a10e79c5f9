//! The node's signs of life: its Node object and its Lease.
//!
//! ```text
//! network ──watch─────────────> status task ──create, PATCH status──> Node
//! API server ──watch (us)─────>    │ ──watch: Site──> dispatch
//!                                  │ every 5 min as well; the Node's UID
//!                                  v
//!                              lease task ──PATCH every quarter of its time──> Lease kube-node-lease/NODE
//!                                  └── Returns ──> whoever watches the API
//! ```
//!
//! Two tasks, since a Node that cannot be told (a conflict, a refusal) must not
//! make the node look dead. The Node is compared with what this node wants it to be at each change, so
//! that a Node that was deleted, or given up as Unknown by a controller, comes
//! back by itself.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use sealane_introspect::Readiness;
use sealane_kube::{Backoff, Change, Filter, explain, is_conflict, is_not_found};
use serde_json::json;
use tokio::sync::watch;

use crate::admission::Site;
use crate::network::Network;
use crate::node_status::{self, Facts, Request};

/// A request without an answer is sent again after this: its connection may be dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// Report of an unchanged status, as the kubelet's `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);

/// Keeps the node registered and alive for as long as this runtime lives.
pub fn start(
    client: Client,
    facts: Facts,
    network: watch::Receiver<Network>,
    registered: Readiness,
    lease_duration: Duration,
) -> (watch::Receiver<Arc<Site>>, watch::Receiver<Returns>) {
    let (uid, known) = watch::channel(None);
    let (returns, returned) = watch::channel(0);
    let renewal = Renewal {
        leases: Api::namespaced(client.clone(), "kube-node-lease"),
        name: facts.name.clone(),
        duration: lease_duration,
        returns,
    };
    tokio::spawn(renewal.run(known));
    let nodes = Api::all(client);
    let (site, measured) = watch::channel(Arc::new(node_status::site(&facts, None)));
    tokio::spawn(
        Heartbeat {
            nodes,
            facts,
            network,
            registered,
            seen: None,
            uid,
            site,
            returned: returned.clone(),
        }
        .run(),
    );
    (measured, returned)
}

/// How often the API has been reached again after renewals had failed.
///
/// A connection that was cut off for a while may hang for as long again, until
/// something is sent a next time; who watches the API had better start anew.
pub type Returns = u64;

/// The task that keeps the Node object as it should be.
struct Heartbeat {
    nodes: Api<Node>,
    facts: Facts,
    network: watch::Receiver<Network>,
    registered: Readiness,
    /// The object as last seen.
    seen: Option<Node>,
    /// Tells the lease task whose Lease it is.
    uid: watch::Sender<Option<String>>,
    /// Tells dispatch by what new pods are measured.
    site: watch::Sender<Arc<Site>>,
    returned: watch::Receiver<Returns>,
}

/// How far one request has brought us.
#[derive(PartialEq, Eq)]
enum Progress {
    /// The object is as it should be.
    Done,
    /// It has to be looked at again.
    Again,
}

impl Heartbeat {
    async fn run(mut self) {
        let filter = Filter::fields(format!("metadata.name={}", self.facts.name));
        let mut changes = Box::pin(sealane_kube::watch(self.nodes.clone(), &filter));
        let mut network = self.network.clone();
        let mut returned = self.returned.clone();
        let mut report = tokio::time::interval(REPORT);
        report.reset();
        // Registers at once, without waiting for the watch.
        self.settle(false).await;
        loop {
            let mut heartbeat = false;
            tokio::select! {
                Some(change) = changes.next() => self.see(change),
                Ok(()) = network.changed() => {}
                Ok(()) = returned.changed() => {
                    changes = Box::pin(sealane_kube::watch(self.nodes.clone(), &filter));
                }
                _ = report.tick() => heartbeat = true,
            }
            self.settle(heartbeat).await;
        }
    }

    fn see(&mut self, change: Change<Node>) {
        self.seen = match change {
            Change::Reset(all) => all.into_iter().map(|(_, node)| node).next(),
            Change::Applied(_, node) => Some(node),
            Change::Deleted(..) => None,
        };
        self.survey();
    }

    /// Sends what is needed until the object is as it should be.
    async fn settle(&mut self, heartbeat: bool) {
        let mut backoff = Backoff::reconnect();
        loop {
            match tokio::time::timeout(PATIENCE, self.tell(heartbeat)).await {
                Ok(Ok(Progress::Done)) => return,
                Ok(Ok(Progress::Again)) => {}
                Ok(Err(error)) => tracing::warn!("tell status of this node: {}", explain(&error)),
                Err(_) => tracing::warn!("tell status of this node: no answer in {PATIENCE:?}"),
            }
            if backoff.failures() > 0 {
                tokio::time::sleep(backoff.next_delay()).await;
            } else {
                let _first_is_immediate = backoff.next_delay();
            }
        }
    }

    /// Sends one request, if one is needed.
    async fn tell(&mut self, heartbeat: bool) -> kube::Result<Progress> {
        let request = self.next(heartbeat);
        let (name, params) = (&self.facts.name, PatchParams::default());
        let answer = match &request {
            Request::Create(node) => self.nodes.create(&PostParams::default(), node).await,
            Request::Label(patch) => self.nodes.patch(name, &params, &Patch::Merge(patch)).await,
            Request::Status(patch) => {
                self.nodes
                    .patch_status(name, &params, &Patch::Merge(patch))
                    .await
            }
            Request::Nothing => {
                self.register(self.seen.clone());
                return Ok(Progress::Done);
            }
        };
        match answer {
            Ok(node) => {
                self.register(Some(node));
                // A server that keeps something else than it was told is not told again and again.
                if matches!(request, Request::Status(_)) {
                    return Ok(Progress::Done);
                }
            }
            Err(error) if is_not_found(&error) => self.seen = None,
            Err(error) if is_conflict(&error) => {
                self.seen = self.nodes.get_opt(&self.facts.name).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(Progress::Again)
    }

    fn next(&self, heartbeat: bool) -> Request {
        let network = self.network.borrow();
        let network = network.as_ref().map(drop).map_err(String::as_str);
        let seen = self.seen.as_ref();
        let status = node_status::compile(&self.facts, seen, network, Timestamp::now());
        node_status::next(&self.facts, status, seen, heartbeat)
    }

    /// The API has the node: from now on its Lease is renewed.
    fn register(&mut self, node: Option<Node>) {
        self.registered.ready();
        let uid = node.as_ref().and_then(|node| node.metadata.uid.clone());
        self.uid.send_if_modified(|known| {
            let changed = *known != uid;
            known.clone_from(&uid);
            changed
        });
        self.seen = node;
        self.survey();
    }

    /// Labels, taints and the number of pods may have changed.
    fn survey(&self) {
        let site = Arc::new(node_status::site(&self.facts, self.seen.as_ref()));
        self.site.send_if_modified(|known| {
            let changed = *known != site;
            *known = site;
            changed
        });
    }
}

/// The task that renews the Lease.
struct Renewal {
    leases: Api<Lease>,
    name: String,
    /// How long a renewal is good for.
    duration: Duration,
    returns: watch::Sender<Returns>,
}

impl Renewal {
    /// Renews for ever.
    async fn run(self, mut uid: watch::Receiver<Option<String>>) {
        let every = self.duration / 4;
        // Soon again: what is overdue must not be late as well.
        let mut backoff = Backoff::new(Duration::from_millis(50), every.min(PATIENCE));
        loop {
            let Ok(owner) = uid.wait_for(Option::is_some).await.map(|uid| uid.clone()) else {
                return;
            };
            let pause = match self.renew(owner).await {
                Ok(()) => {
                    if backoff.failures() > 1 {
                        tracing::info!("the API server is reached again");
                        self.returns.send_modify(|returns| *returns += 1);
                    }
                    backoff.reset();
                    every
                }
                Err(why) => {
                    let name = &self.name;
                    match backoff.failures() {
                        0 | 4 => tracing::warn!("renew lease kube-node-lease/{name}: {why}"),
                        _ => tracing::debug!("renew lease kube-node-lease/{name}: {why}"),
                    }
                    backoff.next_delay()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn renew(&self, uid: Option<String>) -> Result<(), String> {
        let patience = (self.duration / 2).clamp(Duration::from_secs(1), PATIENCE);
        match tokio::time::timeout(patience, self.renew_once(uid)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(explain(&error).to_string()),
            Err(_) => Err(format!("no answer in {patience:?}")),
        }
    }

    async fn renew_once(&self, uid: Option<String>) -> kube::Result<()> {
        let lease = lease(&self.name, uid, self.duration, Timestamp::now());
        let patch = Patch::Merge(json!({"spec": lease.spec}));
        let params = PatchParams::default();
        match self.leases.patch(&self.name, &params, &patch).await {
            Err(error) if is_not_found(&error) => {
                let params = PostParams::default();
                self.leases.create(&params, &lease).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }
}

fn lease(name: &str, uid: Option<String>, duration: Duration, now: Timestamp) -> Lease {
    let owner = uid.map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    });
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}
