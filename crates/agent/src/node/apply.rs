use sealane_net::names;
use sealane_netlink::{Bridge, LinkChange, Netlink};
use sealane_objects::NodeNet;

use super::{Choices, NodeError, Observed, Program, Snapshot, Step, Uplink, compile, diff};

/// The node's network as it is now in the kernel.
#[derive(Clone, Debug)]
pub struct Programmed {
    pub uplink: Uplink,
    /// The bridge's index, while there is one.
    pub bridge_index: Option<u32>,
    pub program: Program,
    /// How many steps it took; none when all was right.
    pub steps: usize,
    /// An address with which the node speaks to its pods had gone, and with it, without a word, the routes to them.
    pub gateway_was_gone: bool,
    /// What could not be done for the ways to other nodes.
    pub failures: Vec<String>,
}

/// Why there is nothing to program yet, or what went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The Node has no address yet: whoever runs the node posts it.
    #[error("wait for node {0} to have an address of type InternalIP in its status")]
    NoAddress(String),
    #[error(transparent)]
    Subnet(#[from] sealane_ipam::TooSmall),
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<sealane_netlink::Error> for SyncError {
    fn from(error: sealane_netlink::Error) -> Self {
        Self::Node(error.into())
    }
}

/// How far the stamps of nft tables are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// The kernel would have told of an edit.
    Believed,
    /// Nobody has listened until now: what the tables hold is looked at.
    Checked,
    /// Somebody has edited: all are loaded again.
    Doubted,
}

/// Observes, compiles, compares and applies, once.
///
/// # Errors
/// The first step that fails ends it, unless it is for the way to other nodes;
/// what was done stays, and the next run goes on.
pub async fn synchronize(
    kernel: &Netlink,
    this: &NodeNet,
    nodes: &[NodeNet],
    choices: &Choices,
    stamps: Stamps,
) -> Result<Programmed, SyncError> {
    let snapshot = Snapshot::read(kernel).await?;
    let site = snapshot
        .site(this)?
        .ok_or_else(|| SyncError::NoAddress(this.name.clone()))?;
    let program = compile(this, nodes, choices, &site)?;
    let mut observed = Observed::read(kernel, snapshot, &program.sysctls).await?;
    match stamps {
        Stamps::Believed => {}
        Stamps::Checked => {
            for table in &program.tables {
                if !kernel.is_intact(table)? {
                    observed.distrust_tables(Some(table.family));
                }
            }
        }
        Stamps::Doubted => observed.distrust_tables(None),
    }
    let steps = diff(&observed, &program);
    tell(&steps);
    let mut failures = Vec::new();
    for step in &steps {
        match apply(kernel, step).await {
            Err(error) if step.is_for_peers() => failures.push(error.to_string()),
            result => result?,
        }
    }
    let bridge_index = match (&program.bridge, observed.bridge) {
        (None, _) => None,
        (Some(_), Some(bridge)) => Some(bridge.index),
        (Some(bridge), None) => Some(kernel.index_of(bridge.name).await?),
    };
    Ok(Programmed {
        uplink: site.uplink,
        bridge_index,
        steps: steps.len(),
        gateway_was_gone: steps.iter().any(Step::brings_gateway),
        failures,
        program,
    })
}

/// The first steps by name; a thousand routes at start would bury them.
fn tell(steps: &[Step]) {
    const NAMED: usize = 10;
    for step in steps.iter().take(NAMED) {
        tracing::info!("{step}");
    }
    if steps.len() > NAMED {
        tracing::info!(
            "and {} more changes of the node's network",
            steps.len() - NAMED
        );
    }
}

async fn apply(kernel: &Netlink, step: &Step) -> Result<(), sealane_netlink::Error> {
    match step {
        Step::SetSysctl(key, value) => kernel.set_sysctls(&[(key.as_str(), *value)]),
        Step::SetBridge(bridge) => {
            let wanted = Bridge {
                name: bridge.name,
                mtu: Some(bridge.mtu),
                mac: Some(bridge.mac),
                up: true,
            };
            kernel.add_bridge(&wanted).await.map(drop)
        }
        Step::DeleteBridge => kernel.delete_link(names::POD_BRIDGE).await.map(drop),
        Step::AddAddress(link, address) => kernel.add_own_address(*link, *address).await,
        Step::DeleteAddress(link, address) => {
            kernel.delete_address(*link, *address).await.map(drop)
        }
        Step::SetUp(link) => {
            let up = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            kernel.set_link(link.as_str(), up).await
        }
        Step::AddCloudAddress(link, address) => {
            kernel.add_own_address(link.as_str(), *address).await
        }
        Step::AddProxy(address) => kernel.add_proxy(names::POD_BRIDGE, *address).await,
        Step::DeleteProxy(address) => kernel
            .delete_proxy(names::POD_BRIDGE, *address)
            .await
            .map(drop),
        Step::SetOverlay(vxlan) => kernel.add_vxlan(vxlan).await.map(drop),
        Step::DeleteOverlay => kernel.delete_link(names::VXLAN).await.map(drop),
        Step::SetForwarding(mac, to) => kernel.set_forwarding(names::VXLAN, *mac, *to).await,
        Step::DeleteForwarding(mac) => kernel.delete_forwarding(names::VXLAN, *mac).await.map(drop),
        Step::SetNeighbour(address, mac) => {
            kernel.set_neighbour(names::VXLAN, *address, *mac).await
        }
        Step::DeleteNeighbour(address) => kernel
            .delete_neighbour(names::VXLAN, *address)
            .await
            .map(drop),
        Step::LoadTable(table) => kernel.load_table(table).await,
        Step::DeleteTable(loaded) => kernel
            .delete_table(loaded.family, &loaded.name)
            .await
            .map(drop),
        Step::SetRoute(route) => kernel.set_route(route).await,
        Step::DeleteRoute(route) => kernel.delete_route(route).await.map(drop),
        Step::AddRule(rule) => kernel.add_rule(rule).await,
        Step::DeleteRule(rule) => kernel.delete_rule(rule).await.map(drop),
    }
}
