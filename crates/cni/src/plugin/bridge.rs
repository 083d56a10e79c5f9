//! Mode `bridge`: containers on a bridge of this host, without agent or cluster.
//!
//! ```text
//! {"type": "sealane", "mode": "bridge", "cniVersion": "1.0.0", "name": "docker"}
//!
//! container                         host
//! eth0 172.17.0.2/16 ════ sl…  ──► docker0 172.17.0.1/16 ── routing ── postrouting ──► outside
//! default via 172.17.0.1                                              masquerade
//! ```
//!
//! What Docker's bridge gives: containers of one host reach each other and the
//! host by their addresses, and the outside behind the host's. Each host has
//! the same subnet for itself, so containers of another host are not reached.
//!
//! Nothing runs between calls. A lock makes them one after the other; leases
//! are in a file ([`leases`]), and a lease whose link is gone is a leak that
//! the next call repairs. Bridge, forwarding and table are made by the first
//! ADD and kept, as Docker keeps `docker0`.

mod conf;
mod host;
mod leases;
mod link;

use std::{fs::File, os::fd::AsFd};

use sealane_net::{IpNet, names};
use sealane_netlink::{Batch, Direct, Error as KernelError};
use serde_json::Value;

use crate::{
    asked::Asked,
    protocol::Request,
    types::{AddResult, CniError, Command, Interface, IpConfig, Route, code},
};
pub(crate) use conf::BridgeConf;
use host::Host;
use leases::{Lease, Leases, Locked};

/// Serves one call; a result for ADD alone.
pub fn call(
    request: &Request,
    conf: &Value,
    netns: Option<File>,
) -> Result<Option<AddResult>, CniError> {
    let conf = BridgeConf::parse(conf)?;
    let mut leases = Leases::open(&conf, &request.network)?;
    match (request.command, netns) {
        (Command::Add, Some(netns)) => add(&conf, &mut leases, request, &netns).map(Some),
        (Command::Check, Some(netns)) => check(&conf, &leases, request, &netns).map(|()| None),
        (Command::Del, _) => {
            del(&mut leases, &request.container_id, &request.ifname).map(|()| None)
        }
        (Command::Gc, _) => collect(&mut leases, request).map(|()| None),
        (Command::Status, _) => status(&conf, &leases).map(|()| None),
        _ => Ok(None),
    }
}

/// What the kernel refused, with the code that the agent gives too.
fn kernel(error: KernelError) -> CniError {
    CniError::new(code::WIRING_FAILED, error.to_string())
}

fn near_end(container_id: &str, ifname: &str) -> String {
    names::pod_link(container_id, ifname)
}

fn add(
    conf: &BridgeConf,
    leases: &mut Locked,
    request: &Request,
    netns: &File,
) -> Result<AddResult, CniError> {
    let asked = Asked::of(request, None)?;
    let mut node = Direct::open().map_err(kernel)?;
    leases.drop_leaked(&mut node)?;
    let (id, ifname) = (&request.container_id, &request.ifname);
    if leases.get(id, ifname).is_some() {
        return Err(CniError::new(
            code::ALREADY_ATTACHED,
            format!("add {ifname} of container {id}: it has a network already"),
        )
        .with_details("call DEL before another ADD (CNI spec 1.1.0 §2)"));
    }
    // First, so that a refusal has made no bridge; a lease without a link is a leak that repairs itself.
    let lease = leases.lease(id, ifname, &asked.ips)?;
    let made = Host::ensure(conf, &mut node).and_then(|host| {
        let made = link::make(&mut node, &host, &lease, asked.mac, netns.as_fd())?;
        Ok(result(&host, &lease, &made, request))
    });
    match made {
        Ok(result) => Ok(result),
        Err(error) => {
            // What it reports would only hide the cause.
            let _ = leases.release(id, ifname);
            Err(error)
        }
    }
}

