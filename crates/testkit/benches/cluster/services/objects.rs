//! Services without a selector, and slices for them.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use sealane_testkit::api::Api;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const ENDPOINTS: usize = 10;
/// How many requests are under way at once.
const AT_ONCE: usize = 32;

/// Makes them by the API.
pub struct Objects<'a>(pub &'a Api);

impl Objects<'_> {
    /// A Service; its cluster IP.
    pub fn service(&self, name: &str) -> IpAddr {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
        });
        let made = self.create(SERVICES, &service);
        let ip = made["spec"]["clusterIP"].as_str();
        ip.and_then(|ip| ip.parse().ok())
            .unwrap_or_else(|| panic!("{name} has no cluster IP: {made}"))
    }

    /// Endpoints for a Service, in a slice of its name.
    pub fn slice(&self, service: &str, addresses: &[IpAddr], port: u16) {
        let endpoint = |address: &IpAddr| {
            json!({"addresses": [address], "nodeName": "node-1",
                   "conditions": {"ready": true, "serving": true, "terminating": false}})
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"port": port, "protocol": "TCP", "name": ""}],
            "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        });
        self.create(SLICES, &slice);
    }

    /// Takes that slice away, if it is there.
    pub fn no_slice(&self, service: &str) {
        let _ = self.0.delete(&format!("{SLICES}/{service}"));
    }

    /// Makes so many others, as far as they are not there, beside `own` ones and `kubernetes`.
    pub fn fill(&self, services: usize, own: usize) {
        let made = self.0.get(&format!("{SERVICES}?limit=1"));
        let made = made.unwrap_or_else(|error| panic!("{error}"));
        let rest = made["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) as usize;
        let known = rest.saturating_sub(own);
        thread::scope(|scope| {
            for first in 0..AT_ONCE {
                scope.spawn(move || {
                    let own = (known + first..services).step_by(AT_ONCE);
                    own.for_each(|n| self.other(n));
                });
            }
        });
    }

    /// Half of them stand before the ones that are measured, half behind.
    fn other(&self, n: usize) {
        let name = format!("{}-{n}", if n.is_multiple_of(2) { "a" } else { "z" });
        self.service(&name);
        let first = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + (n * ENDPOINTS) as u32;
        let addresses = (0..ENDPOINTS as u32).map(|e| Ipv4Addr::from(first + e).into());
        self.slice(&name, &addresses.collect::<Vec<_>>(), 8080);
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        let made = self.0.create(path, object);
        made.unwrap_or_else(|error| panic!("{error}"))
    }
}
