//! Repair: each cluster address of a Service has its IPAddress, and none is there without.
//!
//! The server writes both at once, so what is found wrong was done by somebody else, or by a
//! version that made no IPAddresses. It is mended, logged and told as an Event, in the words of
//! Kubernetes' repair loop.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use futures::future::try_join_all;
use ipnet::IpNet;
use jiff::Timestamp;
use sealane_store::{Entry, Write, WriteError};
use serde_json::{Value, json};

use super::{
    family_of,
    objects::{FAMILY, MANAGED_BY, OURS, belongs_to, is_of_a_service, is_ours, removal, reserve},
    range, service_cidrs,
    spec::{all_node_ports, is_headless, texts},
};
use crate::{
    kinds::{EVENT, IP_ADDRESS, SERVICE},
    object,
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{create_object, suffix},
};

/// Compares all Services with all IPAddresses, and their node ports with each other; the store's
/// revision from which on changes are to be watched.
///
/// # Errors
///
/// What the store says.
pub async fn repair(server: &Server) -> Result<u64, ApiError> {
    let listing = server.store.list(&SERVICE.bucket(), None, |_| true);
    let ranges = service_cidrs::ranges(&server.store);
    let mut ports = HashMap::new();
    for entry in &listing.entries {
        if let Some(service) = read(entry) {
            judge_ports(server, &service, &mut ports).await;
        }
    }
    let services = listing.entries.iter().filter_map(|entry| read(entry));
    try_join_all(services.map(|service| repair_service(server, service, &ranges))).await?;
    let addresses = server
        .store
        .list(&IP_ADDRESS.bucket(), None, |_| true)
        .entries;
    try_join_all(addresses.iter().map(|entry| repair_address(server, entry))).await?;
    Ok(listing.revision)
}

/// Gives a Service the IPAddresses that it lacks.
pub async fn repair_service(
    server: &Server,
    service: Value,
    ranges: &[IpNet],
) -> Result<(), ApiError> {
    if is_headless(&service["spec"]) {
        return Ok(());
    }
    for text in texts(&service["spec"]["clusterIPs"]) {
        let Ok(address) = text.parse::<IpAddr>() else {
            let why = format!("Cluster IP {text} is not a valid IP; please recreate Service");
            warn(server, &service, "ClusterIPNotValid", &why).await;
            continue;
        };
        let family = family_of(&text);
        if !ranges
            .iter()
            .any(|range| range::offset(range, address).is_some())
        {
            let why = format!(
                "Cluster IP [{family}]: {text} is not within any configured Service CIDR; please \
                 recreate service"
            );
            warn(server, &service, "ClusterIPOutOfRange", &why).await;
            continue;
        }
        let key = IP_ADDRESS.key("", &address.to_string());
        match server.store.get(&key) {
            None => {
                let why = format!("Cluster IP [{family}]: {text} is not allocated; repairing");
                warn(server, &service, "ClusterIPNotAllocated", &why).await;
                write(server, reserve(&service, &[address]).collect()).await?;
            }
            Some(entry) => repair_reference(server, &service, address, &entry).await?,
        }
    }
    Ok(())
}

/// An IPAddress that is there must be this Service's.
async fn repair_reference(
    server: &Server,
    service: &Value,
    address: IpAddr,
    entry: &Arc<Entry>,
) -> Result<(), ApiError> {
    let Some(found) = read(entry) else {
        return Ok(());
    };
    let (text, labels) = (address.to_string(), &found["metadata"]["labels"]);
    let family = family_of(&text);
    let ours = belongs_to(&found, service);
    if ours && labels[MANAGED_BY] == OURS && labels[FAMILY] == family {
        return Ok(());
    }
    let (namespace, name) = (object::namespace(service), object::name(service));
    if !ours && is_of_a_service(&found) && has_address(&parent(server, &found), &text) {
        let why = format!(
            "Cluster IP [{family}]:{text} was assigned to multiple services; please recreate \
             service"
        );
        warn(server, service, "ClusterIPAlreadyAllocated", &why).await;
        return Ok(());
    }
    if !ours {
        let why = format!(
            "the ClusterIP [{family}]: {text} for Service {namespace}/{name} has a wrong \
             reference; repairing"
        );
        warn(server, service, "ClusterIPNotAllocated", &why).await;
    }
    write(server, vec![removal(entry, &found)]).await?;
    write(server, reserve(service, &[address]).collect()).await
}

