//! From questions to answers: a Corefile, a cluster, an upstream, and clients on loopback.

mod cluster;
mod outside;
mod plugins;
mod search;
mod specification;
mod upstream;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, RwLock},
    time::Duration,
};

use sealane_dns::{
    configure::{self, Configuration, Source, Surroundings},
    pipeline::Pipeline,
    serve::{Serving, Settings, Sockets, start},
};
use sealane_introspect::Introspect;
use sealane_message::{Data, Kind, Question, Rcode, Record, Records, Request};
use sealane_objects::{ObjectName, PodDns, ServiceDns, SliceDns};
use sealane_zone::{Clients, SearchSettings, Zone};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{Udp, name};
use upstream::Upstream;

/// The pod `shop/client` has this address.
const POD: &str = "127.0.0.5";
/// Nobody has this one.
const STRANGER: &str = "127.0.0.6";

/// A server with all that it needs. `UPSTREAM` in its Corefile stands for the upstream.
struct World {
    at: SocketAddr,
    upstream: Upstream,
    introspect: Introspect,
    zone: Arc<RwLock<Zone>>,
    _serving: Serving,
    _configuration: Configuration,
    _folder: TempDir,
}

/// A usual Corefile.
const COREFILE: &str = "
.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus
    forward . UPSTREAM
    cache 30
    loadbalance
}";

impl World {
    /// A server with the Services of [`zone`].
    async fn new(corefile: &str) -> Self {
        let sockets = Sockets {
            udp: vec![UdpSocket::bind("127.0.0.1:0").unwrap()],
            tcp: Vec::new(),
        };
        Self::of(corefile, zone(), sockets).await
    }

    /// A server with other Services.
    async fn of(corefile: &str, zone: Zone, sockets: Sockets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().await;
        let path = folder.path().join("Corefile");
        let text = corefile.replace("UPSTREAM", &upstream.at.to_string());
        std::fs::write(&path, text).unwrap();
        let introspect = Introspect::new("dns");
        let surroundings = Surroundings {
            introspect: introspect.clone(),
            addresses: vec!["10.96.0.10".parse().unwrap()],
            port: 53,
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/nowhere".into(),
            first_serial: 1,
            node_name: "node-1".into(),
            interval: Duration::from_secs(1),
        };
        let configuration = configure::start(Source::File(path), surroundings);
        configuration.read().await;
        let zone = Arc::new(RwLock::new(zone));
        let clients = Arc::new(RwLock::new(clients()));
        let live = configuration.live();
        let pipeline = Pipeline::new(live, Arc::clone(&zone), clients, &introspect);
        let at = sockets.udp[0].local_addr().unwrap();
        Self {
            at,
            upstream,
            introspect,
            zone,
            _serving: start(sockets, &Settings::default(), pipeline).unwrap(),
            _configuration: configuration,
            _folder: folder,
        }
    }

    /// What somebody else than a pod is told.
    async fn ask(&self, text: &str, kind: Kind) -> Told {
        self.ask_from(STRANGER, text, kind).await
    }

    async fn ask_from(&self, client: &str, text: &str, kind: Kind) -> Told {
        let client = Udp::new(&format!("{client}:0"), self.at).await;
        let mut query = Vec::new();
        Request::new(7, Question::new(name(text), kind)).write(&mut query);
        Told(client.ask(&query).await)
    }
}

/// Services of the namespace `shop`, and one of `default`.
fn zone() -> Zone {
    let mut zone = Zone::default();
    zone.replace_namespaces(["shop", "default"]);
    let mut service = |of: &str, target: Value| {
        let ports = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
        let value = json!({"target": target, "ports": ports});
        let service: ServiceDns = serde_json::from_value(value).unwrap();
        zone.set_service(&object(of), Some(service));
    };
    service("shop/web", json!({"addresses": ["10.96.1.1"]}));
    service("default/api", json!({"addresses": ["10.96.1.2"]}));
    service("shop/db", json!("endpoints"));
    service("shop/elsewhere", json!({"name": "www.outside.test"}));
    service("shop/nearby", json!({"name": "web.shop.svc.cluster.local"}));
    service("shop/gone", json!({"name": "no.outside.test"}));
    let endpoints: Vec<Value> = (1..=3).map(endpoint).collect();
    let slice = json!({"service": "db", "ports": [], "endpoints": endpoints});
    let slice: SliceDns = serde_json::from_value(slice).unwrap();
    zone.set_slice(&object("shop/db-1"), Some(slice));
    zone
}

fn endpoint(number: u8) -> Value {
    let address = IpAddr::from([10, 244, 1, number]);
    json!({"address": address, "ready": true, "hostname": null, "pod": null})
}

fn clients() -> Clients {
    let mut clients = Clients::new(SearchSettings {
        domain: "cluster.local".into(),
        ..SearchSettings::default()
    });
    let pod = PodDns {
        addresses: vec![POD.parse().unwrap()],
        ..PodDns::default()
    };
    clients.set_pod(&object("shop/client"), Some(pod));
    clients
}

fn object(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

/// A reply.
struct Told(Vec<u8>);

impl Told {
    fn rcode(&self) -> Rcode {
        Rcode(u16::from(self.0[3] & 0xF))
    }

    fn is_authoritative(&self) -> bool {
        self.0[2] & 4 != 0
    }

    /// Its records as text, without TTLs.
    fn records(&self) -> Vec<String> {
        let records = Records::of(&self.0).unwrap();
        records.map(|record| shown(&record.unwrap())).collect()
    }

    fn rcode_and_records(&self) -> (Rcode, Vec<String>) {
        (self.rcode(), self.records())
    }
}

fn shown(record: &Record<'_>) -> String {
    let owner = record.owner;
    match &record.data {
        Data::A(address) => format!("{owner} A {address}"),
        Data::Aaaa(address) => format!("{owner} AAAA {address}"),
        Data::Cname(target) => format!("{owner} CNAME {target}"),
        Data::Ptr(target) => format!("{owner} PTR {target}"),
        Data::Soa(_) => format!("{owner} SOA"),
        Data::Srv { port, target, .. } => format!("{owner} SRV {port} {target}"),
        other => format!("{owner} {other:?}"),
    }
}

/// An answer with these records.
fn records<const N: usize>(records: [&str; N]) -> (Rcode, Vec<String>) {
    (Rcode::NOERROR, records.map(String::from).into())
}
