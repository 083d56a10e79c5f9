//! From what was asked for, and what is there, to a plan.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use sealane_net::{Family, Overlap, Ranges, Use};
use sealane_objects::ImageAlias;

use super::flags::{CLUSTER, NODE, RangeFlag, SERVICE};
use super::ranges::{hosts_v4, subnets};
use super::{
    API_PORT, Asked, DEFAULT_NODE_MASK_V4, DEFAULT_NODES, NODE_MASK_V6, Observed, Plan, PlanError,
    PlanErrors, candidates, candidates::Candidates, ports,
};

/// Offset from which on the addresses of a node network of 256 or more are kept
/// free for LoadBalancer Services.
const POOL_OFFSET: u64 = 200;

/// Makes the plan of a new cluster.
///
/// # Errors
/// Every contradiction between the flags, and with this machine, at once.
pub fn resolve(asked: &Asked, observed: &Observed) -> Result<Plan, PlanErrors> {
    let mut errors = Vec::new();
    let wanted = [
        (NODE, &asked.node_cidr),
        (CLUSTER, &asked.cluster_cidr),
        (SERVICE, &asked.service_cidr),
    ];
    let mut taken = Vec::new();
    for (flag, ranges) in wanted {
        for range in ranges.iter().flat_map(Ranges::iter) {
            check_asked(flag, range, &taken, observed, &mut errors);
            taken.push(Use::of_network(flag.asked(), range));
        }
    }
    let families = families(asked);
    let services = service_families(asked, &families);
    let mut choose = |wanted, candidates: fn(Family) -> Candidates, families: &[Family]| {
        choose(
            wanted,
            candidates,
            families,
            &mut taken,
            observed,
            &mut errors,
        )
    };
    let node_cidr = choose(wanted[0], candidates::node, &families);
    let cluster_cidr = choose(wanted[1], candidates::cluster, &families);
    let service_cidr = choose(wanted[2], candidates::service, &services);
    let (Some(node_cidr), Some(cluster_cidr), Some(service_cidr)) =
        (node_cidr, cluster_cidr, service_cidr)
    else {
        return Err(PlanErrors(errors));
    };
    let plan = Plan {
        name: asked.name.clone(),
        nodes: asked.nodes.unwrap_or(DEFAULT_NODES),
        node_cidr,
        cluster_cidr,
        service_cidr,
        node_mask_v4: asked.node_mask_v4.unwrap_or(DEFAULT_NODE_MASK_V4),
        api_port: API_PORT,
        local_port: API_PORT,
        mtu: observed.uplink_mtu.unwrap_or_default(),
        internet: !asked.no_internet,
        cluster_domain: asked.cluster_domain.clone().unwrap_or_default(),
        image_aliases: asked.image_aliases.clone(),
        routing: asked.routing.unwrap_or_default(),
        attachment: asked.attachment.unwrap_or_default(),
        anti_spoofing: asked.anti_spoofing.unwrap_or_default(),
        non_masquerade_cidrs: asked.non_masquerade_cidrs.clone().unwrap_or_default(),
        proxy_mode: asked.proxy_mode.unwrap_or_default(),
        node_cpu: asked.node_cpu.clone(),
        node_memory: asked.node_memory.clone(),
        patience: asked.patience(),
    };
    finish(plan, observed, errors)
}

/// Brings the plan of a stopped cluster up to date with this machine: ports and
/// MTU may have changed, the ranges must still be free.
///
/// # Errors
/// Every range that is in use by now.
pub fn recheck(plan: &Plan, observed: &Observed) -> Result<Plan, PlanErrors> {
    let mut errors = Vec::new();
    let ranges = [
        (NODE, &plan.node_cidr),
        (CLUSTER, &plan.cluster_cidr),
        (SERVICE, &plan.service_cidr),
    ];
    for (flag, ranges) in ranges {
        for first in Use::of_ranges(flag.purpose, ranges) {
            if let Some(second) = overlapping(&first, &observed.uses) {
                errors.push(PlanError::KeptInUse(Overlap { first, second }));
            }
        }
    }
    let mtu = observed.uplink_mtu.unwrap_or(plan.mtu);
    finish(
        Plan {
            mtu,
            ..plan.clone()
        },
        observed,
        errors,
    )
}

fn check_asked(
    range_flag: RangeFlag,
    range: IpNet,
    taken: &[Use],
    observed: &Observed,
    errors: &mut Vec<PlanError>,
) {
    let flag = range_flag.flag;
    let first = Use::of_network(range_flag.asked(), range);
    if let Some(second) = overlapping(&first, taken) {
        let (first, second) = (second, first.clone());
        errors.push(PlanError::Overlap(Overlap { first, second }));
    }
    if !is_unicast(range) {
        errors.push(PlanError::NotUnicast { flag, range });
    } else if let Some(second) = overlapping(&first, &observed.uses) {
        errors.push(PlanError::InUse {
            overlap: Overlap { first, second },
            flag,
        });
    }
}

/// The families of pods and nodes: as asked for, else those of the ranges that
/// were asked for, else IPv4.
fn families(asked: &Asked) -> Vec<Family> {
    let of = |ranges: &Ranges| ranges.iter().map(Family::from).collect();
    match (asked.ip_family, &asked.cluster_cidr, &asked.node_cidr) {
        (Some(family), ..) => family.families().to_vec(),
        (None, Some(ranges), _) | (None, None, Some(ranges)) => of(ranges),
        (None, None, None) => vec![Family::V4],
    }
}