fn result(host: &Host, lease: &Lease, made: &link::Made, request: &Request) -> AddResult {
    const POD_INTERFACE: usize = 2;
    let mtu = Some(host.mtu.bytes());
    let interface = |name: &str, mac: String, sandbox: &str| Interface {
        name: name.to_owned(),
        mac,
        mtu,
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    let gateway = |address: &IpNet| host.gateway_of(*address).map(|gateway| gateway.addr());
    AddResult {
        interfaces: vec![
            interface(&host.bridge, host.mac.to_string(), ""),
            interface(&made.near, made.near_mac.to_string(), ""),
            interface(&lease.ifname, made.far_mac.to_string(), &request.netns),
        ],
        ips: (lease.addresses.iter())
            .map(|address| IpConfig {
                address: *address,
                gateway: gateway(address),
                interface: Some(POD_INTERFACE),
            })
            .collect(),
        routes: (lease.addresses.iter())
            .filter_map(|address| {
                let everything = sealane_net::Family::from(*address).everything();
                gateway(address).map(|gateway| Route::via(everything, gateway))
            })
            .collect(),
        ..AddResult::default()
    }
}

fn del(leases: &mut Locked, container_id: &str, ifname: &str) -> Result<(), CniError> {
    let mut node = Direct::open().map_err(kernel)?;
    let mut batch = Batch::new();
    batch.delete_link(&near_end(container_id, ifname));
    match node.run_all(batch) {
        Err(error) if !error.is_absent() => return Err(kernel(error)),
        _ => {}
    }
    leases.release(container_id, ifname)
}

fn collect(leases: &mut Locked, request: &Request) -> Result<(), CniError> {
    let Some(valid) = &request.valid_attachments else {
        // Without the list everything would be garbage.
        return Err(
            CniError::new(code::INVALID_CONFIG, "GC without cni.dev/valid-attachments")
                .with_details(
                    "the runtime must say which attachments are to stay (CNI spec 1.1.0 §2 GC)",
                ),
        );
    };
    let mut result = Ok(());
    for lease in leases.all().to_vec() {
        let stays = valid
            .iter()
            .any(|v| v.container_id == lease.container_id && v.ifname == lease.ifname);
        if !stays {
            result = result.and(del(leases, &lease.container_id, &lease.ifname));
        }
    }
    result
}

fn status(conf: &BridgeConf, leases: &Locked) -> Result<(), CniError> {
    let mut node = Direct::open().map_err(kernel)?;
    host::find(conf, &mut node).map_err(|error| CniError {
        code: code::NOT_AVAILABLE,
        ..error
    })?;
    leases.room().map_err(|error| CniError {
        code: code::NOT_AVAILABLE,
        ..error
    })
}

fn check(
    conf: &BridgeConf,
    leases: &Locked,
    request: &Request,
    netns: &File,
) -> Result<(), CniError> {
    let (id, ifname) = (&request.container_id, &request.ifname);
    let faults = match leases.get(id, ifname) {
        None => vec!["it has no lease".to_owned()],
        Some(lease) => {
            let mut node = Direct::open().map_err(kernel)?;
            let mut faults = unlike(lease, request);
            match host::find(conf, &mut node)? {
                None => faults.push(format!("bridge {} is missing on the host", conf.bridge)),
                Some(bridge) => {
                    faults.extend(link::faults(&mut node, bridge.index, lease, netns.as_fd())?);
                }
            }
            faults
        }
    };
    if faults.is_empty() {
        return Ok(());
    }
    Err(CniError::new(
        code::CHECK_FAILED,
        format!("check {ifname} of container {id}: {}", faults.join("; ")),
    )
    .with_details("DEL and ADD make it anew"))
}

/// What the runtime remembers of ADD, against the lease.
fn unlike(lease: &Lease, request: &Request) -> Vec<String> {
    let Some(result) = &request.prev_result else {
        return Vec::new();
    };
    let known = |address: &&IpNet| {
        !result
            .ips
            .iter()
            .any(|ip| ip.address.addr() == address.addr())
    };
    (lease.addresses.iter().filter(known))
        .map(|address| format!("prevResult does not have the leased address {address}"))
        .collect()
}
