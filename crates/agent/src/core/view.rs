//! What others see of the core.

use std::{collections::BTreeMap, sync::Arc};

use sealane_cloud::Limit;
use sealane_cni::types::Command;
use sealane_introspect::{Counter, Gauge, Introspect, Readiness};
use sealane_ipam::named::PoolFault;
use sealane_net::{Attachment, Route};
use sealane_objects::{NodeNet, PoolNet};
use serde::Serialize;
use serde_json::json;

use super::Core;
use crate::{
    cloud::Standing,
    leases::{Lease, Source},
    node::{BridgeProgram, CloudProgram, OverlayProgram, Programmed, RoutedProgram, Uplink},
};

/// A picture of the core at one moment, shown by `/debug/state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether ADD is served.
    pub ready: bool,
    /// Why not, or what could not be repaired.
    pub trouble: Option<String>,
    pub node: Option<NodeNet>,
    pub subnets: Vec<SubnetView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolView>,
    pub leases: Vec<Arc<Lease>>,
    /// Addresses that pods have without a lease.
    pub held: serde_json::Value,
    /// Addresses of pods that somebody else uses too, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<String>,
    /// What is in flight, for each attachment.
    pub work: Vec<String>,
    /// How things are with EC2, where addresses come from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2: Option<Standing>,
    #[serde(flatten)]
    pub network: Arc<NetworkView>,
}

/// What is in the kernel, as it was compared with it last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    pub uplink: Option<Uplink>,
    /// Of new pods.
    pub attachment: Attachment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeProgram>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routed: Option<RoutedProgram>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayProgram>,
    /// What the machine's network interfaces bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<CloudProgram>,
    /// To the pods of other nodes, as `ip route` shows them.
    pub routes: Vec<String>,
    /// From pods to nodes that the overlay reaches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes_to_nodes: Vec<String>,
    /// Nodes that cannot be reached, and why.
    pub problems: Vec<String>,
    /// As `nft list table` shows them.
    pub tables: Vec<String>,
}

impl From<&Programmed> for NetworkView {
    fn from(node: &Programmed) -> Self {
        Self {
            uplink: Some(node.uplink.clone()),
            attachment: node.program.attachment,
            bridge: node.program.bridge.clone(),
            routed: node.program.routed.clone(),
            overlay: node.program.overlay.clone(),
            interfaces: node.program.cloud.clone(),
            routes: routes_in(node, |table| table == Route::MAIN),
            routes_to_nodes: routes_in(node, |table| table != Route::MAIN),
            problems: shown(&node.program.problems),
            tables: shown(&node.program.tables),
        }
    }
}

/// How much of a subnet, or of a block of a named pool, is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubnetView {
    pub subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    pub size: String,
    pub leased: usize,
    /// Given back a moment ago.
    pub resting: usize,
}

/// A named pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PoolView {
    pub name: String,
    pub ranges: Vec<String>,
    /// Why it is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub deleting: bool,
    /// How many each node has.
    pub blocks: BTreeMap<String, usize>,
}

/// The core's metrics and readiness.
pub struct Meters {
    introspect: Introspect,
    network: Readiness,
    leases_file: Readiness,
    leases: Gauge,
    routes: Gauge,
    parked: Gauge,
    duplicates: Gauge,
}

impl Meters {
    pub fn new(introspect: &Introspect) -> Self {
        Self {
            network: introspect.readiness("network"),
            leases_file: introspect.readiness("leases"),
            leases: introspect.gauge("sealane_ipam_leases", "Pods' leases on this node.", &[]),
            routes: introspect.gauge("sealane_routes", "Routes to pods of other nodes.", &[]),
            parked: introspect.gauge(
                "sealane_cni_parked",
                "ADDs that wait for the node to become ready.",
                &[],
            ),
            duplicates: introspect.gauge(
                "sealane_ipam_duplicate_addresses",
                "Addresses of pods that somebody else was found to use too.",
                &[],
            ),
            introspect: introspect.clone(),
        }
    }

    pub fn request(&self, command: Command) {
        self.counter(command).inc();
    }

    /// An ADD has found no free address.
    pub fn exhausted(&self) {
        let help = "ADDs that were refused because a subnet was used up.";
        let counter = self
            .introspect
            .counter("sealane_ipam_exhausted_total", help, &[]);
        counter.inc();
    }

    fn counter(&self, command: Command) -> Counter {
        let labels = [("command", command.as_str())];
        self.introspect.counter(
            "sealane_cni_requests_total",
            "Calls of the CNI plugin.",
            &labels,
        )
    }

