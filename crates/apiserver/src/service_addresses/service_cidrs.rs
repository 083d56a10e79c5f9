//! ServiceCIDRs: the ranges that addresses are handed out from, and how one goes.
//!
//! ```text
//!   made ──► finalizer, Ready ──► deleted ──► none of its addresses in use, or all of them in
//!                                 another range, too ──► finalizer gone ──► gone
//! ```
//!
//! From the moment of its deletion no address is handed out from it any more.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use sealane_store::{Entry, Store};
use serde_json::{Value, json};

use super::{objects::is_ours, range, spec::texts};
use crate::{
    kinds::{IP_ADDRESS, SERVICE_CIDR},
    object,
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, replace},
};

/// The ServiceCIDR of the server's own flags.
const DEFAULT: &str = "kubernetes";
/// Keeps a ServiceCIDR while its addresses are in use.
pub const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const IN_USE: &str = "There are still IPAddresses referencing the ServiceCIDR, please remove them \
                      or create a new ServiceCIDR";

/// The ranges that addresses are handed out from, those of the server's flags first.
pub fn ranges(store: &Store) -> Vec<IpNet> {
    let mut all = all(store);
    all.retain(ServiceCidr::is_ready);
    all.sort_by_key(|cidr| object::name(&cidr.object) != DEFAULT);
    all.iter().flat_map(ServiceCidr::ranges).collect()
}

/// Gives each ServiceCIDR its finalizer and its condition, or lets it go.
///
/// # Errors
///
/// What the store says.
pub async fn look_after(server: &Server) -> Result<(), ApiError> {
    let all = all(&server.store);
    for cidr in &all {
        let mut new = cidr.object.clone();
        if !object::is_deleting(&new) {
            set_finalizer(&mut new, true);
            set_ready(&mut new, "True", "", "Kubernetes Service CIDR is ready");
        } else if may_go(server, cidr, &all) {
            set_finalizer(&mut new, false);
        } else {
            set_ready(&mut new, "False", "Terminating", IN_USE);
        }
        write(server, cidr, new).await?;
    }
    Ok(())
}

/// Whether one that is deleted waits for its addresses.
pub fn any_is_going(store: &Store) -> bool {
    all(store)
        .iter()
        .any(|cidr| object::is_deleting(&cidr.object))
}

struct ServiceCidr {
    entry: std::sync::Arc<Entry>,
    object: Value,
}

impl ServiceCidr {
    fn ranges(&self) -> Vec<IpNet> {
        let texts = texts(&self.object["spec"]["cidrs"]);
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// One of which nothing is said is ready.
    fn is_ready(&self) -> bool {
        let conditions = self.object["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == "Ready");
        !object::is_deleting(&self.object) && ready.is_none_or(|ready| ready["status"] == "True")
    }
}

fn all(store: &Store) -> Vec<ServiceCidr> {
    let entries = store.list(&SERVICE_CIDR.bucket(), None, |_| true).entries;
    let read = |entry: std::sync::Arc<Entry>| {
        let object = serde_json::from_slice(&entry.object.unpack()).ok()?;
        Some(ServiceCidr { entry, object })
    };
    entries.into_iter().filter_map(read).collect()
}

/// Whether no Service would be left with an address that is in no range.
fn may_go(server: &Server, going: &ServiceCidr, all: &[ServiceCidr]) -> bool {
    let staying: Vec<IpNet> = all
        .iter()
        .filter(|cidr| !object::is_deleting(&cidr.object))
        .flat_map(ServiceCidr::ranges)
        .collect();
    let mut alone = going.ranges();
    alone.retain(|range| !staying.iter().any(|other| other.contains(range)));
    let is_orphaned = |address: IpAddr| {
        let within = |ranges: &[IpNet]| {
            ranges
                .iter()
                .any(|range| range::offset(range, address).is_some())
        };
        within(&alone) && !within(&staying)
    };
    let in_use = || {
        let addresses = server
            .store
            .list(&IP_ADDRESS.bucket(), None, is_ours)
            .entries;
        addresses
            .iter()
            .filter_map(|entry| entry.key.name().parse().ok())
            .any(is_orphaned)
    };
    alone.is_empty()
        || !(alone
            .iter()
            .any(|range| server.addresses.is_reserved_in(range))
            || in_use())
}

fn set_finalizer(object: &mut Value, present: bool) {
    let mut finalizers = texts(&object["metadata"]["finalizers"]);
    if finalizers.iter().any(|one| one == FINALIZER) == present {
        return;
    }
    finalizers.retain(|one| one != FINALIZER);
    finalizers.extend(present.then(|| FINALIZER.to_owned()));
    let metadata = object::metadata_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

fn set_ready(object: &mut Value, status: &str, reason: &str, message: &str) {
    let mut conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let is_so = |one: &Value| {
        one["type"] == "Ready" && one["status"] == status && one["message"] == message
    };
    if conditions.iter().any(is_so) {
        return;
    }
    conditions.retain(|one| one["type"] != "Ready");
    conditions.push(json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": object::time(Timestamp::now()),
    }));
    object["status"] = json!({ "conditions": conditions });
}

/// Writes what has changed: the one part, then the other. Whatever somebody else has changed
/// meanwhile leads to another look.
async fn write(server: &Server, cidr: &ServiceCidr, new: Value) -> Result<(), ApiError> {
    let mut current = cidr.entry.clone();
    for (part, changed) in [
        (Part::Main, new["metadata"] != cidr.object["metadata"]),
        (Part::Status, new["status"] != cidr.object["status"]),
    ] {
        if !changed {
            continue;
        }
        let mut new = new.clone();
        object::metadata_mut(&mut new).remove("resourceVersion");
        match replace(server, &SERVICE_CIDR, part, new, &current, &Writing::ours()).await {
            Ok(_) => {}
            Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => return Ok(()),
            Err(error) => return Err(error),
        }
        match server.store.get(&current.key) {
            Some(entry) => current = entry,
            None => return Ok(()),
        }
    }
    Ok(())
}
