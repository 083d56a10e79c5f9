//! Our server, whole but for the keeper and the watches, in a process of its own.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, RwLock},
    time::Duration,
};

use sealane_dns::{
    configure::{self, Source, Surroundings},
    pipeline::Pipeline,
    serve::{Settings, Sockets, start as serve_sockets},
};
use sealane_introspect::Introspect;
use sealane_objects::{ObjectName, ServiceDns};
use sealane_zone::{Clients, Zone};
use serde_json::json;

use crate::{NAMESPACES, SERVICES, Server, peers};

/// Starts the process; its port is the last line of the Corefile, as a comment.
pub fn start(folder: &Path, upstream: u16) -> Server {
    let port = peers::free_port();
    let corefile = folder.join("Corefile");
    let text = format!(
        ".:53 {{\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }}\n    prometheus :9153\n    forward . 127.0.0.1:{upstream}\n    cache 3600\n    loop\n    reload\n    loadbalance\n}}\n# {port}\n"
    );
    fs::write(&corefile, text).unwrap();
    let program = std::env::current_exe().unwrap();
    let process = Command::new(program).arg("server").arg(&corefile).spawn();
    peers::wait_for(port);
    Server {
        name: "sealane",
        process: process.unwrap(),
        port,
        resolves: true,
    }
}

/// The process: serves until it is killed.
pub fn serve(corefile: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(serve_for_ever(corefile));
}

async fn serve_for_ever(corefile: &Path) {
    let text = fs::read_to_string(corefile).unwrap();
    let port: u16 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let introspect = Introspect::new("dns");
    let surroundings = Surroundings {
        introspect: introspect.clone(),
        addresses: vec!["10.96.0.10".parse().unwrap()],
        port: 53,
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/nowhere".into(),
        first_serial: 1,
        node_name: "node-1".into(),
        interval: Duration::from_secs(60),
    };
    let configuration = configure::start(Source::File(corefile.into()), surroundings);
    configuration.read().await;
    let zone = Arc::new(RwLock::new(zone()));
    let clients = Arc::new(RwLock::new(Clients::default()));
    let pipeline = Pipeline::new(configuration.live(), zone, clients, &introspect);
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let sockets = Sockets {
        udp: vec![udp],
        tcp: vec![tcp],
    };
    let _serving = serve_sockets(sockets, &Settings::default(), pipeline).unwrap();
    std::future::pending::<()>().await;
}

fn zone() -> Zone {
    let mut zone = Zone::default();
    let namespaces: Vec<String> = (0..NAMESPACES)
        .map(|number| format!("ns-{number}"))
        .collect();
    zone.replace_namespaces(namespaces.iter().map(String::as_str));
    for number in 0..SERVICES {
        let service = json!({
            "target": {"addresses": [peers::address(number)]},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        });
        let service: ServiceDns = serde_json::from_value(service).unwrap();
        let namespace = &namespaces[number % NAMESPACES];
        let name = ObjectName::new(namespace, format!("service-{number}"));
        zone.set_service(&name, Some(service));
    }
    zone
}
