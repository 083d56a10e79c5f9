//! The way out to the world beyond this machine.
//!
//! Two things are needed: this machine forwards ([`forwarding`]), and what it
//! forwards for nodes carries its own address, by a table of our own.
//!
//! IPv6 is forwarded once this machine has a default route of it: without one
//! nothing would be gained, and other links' settings would be touched for it.
//!
//! Without the internet, IPv4 is held back by a setting of our link. IPv6 has
//! none such, so that a table refuses what would be forwarded.

use sealane_net::{Family, Route};
use sealane_netlink::Netlink;
use sealane_ruleset::{Loaded, Table, machine_confinement, machine_egress};

use super::{TopologyError, forwarding};
use crate::layout::Layout;
use crate::plan::{ClusterName, Plan};

/// Lets pods out, or, without the internet, makes sure that they are not let out. Returns the
/// families in which pods are let out and this machine knows no way.
pub async fn ensure(
    layout: &Layout,
    plan: &Plan,
    machine: &Netlink,
) -> Result<Vec<Family>, TopologyError> {
    let mut lost = Vec::new();
    if plan.internet {
        let routes = machine.routes().await?;
        lost.extend(plan.node_cidr.families());
        lost.retain(|family| !has_way_out(*family, &routes));
        let mut forwarded: Vec<Family> = plan.node_cidr.families().collect();
        forwarded.retain(|family| *family == Family::V4 || !lost.contains(family));
        forwarding::hold(layout, &forwarded)?;
    } else {
        forwarding::release(layout)?;
    }
    machine
        .sync_tables(&plan.name.machine_table(), &tables(plan))
        .await?;
    Ok(lost)
}

/// By a default route, or by parts of one, as VPN clients install them.
fn has_way_out(family: Family, routes: &[Route]) -> bool {
    const MOST: u8 = 3;
    routes.iter().any(|route| {
        Family::from(route.destination) == family
            && route.destination.prefix_len() <= MOST
            && !route.unreachable
    })
}

fn tables(plan: &Plan) -> Vec<Table> {
    let name = plan.name.as_str();
    if plan.internet {
        let nodes = plan.node_cidr.iter();
        return nodes.map(|nodes| machine_egress(name, nodes)).collect();
    }
    let v6 = plan.node_cidr.of(Family::V6);
    v6.map(|_| machine_confinement(name, Family::V6))
        .into_iter()
        .collect()
}

/// Takes back what [`ensure`] did.
pub async fn remove(layout: &Layout, machine: &Netlink) -> Vec<TopologyError> {
    let mut errors = Vec::new();
    for table in own_tables(&layout.name, machine).await {
        let deleted = machine.delete_table(table.family, &table.name).await;
        errors.extend(deleted.err().map(TopologyError::from));
    }
    errors.extend(forwarding::release(layout).err());
    errors
}

/// Whether a cluster of this name lets pods out, or keeps them in.
pub async fn exists(layout: &Layout, machine: &Netlink) -> bool {
    forwarding::is_held(layout) || !own_tables(&layout.name, machine).await.is_empty()
}

/// A kernel without nftables has none.
async fn own_tables(name: &ClusterName, machine: &Netlink) -> Vec<Loaded> {
    let mut tables = machine.tables().await.unwrap_or_default();
    tables.retain(|table| table.name == name.machine_table());
    tables
}