/// The families of Services: those of nodes, or, where ranges were asked for, as many of them as these have.
fn service_families(asked: &Asked, families: &[Family]) -> Vec<Family> {
    let Some(ranges) = &asked.service_cidr else {
        return families.to_vec();
    };
    let has = |family: &&Family| ranges.of(**family).is_some();
    let own: Vec<Family> = families.iter().filter(has).copied().collect();
    if own.is_empty() {
        families.to_vec()
    } else {
        own
    }
}

/// The ranges that were asked for, which must be of all `families`, else the first free fall-back of each.
fn choose(
    (flag, asked): (RangeFlag, &Option<Ranges>),
    candidates: fn(Family) -> Candidates,
    families: &[Family],
    taken: &mut Vec<Use>,
    observed: &Observed,
    errors: &mut Vec<PlanError>,
) -> Option<Ranges> {
    if let Some(ranges) = asked {
        let has: Vec<Family> = ranges.iter().map(Family::from).collect();
        let missing = families.iter().find(|family| !has.contains(family));
        let extra = has.iter().find(|family| !families.contains(family));
        if let Some(family) = missing.or(extra) {
            errors.push(PlanError::Families {
                flag: flag.flag,
                ranges: ranges.to_string(),
                family: *family,
                missing: missing.is_some(),
            });
        }
        return Some(ranges.clone());
    }
    let mut ranges = Vec::new();
    for family in families {
        let free = candidates(*family)
            .map(|range| Use::of_network(flag.purpose, range))
            .find(|candidate| {
                overlapping(candidate, &observed.uses).is_none()
                    && overlapping(candidate, taken).is_none()
            });
        let Some(free) = free else {
            errors.push(PlanError::NoFreeRange {
                purpose: flag.purpose,
                flag: flag.flag,
            });
            return None;
        };
        ranges.push(free.range);
        taken.push(free);
    }
    Ranges::new(ranges).ok()
}

fn overlapping(range: &Use, uses: &[Use]) -> Option<Use> {
    uses.iter().find(|used| used.overlaps(range)).cloned()
}

fn finish(
    mut plan: Plan,
    observed: &Observed,
    mut errors: Vec<PlanError>,
) -> Result<Plan, PlanErrors> {
    check_sizes(&plan, &mut errors);
    check_aliases(&plan.image_aliases, &mut errors);
    set_ports(&mut plan, observed, &mut errors);
    if errors.is_empty() {
        Ok(plan)
    } else {
        Err(PlanErrors(errors))
    }
}

/// The first match counts, so a rule after one that takes all its images is a mistake.
fn check_aliases(aliases: &[ImageAlias], errors: &mut Vec<PlanError>) {
    for (index, late) in aliases.iter().enumerate() {
        if let Some(first) = aliases[..index].iter().find(|first| first.covers(late)) {
            errors.push(PlanError::AliasTooLate {
                late: late.clone(),
                first: first.clone(),
            });
        }
    }
}

fn check_sizes(plan: &Plan, errors: &mut Vec<PlanError>) {
    let Plan {
        nodes,
        node_mask_v4: mask,
        ..
    } = *plan;
    if nodes == 0 {
        errors.push(PlanError::NoNodes);
    }
    if !(8..=29).contains(&mask) {
        errors.push(PlanError::NodeMask(mask));
    }
    if let Some(range) = plan.node_cidr.of(Family::V4) {
        let hosts = hosts_v4(range.prefix_len());
        // The first address is this machine's, the pool of LoadBalancer
        // addresses begins at its offset where the network is large enough.
        let max = if hosts > POOL_OFFSET {
            POOL_OFFSET - 2
        } else {
            hosts.saturating_sub(1)
        };
        if u64::from(nodes) > max {
            errors.push(PlanError::TooManyNodes { nodes, range, max });
        }
    }
    if let Some(range) = plan.cluster_cidr.of(Family::V4) {
        let max = subnets(range.prefix_len(), mask);
        if u64::from(nodes) > max {
            errors.push(PlanError::TooFewSubnets {
                range,
                max,
                mask,
                nodes,
            });
        }
    }
    if let Some(range) = plan.cluster_cidr.of(Family::V6) {
        let max = subnets(range.prefix_len(), NODE_MASK_V6);
        if u64::from(nodes) > max {
            errors.push(PlanError::TooFewSubnets {
                range,
                max,
                mask: NODE_MASK_V6,
                nodes,
            });
        }
    }
    if let Some(range) = plan
        .node_cidr
        .of(Family::V6)
        .filter(|range| range.prefix_len() > 64)
    {
        // Hosts' addresses are half of an address, RFC 4291 §2.5.4.
        errors.push(PlanError::NodesV6(range));
    }
    if let Some(range) = plan
        .service_cidr
        .of(Family::V4)
        .filter(|range| range.prefix_len() > 28)
    {
        errors.push(PlanError::ServiceTooSmall(range));
    }
}

fn set_ports(plan: &mut Plan, observed: &Observed, errors: &mut Vec<PlanError>) {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let machine = plan.machine_addresses().first().map_or(local, IpNet::addr);
    let free = |address| ports::first_free(address, API_PORT, &observed.listeners);
    match (free(machine), free(local)) {
        (Some(api_port), Some(local_port)) => {
            plan.api_port = api_port;
            plan.local_port = local_port;
        }
        _ => errors.push(PlanError::NoFreePort { from: API_PORT }),
    }
}

/// Whether hosts may have addresses of the range: not 0/8, loopback, multicast
/// or reserved (RFC 6890).
fn is_unicast(range: IpNet) -> bool {
    match range.addr() {
        IpAddr::V4(first) => {
            range.prefix_len() >= 8 && !matches!(first.octets()[0], 0 | 127 | 224..=255)
        }
        IpAddr::V6(first) => {
            !first.is_multicast() && !first.is_loopback() && !first.is_unspecified()
        }
    }
}
