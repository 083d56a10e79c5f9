use sealane_net::{Mac, Mtu, Ranges};
use sealane_netlink::{Bridge, Netlink};
use sealane_objects::NodeNet;

use super::{NodeError, Observed, Program, Step, Uplink, compile, diff};

/// The node's network as it is now in the kernel.
#[derive(Clone, Debug)]
pub struct Programmed {
    pub uplink: Uplink,
    pub bridge_index: u32,
    pub bridge_mac: Mac,
    pub mtu: Mtu,
    pub program: Program,
    /// How many steps it took; none when all was right.
    pub steps: usize,
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

/// Observes, compiles, compares and applies, once.
///
/// # Errors
/// The first step that fails ends it; what was done stays, and the next run goes on.
pub async fn synchronize(
    kernel: &Netlink,
    this: &NodeNet,
    nodes: &[NodeNet],
    cluster: Option<&Ranges>,
) -> Result<Programmed, SyncError> {
    let uplink = Uplink::of(this, kernel)
        .await?
        .ok_or_else(|| SyncError::NoAddress(this.name.clone()))?;
    let program = compile(this, nodes, cluster, &uplink)?;
    let observed = Observed::read(kernel, &program.sysctls).await?;
    let steps = diff(&observed, &program);
    tell(&steps);
    for step in &steps {
        apply(kernel, step).await?;
    }
    let bridge_index = match observed.bridge {
        Some(bridge) => bridge.index,
        None => kernel.index_of(program.bridge.name).await?,
    };
    Ok(Programmed {
        uplink,
        bridge_index,
        bridge_mac: program.bridge.mac,
        mtu: program.bridge.mtu,
        steps: steps.len(),
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
        Step::SetSysctl(key, value) => kernel.set_sysctls(&[(*key, *value)]),
        Step::SetBridge(bridge) => {
            let wanted = Bridge {
                name: bridge.name,
                mtu: Some(bridge.mtu),
                mac: Some(bridge.mac),
                up: true,
            };
            kernel.add_bridge(&wanted).await.map(drop)
        }
        Step::AddGateway(address) => {
            kernel
                .add_address(sealane_net::names::POD_BRIDGE, *address)
                .await
        }
        Step::LoadTable(table) => kernel.load_table(table).await,
        Step::DeleteTable(loaded) => kernel
            .delete_table(loaded.family, &loaded.name)
            .await
            .map(drop),
        Step::SetRoute(route) => kernel.set_route(route).await,
        Step::DeleteRoute(route) => kernel.delete_route(route).await.map(drop),
    }
}
