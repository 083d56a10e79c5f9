//! Where probes look.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use sealane_dns::{
    configure::{self, Source, Surroundings},
    probes,
};
use sealane_introspect::Introspect;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The status of a reply, or none if nobody listens.
async fn status(port: u16, path: &str) -> Option<u16> {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(at).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

async fn until(port: u16, path: &str, expected: Option<u16>) {
    let wait = async {
        while status(port, path).await != expected {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    assert!(
        waited.is_ok(),
        "{path} at port {port} never became {expected:?}"
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn probes_are_answered_where_the_corefile_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let [health, ready, other] = [free_port(), free_port(), free_port()];
    let write = |health: u16| {
        let text = format!(".:53 {{\n health 127.0.0.1:{health}\n ready :{ready}\n whoami\n}}");
        fs::write(&path, text).unwrap();
    };
    write(health);
    let introspect = Introspect::new("dns");
    let known = introspect.readiness("cluster");
    let surroundings = Surroundings {
        introspect: introspect.clone(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        port: 53,
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/nowhere".into(),
        first_serial: 1,
        node_name: "node-1".into(),
        interval: Duration::from_millis(20),
    };
    let configuration = configure::start(Source::File(path.clone()), surroundings);
    configuration.read().await;
    let own = vec!["127.0.0.1".parse().unwrap()];
    let _probes = probes::start(configuration.live(), own, &introspect);
    until(health, "/health", Some(200)).await;
    until(ready, "/ready", Some(503)).await;
    known.ready();
    until(ready, "/ready", Some(200)).await;
    write(other);
    until(other, "/health", Some(200)).await;
    until(health, "/health", None).await;
}