    fn ec2(&self, standing: &Standing) {
        let set = |name, help, labels: &[(&str, &str)], value: usize| {
            self.introspect.gauge(name, help, labels).set(value as f64);
        };
        let serving = standing.observed.as_ref().map(|o| o.serving());
        let serving = serving.unwrap_or_default();
        let addresses = serving.iter().map(|interface| interface.size()).sum();
        let help = "Addresses for pods on this machine's network interfaces.";
        set("sealane_ec2_addresses", help, &[], addresses);
        let help = "This machine's network interfaces that serve pods.";
        set("sealane_ec2_interfaces", help, &[], serving.len());
        let help = "Addresses of pods that no network interface has any more.";
        set("sealane_ec2_addresses_lost", help, &[], standing.lost.len());
        let cause = standing.limit.as_ref().map(Limit::cause);
        for each in Limit::CAUSES {
            let help = "1 for what stops this machine from getting more pod addresses.";
            let stops = usize::from(cause == Some(each));
            set("sealane_ec2_limit", help, &[("cause", each)], stops);
        }
    }

    fn subnet(&self, subnet: &SubnetView, size: f64) {
        let pool = subnet.pool.as_deref().unwrap_or_default();
        let labels = [("subnet", subnet.subnet.as_str()), ("pool", pool)];
        self.introspect
            .gauge(
                "sealane_ipam_subnet_size",
                "Pod addresses of a subnet.",
                &labels,
            )
            .set(size);
        self.introspect
            .gauge(
                "sealane_ipam_subnet_leased",
                "Leased pod addresses of a subnet.",
                &labels,
            )
            .set(subnet.leased as f64);
    }
}

impl Core {
    /// Shows the state as it is now, if it is another than before.
    pub(super) fn publish(&mut self) {
        let view = self.picture();
        self.measure(&view);
        self.view.send_if_modified(|shown| {
            let changed = **shown != view;
            if changed {
                *shown = Arc::new(view);
            }
            changed
        });
    }

    fn picture(&self) -> View {
        let why = self.why_not_ready();
        View {
            ready: why.is_none(),
            trouble: why.or_else(|| self.node.trouble().map(str::to_owned)),
            node: self.nodes.get_cluster_wide(&self.node_name).cloned(),
            subnets: self.subnets(),
            pools: self.pools.iter().map(pool).collect(),
            leases: self.book.leases().cloned().collect(),
            held: self.held_view(),
            duplicates: self.duplicates(),
            work: self
                .work
                .iter()
                .map(|(key, work)| format!("{key}: {}", work.name()))
                .collect(),
            ec2: self.cloud.as_ref().map(|cloud| cloud.standing.clone()),
            network: self.node.shown(),
        }
    }

    fn held_view(&self) -> serde_json::Value {
        let held = self.book.held().iter();
        held.map(|(pod, addresses)| (pod.to_string(), json!(addresses)))
            .collect()
    }

    fn measure(&self, view: &View) {
        match &view.trouble {
            Some(trouble) if !view.ready => self.meters.network.not_ready(trouble),
            _ => self.meters.network.ready(),
        }
        match &self.save.failed {
            Some(error) => self.meters.leases_file.not_ready(error.to_string()),
            None => self.meters.leases_file.ready(),
        }
        self.meters.leases.set(view.leases.len() as f64);
        self.meters.routes.set(view.network.routes.len() as f64);
        self.meters.parked.set(self.parked.len() as f64);
        self.meters.duplicates.set(self.duplicates.len() as f64);
        if let Some(ec2) = &view.ec2 {
            self.meters.ec2(ec2);
        }
        for (subnet, source) in view.subnets.iter().zip(self.book.sources().iter()) {
            // Single addresses of EC2 come and go; a metric for each would stay.
            if source.whole && source.of.is_none() {
                continue;
            }
            self.meters.subnet(subnet, source.pool.size() as f64);
        }
    }

    fn subnets(&self) -> Vec<SubnetView> {
        let view = |source: &Source| {
            let (leased, resting) = self.book.sources().used(&source.pool);
            SubnetView {
                subnet: source.pool.subnet().to_string(),
                pool: source.of.as_ref().map(ToString::to_string),
                size: source.pool.size().to_string(),
                leased,
                resting,
            }
        };
        self.book.sources().iter().map(view).collect()
    }
}

fn pool((pool, fault): (&PoolNet, Option<&PoolFault>)) -> PoolView {
    let blocks = pool.blocks.iter();
    PoolView {
        name: pool.name.clone(),
        ranges: shown(&pool.ranges),
        fault: fault.map(ToString::to_string),
        deleting: pool.deleting,
        blocks: blocks.map(|(node, of)| (node.clone(), of.len())).collect(),
    }
}

fn routes_in(node: &Programmed, wanted: impl Fn(u8) -> bool) -> Vec<String> {
    let routes = node.program.routes.iter();
    routes
        .filter(|route| wanted(route.table))
        .map(ToString::to_string)
        .collect()
}

fn shown<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
