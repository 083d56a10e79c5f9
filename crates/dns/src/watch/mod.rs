//! What the API server tells: the objects that names are made of, and who asks on this node.
//!
//! ```text
//! Services, EndpointSlices, Namespaces ────────────────────┐
//! all Pods, while a Corefile says `pods verified` ─────────┼──► Zone
//!                                                          │
//! Pods of this node ───────────────────────────────────────┼──► Clients
//!                                                          └──► once all are known: synced
//! ```
//!
//! A task for each kind writes through a lock for as long as one change takes.
//! Each object is cut down as it arrives, and nothing is kept twice. While
//! the API server is away, what is known stays, and is answered.

mod take;

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt};
use sealane_introspect::{Introspect, Readiness};
use sealane_kube::k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use sealane_kube::k8s_openapi::api::discovery::v1::EndpointSlice;
use sealane_kube::{Api, Change, Client, Filter, pod_dns, service_dns, slice_dns, watch_as};
use sealane_zone::{Clients, SearchSettings, Zone};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::options::Settings;
use crate::state::Known;

/// What of the configuration changes what is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Names of pods are there only if such a pod is (`pods verified`).
    pub pods: bool,
    /// Endpoints without a hostname are called as their pods (`endpoint_pod_names`).
    pub pod_names: bool,
}

/// What is known; its tasks keep it so until it is dropped.
pub struct World {
    /// The cluster's names.
    pub zone: Arc<RwLock<Zone>>,
    /// The pods of this node.
    pub clients: Arc<RwLock<Clients>>,
    unknown: watch::Receiver<Vec<&'static str>>,
    _tasks: JoinSet<()>,
}

impl World {
    /// Begins to watch, with what was known before until it is told anew.
    pub fn follow(
        client: &Client,
        settings: &Settings,
        asked: watch::Receiver<Asked>,
        before: Option<Known>,
        introspect: &Introspect,
    ) -> Self {
        let search = search_settings(settings.cluster_domain.as_str(), &settings.resolv_conf);
        let mut clients = Clients::new(search);
        let zone = match before {
            Some(known) => {
                clients.replace_pods(known.pods);
                known.zone
            }
            None => Zone::new(),
        };
        let zone = Arc::new(RwLock::new(zone));
        let clients = Arc::new(RwLock::new(clients));
        let kinds = vec![
            "services",
            "endpointslices",
            "namespaces",
            "pods of this node",
        ];
        let (progress, unknown) = watch::channel(kinds);
        let progress = Arc::new(Progress {
            unknown: progress,
            ready: introspect.readiness("names"),
        });
        let all = Filter::all();
        let here = Filter::fields(format!("spec.nodeName={}", settings.node_name));
        let mut tasks = JoinSet::new();

        let services = watch_as(Api::<Service>::all(client.clone()), &all, |service| {
            service_dns(&service)
        });
        let into = Into::new(&zone, "services", &progress);
        tasks.spawn(async move { into.keep(services, take::service).await });
        let into = Into::new(&zone, "endpointslices", &progress);
        tasks.spawn(slices(client.clone(), into, asked.clone()));
        let namespaces = watch_as(Api::<Namespace>::all(client.clone()), &all, drop);
        let into = Into::new(&zone, "namespaces", &progress);
        tasks.spawn(async move { into.keep(namespaces, take::namespace).await });
        let pods = watch_as(Api::<Pod>::all(client.clone()), &here, |pod| pod_dns(&pod));
        let into = Into::new(&clients, "pods of this node", &progress);
        tasks.spawn(async move { into.keep(pods, take::client).await });
        tasks.spawn(verify(client.clone(), Arc::clone(&zone), asked));

        show(introspect, &zone, &clients, unknown.clone());
        Self {
            zone,
            clients,
            unknown,
            _tasks: tasks,
        }
    }

    /// Waits until everything is known once.
    pub async fn synced(&mut self) {
        // The tasks that tell live as long as this does.
        let _known = self.unknown.wait_for(Vec::is_empty).await;
    }
}

/// Which kinds are not known yet.
struct Progress {
    unknown: watch::Sender<Vec<&'static str>>,
    ready: Readiness,
}

impl Progress {
    fn known(&self, kind: &str) {
        self.unknown.send_if_modified(|unknown| {
            let before = unknown.len();
            unknown.retain(|other| *other != kind);
            match unknown.as_slice() {
                [] => self.ready.ready(),
                _ => self
                    .ready
                    .not_ready(format!("not listed yet: {}", unknown.join(", "))),
            }
            unknown.len() != before
        });
    }
}