/// Removes an IPAddress of ours that no Service has.
pub async fn repair_address(server: &Server, entry: &Arc<Entry>) -> Result<(), ApiError> {
    if !is_ours(entry) {
        return Ok(());
    }
    let Some(found) = read(entry) else {
        return Ok(());
    };
    let (text, reference) = (object::name(&found), &found["spec"]["parentRef"]);
    let of = format!(
        "{}/{}",
        reference["namespace"].as_str().unwrap_or(""),
        reference["name"].as_str().unwrap_or("")
    );
    let (reason, why) = if !is_of_a_service(&found) {
        let why = format!(
            "IPAddress {text} appears to have been modified, not referencing a Service \
             {reference}: cleaning up"
        );
        ("IPAddressNotAllocated", why)
    } else {
        match parent(server, &found) {
            None => {
                let why = format!(
                    "IPAddress: {text} for Service {of} appears to have leaked: cleaning up"
                );
                ("IPAddressNotAllocated", why)
            }
            service if has_address(&service, text) => return Ok(()),
            Some(_) => {
                let why = format!(
                    "IPAddress: {text} for Service {of} has a wrong reference; cleaning up"
                );
                ("IPAddressWrongReference", why)
            }
        }
    };
    warn(server, &found, reason, &why).await;
    write(server, vec![removal(entry, &found)]).await
}

/// The Service that an IPAddress names.
pub fn parent(server: &Server, address: &Value) -> Option<Value> {
    let parent = &address["spec"]["parentRef"];
    let (namespace, name) = (parent["namespace"].as_str()?, parent["name"].as_str()?);
    let entry = server.store.get(&SERVICE.key(namespace, name))?;
    read(&entry)
}

fn has_address(service: &Option<Value>, address: &str) -> bool {
    let has = |service: &Value| {
        texts(&service["spec"]["clusterIPs"])
            .iter()
            .any(|one| one == address)
    };
    service.as_ref().is_some_and(has)
}

pub fn read(entry: &Entry) -> Option<Value> {
    serde_json::from_slice(&entry.object.unpack()).ok()
}

/// Node ports that two Services have, or that are none of this cluster's.
async fn judge_ports(server: &Server, service: &Value, seen: &mut HashMap<u16, String>) {
    let range = server.addresses.ports();
    let uid = object::meta(service, "uid");
    let mut told = HashSet::new();
    for port in all_node_ports(&service["spec"]) {
        let owner = seen.entry(port).or_insert_with(|| uid.to_owned());
        if owner.as_str() != uid && told.insert(port) {
            let why =
                format!("Port {port} was assigned to multiple services; please recreate service");
            warn(server, service, "PortAlreadyAllocated", &why).await;
        }
        if !range.contains(&port) {
            let (first, last) = (range.start(), range.end());
            let why = format!(
                "Port {port} is not within the port range {first}-{last}; please recreate service"
            );
            warn(server, service, "PortOutOfRange", &why).await;
        }
    }
}

/// Writes that others may have made unnecessary.
async fn write(server: &Server, writes: Vec<Write>) -> Result<(), ApiError> {
    match server.store.write(writes).await {
        Ok(_)
        | Err(
            WriteError::Exists { .. } | WriteError::Absent { .. } | WriteError::Conflict { .. },
        ) => Ok(()),
        Err(cause) => Err(ApiError::internal(cause)),
    }
}

/// Logs, and tells whoever looks at the object. An Event that cannot be written is no reason not
/// to repair.
async fn warn(server: &Server, about: &Value, reason: &str, message: &str) {
    let (namespace, name) = (object::namespace(about), object::name(about));
    tracing::warn!(namespace, name, reason, message, "repair of addresses");
    let within = if namespace.is_empty() {
        "default"
    } else {
        namespace
    };
    let now = object::time(Timestamp::now());
    let event = json!({
        "apiVersion": EVENT.api_version(),
        "kind": EVENT.kind,
        "metadata": { "name": format!("{}.{}", name.replace(':', "-"), suffix()) },
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"],
            "namespace": namespace, "name": name, "uid": object::meta(about, "uid"),
        },
        "type": "Warning", "reason": reason, "message": message,
        "source": { "component": "ipallocator-repair-controller" },
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    if let Err(error) = create_object(server, &EVENT, within, event, &Writing::ours()).await {
        tracing::debug!(message = error.message, "an event was not written");
    }
}
