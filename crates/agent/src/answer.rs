//! What the plugin, and through it the container runtime, is told.
//!
//! Only here do our errors become codes of the CNI specification. Each says
//! what failed and what to do or check next.

use sealane_cni::types::{AddResult, CniError, Dns, Interface, IpConfig, Route, code};
use sealane_ipam::named::SelectError;
use sealane_net::{Attachment, Family, IpNet};

use crate::{
    leases::{Key, Lease, LeaseError, file::FileError},
    node::Programmed,
    wire::{Ground, WireError, Wired},
};

/// The result of ADD: the bridge where there is one, near end and far end, as the reference plugins list them.
pub fn added(node: &Programmed, lease: &Lease, wired: &Wired, netns: &str) -> AddResult {
    let mtu = Some(wired.mtu.bytes());
    let ground = Ground::from(node);
    let bridge = match (&node.program.bridge, ground.attachment) {
        (Some(bridge), Attachment::Bridge) => Some(Interface {
            name: bridge.name.into(),
            mac: bridge.mac.to_string(),
            mtu: Some(bridge.mtu.bytes()),
            ..Interface::default()
        }),
        _ => None,
    };
    let near = Interface {
        name: wired.link.clone(),
        mac: wired.link_mac.to_string(),
        mtu,
        ..Interface::default()
    };
    let far = Interface {
        name: lease.ifname.clone(),
        mac: wired.pod_mac.to_string(),
        mtu,
        sandbox: netns.to_owned(),
        ..Interface::default()
    };
    let interfaces: Vec<Interface> = bridge.into_iter().chain([near, far]).collect();
    let in_pod = interfaces.len() - 1;
    let ip = |address: &IpNet| IpConfig {
        address: ground.in_pod(*address),
        gateway: ground.next_hop(address.addr()),
        interface: Some(in_pod),
    };
    let default_route = |address: &IpNet| {
        let everything = Family::from(*address).everything();
        let next_hop = ground.next_hop(address.addr())?;
        Some(Route::via(everything, next_hop))
    };
    AddResult {
        ips: lease.addresses.iter().map(ip).collect(),
        routes: lease.addresses.iter().filter_map(default_route).collect(),
        interfaces,
        dns: Dns::default(),
    }
}

/// The node is not ready to wire pods, and why.
pub fn not_ready(why: &str) -> CniError {
    CniError::new(
        code::TRY_AGAIN_LATER,
        format!("the network of this node is not ready: {why}; try again later"),
    )
    .with_details("the agent's /readyz says what it is waiting for")
}

/// Another call for the same interface is in flight.
pub fn busy(key: &Key) -> CniError {
    CniError::new(
        code::TRY_AGAIN_LATER,
        format!("{key} is being changed by an earlier call; try again later"),
    )
    .with_details("`sealane ipam show` and the agent's /debug/state say what is in flight")
}

/// ADD for what has been added.
pub fn already_attached(key: &Key) -> CniError {
    CniError::new(
        code::ALREADY_ATTACHED,
        format!("add {key}: it has a network already"),
    )
    .with_details("call DEL before another ADD (CNI spec 1.1.0 §2)")
}

/// No address.
pub fn no_lease(error: &LeaseError) -> CniError {
    match error {
        LeaseError::Exhausted(exhausted) => {
            CniError::new(code::ADDRESSES_USED_UP, exhausted.to_string()).with_details(
                "delete pods of this node, let it run fewer (maxPods), \
                 or give its Node larger subnets (--node-cidr-mask-size of the controllers, before the node joins)",
            )
        }
        LeaseError::Resting { .. } => CniError::new(code::ADDRESSES_USED_UP, error.to_string())
            .with_details(
                "the runtime tries again; delete pods of this node, let it run fewer (maxPods), \
                 or let the agent run with a shorter --address-reuse-delay",
            ),
        LeaseError::NoBlock { .. } => CniError::new(code::ADDRESSES_USED_UP, error.to_string()),
        LeaseError::NoSubnet => not_ready(&error.to_string()),
        LeaseError::NotOurs { .. } | LeaseError::OneTooMany { .. } => {
            CniError::new(code::INVALID_CONFIG, error.to_string()).with_details(
                "ask for one free address of each of the node's .spec.podCIDRs, or for none",
            )
        }
        LeaseError::Taken { .. } => CniError::new(
            code::TRY_AGAIN_LATER,
            format!("{error}; try again later"),
        )
        .with_details("it is free when that pod's network has been taken away; `sealane ipam show` lists all"),
    }
}

/// What decides about an address is not known yet.
pub fn waiting(why: &str) -> CniError {
    CniError::new(code::TRY_AGAIN_LATER, format!("{why}; try again later"))
        .with_details("`kubectl get ippools -o yaml` shows the pools and who has what of them")
}

/// The pool of a pod does not serve it.
pub fn no_pool(error: &SelectError) -> CniError {
    CniError::new(code::INVALID_CONFIG, error.to_string()).with_details(
        "correct annotation sealane.io/pool of the pod, or the pool's .spec; `kubectl get ippools -o yaml` shows all",
    )
}

/// A named pool has nothing left for this node.
pub fn pool_used_up(why: &str) -> CniError {
    CniError::new(code::ADDRESSES_USED_UP, why.to_owned())
        .with_details("delete pods that use the pool, or add a range to its .spec.ranges")
}

/// The lease is not on disk.
pub fn not_durable(error: &FileError) -> CniError {
    CniError::new(code::IO_FAILURE, error.to_string()).with_details(
        "is the disk full or read-only? No pod gets an address that a crash could forget",
    )
}

/// The kernel refused.
pub fn not_wired(key: &Key, error: &WireError) -> CniError {
    let code = match error {
        WireError::Kernel(_) => code::WIRING_FAILED,
        WireError::NameTaken { .. } | WireError::Attached => code::ALREADY_ATTACHED,
    };
    CniError::new(code, format!("wire {key}: {error}")).with_details(match code {
        code::ALREADY_ATTACHED => "call DEL before another ADD (CNI spec 1.1.0 §2)",
        _ => {
            "these are the kernel's words; the agent's log has the same, and nothing of it was left"
        }
    })
}

/// CHECK has found faults.
pub fn faulty(key: &Key, faults: &[String]) -> CniError {
    CniError::new(
        code::CHECK_FAILED,
        format!("check {key}: {}", faults.join("; ")),
    )
    .with_details("DEL and ADD make it anew")
}

/// STATUS: ADD would not be served.
pub fn not_available(why: &str) -> CniError {
    status(code::NOT_AVAILABLE, why)
}

/// STATUS: ADD would not be served, and pods that are here may not reach everything.
pub fn limited(why: &str) -> CniError {
    status(code::LIMITED_CONNECTIVITY, why)
}

fn status(code: u32, why: &str) -> CniError {
    CniError::new(
        code,
        format!("the network of this node is not ready: {why}"),
    )
    .with_details("the agent's /readyz and its log say more")
}

/// The request names something that a link or a file cannot be named by.
pub fn unfit(faults: &[String]) -> CniError {
    CniError::new(
        code::INVALID_ENVIRONMENT,
        format!("read request of the plugin: {}", faults.join("; ")),
    )
    .with_details("the container runtime sets these variables (CNI spec 1.1.0 §2)")
}

/// The request does not hold what its command needs.
pub fn incomplete(what: &str) -> CniError {
    CniError::new(
        code::DECODE_FAILURE,
        format!("read request of the plugin: {what} is missing"),
    )
    .with_details("plugin and agent may be of different versions")
}