/// A table that changes of one kind go into.
struct Into<T> {
    table: Arc<RwLock<T>>,
    kind: &'static str,
    progress: Arc<Progress>,
}

impl<T> Into<T> {
    fn new(table: &Arc<RwLock<T>>, kind: &'static str, progress: &Arc<Progress>) -> Self {
        Self {
            table: Arc::clone(table),
            kind,
            progress: Arc::clone(progress),
        }
    }

    async fn keep<O>(
        &self,
        changes: impl Stream<Item = Change<O>>,
        take: impl Fn(&RwLock<T>, Change<O>),
    ) {
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            let listed = matches!(change, Change::Reset(_));
            take(&self.table, change);
            if listed {
                self.progress.known(self.kind);
            }
        }
    }
}

/// A table is whole between two changes, whatever became of who made them.
fn write<T>(table: &RwLock<T>, change: impl FnOnce(&mut T)) {
    change(&mut table.write().unwrap_or_else(PoisonError::into_inner));
}

/// Watches slices, anew whenever their endpoints are to be called otherwise.
async fn slices(client: Client, into: Into<Zone>, mut asked: watch::Receiver<Asked>) {
    loop {
        let pod_names = asked.borrow_and_update().pod_names;
        write(&into.table, |zone| zone.set_pod_names(pod_names));
        let api = Api::<EndpointSlice>::all(client.clone());
        let slices = watch_as(api, &Filter::all(), |slice| slice_dns(&slice));
        tokio::select! {
            () = into.keep(slices, take::slice) => return,
            changed = asked.wait_for(|asked| asked.pod_names != pod_names) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Watches all pods while that is asked for. Not part of being in sync: until then a pod's name is not there.
async fn verify(client: Client, zone: Arc<RwLock<Zone>>, mut asked: watch::Receiver<Asked>) {
    loop {
        if asked.wait_for(|asked| asked.pods).await.is_err() {
            return;
        }
        let pods = watch_as(Api::<Pod>::all(client.clone()), &Filter::all(), |pod| {
            pod_dns(&pod)
        });
        let mut pods = std::pin::pin!(pods);
        loop {
            tokio::select! {
                stop = asked.wait_for(|asked| !asked.pods) => {
                    if stop.is_err() {
                        return;
                    }
                    break;
                }
                Some(change) = pods.next() => take::pod(&zone, change),
            }
        }
        take::pod(&zone, Change::Reset(Vec::new()));
    }
}

/// What the kubelet puts into pods' resolv.conf besides what is in the pod: it has read the same file.
fn search_settings(domain: &str, resolv_conf: &Path) -> SearchSettings {
    let text = fs::read_to_string(resolv_conf).unwrap_or_else(|error| {
        let file = resolv_conf.display();
        tracing::warn!("read {file}: {error}; pods are taken to have no search list of the node's");
        String::new()
    });
    let mut settings = SearchSettings {
        domain: domain.to_owned(),
        ..SearchSettings::default()
    };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search" | "domain") => {
                settings.node_searches = words.map(str::to_owned).collect();
            }
            Some("options") => {
                let mut ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                settings.node_ndots = ndots.next_back().or(settings.node_ndots);
            }
            _ => {}
        }
    }
    settings
}

fn show(
    introspect: &Introspect,
    zone: &Arc<RwLock<Zone>>,
    clients: &Arc<RwLock<Clients>>,
    unknown: watch::Receiver<Vec<&'static str>>,
) {
    let (zone, clients) = (Arc::clone(zone), Arc::clone(clients));
    introspect.state("names", move || {
        let zone = zone.read().unwrap_or_else(PoisonError::into_inner);
        let clients = clients.read().unwrap_or_else(PoisonError::into_inner);
        let (services, endpoints) = zone.size();
        json!({
            "services": services,
            "endpoints": endpoints,
            "podsOfThisNode": clients.len(),
            "changes": zone.changes(),
            "notListedYet": *unknown.borrow(),
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_search_list_is_that_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let text =
            "# made\nnameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:3 edns0\n";
        fs::write(&path, text).unwrap();
        let settings = search_settings("cluster.local", &path);
        assert_eq!(settings.node_searches, ["a.example", "b.example"]);
        assert_eq!(settings.node_ndots, Some(3));
        let none = search_settings("cluster.local", Path::new("/nowhere"));
        assert_eq!(none.node_searches, [""; 0]);
    }
}
