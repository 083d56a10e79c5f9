//! IPAddresses: the object that says whose an address is.

use std::net::IpAddr;

use jiff::Timestamp;
use sealane_store::{Entry, Expect, Store, Write};
use serde_json::{Value, json};
use uuid::Uuid;

use super::family_of;
use crate::{
    kinds::{IP_ADDRESS, SERVICE},
    object,
};

/// Who makes the IPAddresses of Services; others are left to whoever made them.
pub const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
pub const OURS: &str = "ipallocator.k8s.io";
pub const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";

/// The writes that make these addresses a Service's.
pub fn reserve<'a>(
    service: &'a Value,
    addresses: &'a [IpAddr],
) -> impl Iterator<Item = Write> + use<'a> {
    addresses.iter().map(move |address| {
        let made = object_of(*address, object::namespace(service), object::name(service));
        let key = IP_ADDRESS.key("", &address.to_string());
        let attributes = object::describe(IP_ADDRESS.fields, &made);
        Write::put(key, Expect::Absent, object::template(&made), attributes)
    })
}

/// The writes that take these addresses from a Service: of the objects that are its.
pub fn release(store: &Store, service: &Value, addresses: &[IpAddr]) -> Vec<Write> {
    let theirs = addresses.iter().filter_map(|address| {
        let entry = store.get(&IP_ADDRESS.key("", &address.to_string()))?;
        let found: Value = serde_json::from_slice(&entry.object.unpack()).ok()?;
        belongs_to(&found, service).then(|| removal(&entry, &found))
    });
    theirs.collect()
}

/// The write that removes an IPAddress.
pub fn removal(entry: &Entry, last: &Value) -> Write {
    let attributes = object::describe(IP_ADDRESS.fields, last);
    Write::delete(
        entry.key.clone(),
        entry.revision,
        object::template(last),
        attributes,
    )
}

/// Whether an IPAddress was made here.
pub fn is_ours(entry: &Entry) -> bool {
    entry.attributes.label(MANAGED_BY) == Some(OURS)
}

/// Whether an IPAddress says that it is of this Service.
pub fn belongs_to(address: &Value, service: &Value) -> bool {
    let parent = &address["spec"]["parentRef"];
    is_of_a_service(address)
        && parent["namespace"] == object::namespace(service)
        && parent["name"] == object::name(service)
}

/// Whether an IPAddress says that it is of a Service.
pub fn is_of_a_service(address: &Value) -> bool {
    let parent = &address["spec"]["parentRef"];
    parent["group"].as_str().unwrap_or("").is_empty() && parent["resource"] == SERVICE.plural
}

fn object_of(address: IpAddr, namespace: &str, service: &str) -> Value {
    let name = address.to_string();
    json!({
        "apiVersion": IP_ADDRESS.api_version(),
        "kind": IP_ADDRESS.kind,
        "metadata": {
            "name": name,
            "uid": Uuid::new_v4().to_string(),
            "creationTimestamp": object::time(Timestamp::now()),
            "labels": { FAMILY: family_of(&name), MANAGED_BY: OURS },
        },
        "spec": { "parentRef": {
            "resource": SERVICE.plural, "namespace": namespace, "name": service,
        }},
    })
}
