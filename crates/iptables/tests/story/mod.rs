//! Services and endpoints from a file; see `golden/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sealane_iptables::{Choices, Program, compile};
use sealane_net::{Family, IpNet, Protocol};
use sealane_objects::{ObjectName, ServiceNet, SliceEndpoint, SliceNet, SlicePort};
use sealane_service::{NodeFacts, ServiceTable};
use serde::Deserialize;

/// The node that all stories are about.
const NODE: &str = "node-1";

/// Services of a cluster, and who serves them.
#[derive(Deserialize)]
pub struct Story {
    pods: Vec<IpNet>,
    services: BTreeMap<String, ServiceNet>,
    /// Service, name of the port, protocol, port, addresses; `@node-1` is this node.
    pub slices: Vec<(String, String, Protocol, u16, Vec<String>)>,
}

pub fn folder() -> PathBuf {
    // Of this crate, also for tests of others.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../iptables/golden")
}

impl Story {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub fn table(&self) -> ServiceTable {
        let mut table = ServiceTable::new(NodeFacts {
            name: NODE.into(),
            pod_cidrs: self.pods.clone(),
            node_port_addresses: vec![
                "172.29.0.2".parse().unwrap(),
                "fd00:172:29::2".parse().unwrap(),
            ],
            external_ips: true,
            ..NodeFacts::default()
        });
        for (name, service) in &self.services {
            table.set_service(&object(name), Some(service.clone()));
        }
        for (place, slice) in self.slices.iter().enumerate() {
            let name = object(&slice.0);
            let own = ObjectName::new(name.namespace.clone(), format!("{}-{place}", name.name));
            table.set_slice(&own, Some(slice_net(&name.name, slice)));
        }
        table
    }

    pub fn program(&self, family: Family) -> Program {
        let choices = Choices {
            pods: self.pods.clone(),
            node: vec!["172.29.0.2".parse().unwrap()],
            ..Choices::new(family)
        };
        compile(self.table().iter(), &choices)
    }
}

fn object(name: &str) -> ObjectName {
    let (namespace, name) = name.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

fn slice_net(service: &str, slice: &(String, String, Protocol, u16, Vec<String>)) -> SliceNet {
    let (_, name, protocol, port, endpoints) = slice;
    let endpoint = |words: &String| {
        let (address, node) = words.split_once('@').unwrap_or((words, "node-2"));
        SliceEndpoint {
            address: address.parse().unwrap(),
            ready: true,
            serving: true,
            terminating: false,
            node: Some(node.into()),
            hints: None,
        }
    };
    let endpoints: Box<[SliceEndpoint]> = endpoints.iter().map(endpoint).collect();
    SliceNet {
        service: service.into(),
        family: endpoints
            .first()
            .map(|endpoint| Family::from(endpoint.address)),
        ports: [SlicePort {
            name: name.as_str().into(),
            protocol: *protocol,
            port: *port,
        }]
        .into(),
        endpoints,
        triggered_ms: None,
    }
}
