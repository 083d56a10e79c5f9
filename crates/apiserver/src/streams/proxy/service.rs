//! Which pod of a Service a request goes to: the ready ones in turn.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;

use super::{
    pod::{self, Location},
    reference::Reference,
};
use crate::{
    kinds::{ENDPOINT_SLICE, POD, SERVICE},
    server::Server,
    status::ApiError,
};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An address that is ready, with the pod that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    address: IpAddr,
    port: u16,
    /// Namespace and name.
    pod: Option<(String, String)>,
}

/// Finds a pod.
///
/// # Errors
///
/// 404 without the Service, 503 without a pod.
pub fn locate(
    server: &Server,
    namespace: &str,
    id: &str,
    asked: &Reference,
) -> Result<Location, ApiError> {
    let entry = server.store.get(&SERVICE.key(namespace, &asked.name));
    let entry = entry.ok_or_else(|| ApiError::not_found(&SERVICE, &asked.name))?;
    let service: Value =
        serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    let port = port_name(&service, asked)?;
    let mut endpoints = Vec::new();
    let listing = server
        .store
        .list(&ENDPOINT_SLICE.bucket(), Some(namespace), |_| true);
    for slice in &listing.entries {
        let slice: Value =
            serde_json::from_slice(&slice.object.unpack()).map_err(ApiError::internal)?;
        if slice["metadata"]["labels"][SERVICE_NAME] == asked.name.as_str() {
            endpoints.extend(ready(&slice, &port));
        }
    }
    let endpoint = choose(&endpoints).ok_or_else(|| {
        ApiError::unavailable(format!("no endpoints available for service {id:?}"))
    })?;
    let not_a_pod = || {
        ApiError::unavailable(format!(
            "endpoint {} of service {id:?} is no pod of this cluster: only pods are reached, \
             through their nodes",
            endpoint.address
        ))
    };
    let (namespace, name) = endpoint.pod.as_ref().ok_or_else(not_a_pod)?;
    let entry = server
        .store
        .get(&POD.key(namespace, name))
        .ok_or_else(not_a_pod)?;
    Location::new(
        &pod::read(&entry)?,
        endpoint.address,
        endpoint.port,
        asked.https,
    )
}

/// The name of the Service's port that is asked for, by number or by name.
fn port_name(service: &Value, asked: &Reference) -> Result<String, ApiError> {
    let Ok(number) = asked.port.parse::<u64>() else {
        return Ok(asked.port.clone());
    };
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let port = ports.find(|port| port["port"] == number).ok_or_else(|| {
        ApiError::unavailable(format!(
            "no service port {number} found for service {:?}",
            asked.name
        ))
    })?;
    Ok(port["name"].as_str().unwrap_or_default().to_owned())
}

/// The ready endpoints of a slice that has a port of this name.
fn ready(slice: &Value, port: &str) -> Vec<Endpoint> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let named = ports.find(|one| one["name"].as_str().unwrap_or_default() == port);
    let number = named.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
    let Some(number) = number else {
        return Vec::new();
    };
    let namespace = crate::object::namespace(slice);
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let found = ready.filter_map(|endpoint| {
        let target = &endpoint["targetRef"];
        let pod = (target["kind"] == "Pod")
            .then(|| target["name"].as_str())
            .flatten();
        let within = target["namespace"].as_str().unwrap_or(namespace);
        Some(Endpoint {
            address: endpoint["addresses"][0].as_str()?.parse().ok()?,
            port: number,
            pod: pod.map(|name| (within.to_owned(), name.to_owned())),
        })
    });
    found.collect()
}

/// One after the other, whatever the Service.
fn choose(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let turn = NEXT.fetch_add(1, Ordering::Relaxed);
    endpoints.get(turn.checked_rem(endpoints.len())?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_have_names_and_numbers() {
        let service =
            json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "dns", "port": 53}]}});
        let name = |text: &str| port_name(&service, &Reference::parse(text).unwrap());
        assert_eq!(name("s:80").unwrap(), "web");
        assert_eq!(name("s:dns").unwrap(), "dns");
        assert_eq!(name("s").unwrap(), "");
        assert_eq!(
            name("s:81").unwrap_err().message,
            "no service port 81 found for service \"s\""
        );
    }

    #[test]
    fn only_what_is_ready_is_found() {
        let slice = json!({
            "metadata": {"namespace": "n"},
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": true}},
                {"addresses": ["host.example"]},
            ],
        });
        let found = ready(&slice, "web");
        let shown: Vec<_> = found
            .iter()
            .map(|e| (e.address.to_string(), e.pod.clone()))
            .collect();
        let pod = Some(("n".to_owned(), "a".to_owned()));
        assert_eq!(shown, [("10.0.0.1".into(), pod), ("10.0.0.3".into(), None)]);
        assert_eq!(found[0].port, 8080);
        assert!(ready(&slice, "").is_empty());
        assert_eq!(choose(&[]), None);
        let (first, second) = (choose(&found).unwrap(), choose(&found).unwrap());
        assert!(found.contains(first) && found.contains(second));
    }
}
