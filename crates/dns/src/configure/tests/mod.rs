//! Files that change, and what is in force.

mod cluster;

use std::fs;
use std::path::Path;
use std::time::Instant;

use sealane_message::Name;
use tempfile::TempDir;

use super::*;

fn surroundings() -> Surroundings {
    Surroundings {
        introspect: Introspect::new("test"),
        addresses: vec!["10.96.0.10".parse().unwrap()],
        port: 53,
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/nowhere/resolv.conf".into(),
        first_serial: 1,
        node_name: "node-1".into(),
        interval: Duration::from_millis(5),
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Waits until what is in force is as expected.
async fn until(configuration: &Configuration, expected: impl Fn(&Live) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !expected(&configuration.live().load()) {
        assert!(Instant::now() < deadline, "not in force after 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn failures(surroundings: &Surroundings) -> u64 {
    let introspect = &surroundings.introspect;
    introspect
        .counter("coredns_reload_failed_total", "", &[])
        .get()
}

async fn until_failures(surroundings: &Surroundings, number: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while failures(surroundings) < number {
        assert!(Instant::now() < deadline, "no failure after 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A new file takes the name of the old one, as editors and volumes do.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

fn corefile(folder: &TempDir) -> PathBuf {
    folder.path().join("Corefile")
}

#[tokio::test]
async fn without_a_corefile_the_usual_cluster_is_in_force() {
    let configuration = start(Source::BuiltIn, surroundings());
    configuration.read().await;
    let live = configuration.live().load_full();
    let block = live.block(&name("a.b.svc.cluster.local")).unwrap();
    let zone = block.zone.as_ref().unwrap();
    assert_eq!(zone.domain(), Some(&name("cluster.local")));
    assert_eq!(zone.ttl, 30);
    let resolver = block.resolver.as_ref().unwrap();
    let to = &resolver.settings().forwards[0].to;
    let expected = sealane_forward::To::ResolvConf("/nowhere/resolv.conf".into());
    assert_eq!(
        *to,
        [expected],
        "what the process was given stands for /etc/resolv.conf"
    );
}

#[tokio::test]
async fn a_file_is_in_force_at_once_and_its_changes_soon() {
    let folder = TempDir::new().unwrap();
    let path = corefile(&folder);
    write(&path, ". {\n  forward . 192.0.2.1\n}\n");
    let surroundings = surroundings();
    let configuration = start(Source::File(path.clone()), surroundings.clone());
    let has = |live: &Live, of: &str| live.block(&name(of)).is_some();
    assert!(
        configuration.live().load().blocks[0].zone.is_none(),
        "it is no longer the built-in one"
    );
    write(&path, "a.org {\n  whoami\n}\nb.org:5353 {\n  whoami\n}\n");
    until(&configuration, |live| {
        has(live, "x.a.org") && !has(live, "c.org")
    })
    .await;
    let live = configuration.live().load_full();
    assert!(!has(&live, "b.org"), "another port is not served");
    assert_eq!(failures(&surroundings), 0);
}

#[tokio::test]
async fn a_file_that_is_not_sound_or_gone_leaves_the_former_one_in_force() {
    let folder = TempDir::new().unwrap();
    let path = corefile(&folder);
    let sound = "a.org {\n  forward . 192.0.2.1\n}\n";
    write(&path, sound);
    let surroundings = surroundings();
    let configuration = start(Source::File(path.clone()), surroundings.clone());
    let in_force = |live: &Live| live.block(&name("a.org")).is_some();
    write(&path, "b.org {\n  forwrad . 192.0.2.1\n}\n");
    until_failures(&surroundings, 1).await;
    assert!(in_force(&configuration.live().load()));
    fs::remove_file(&path).unwrap();
    until_failures(&surroundings, 2).await;
    assert!(in_force(&configuration.live().load()));
    write(&path, "b.org {\n  whoami\n}\n");
    until(&configuration, |live| live.block(&name("b.org")).is_some()).await;
    assert!(!in_force(&configuration.live().load()));
}

#[tokio::test]
async fn files_that_are_named_are_followed_too() {
    let folder = TempDir::new().unwrap();
    let path = corefile(&folder);
    let hosts = folder.path().join("hosts");
    fs::create_dir(folder.path().join("custom")).unwrap();
    write(&hosts, "192.0.2.1 a\n");
    write(&path, ". {\n  hosts hosts\n}\nimport custom/*.server\n");
    let configuration = start(Source::File(path), surroundings());
    let entries = |live: &Live| live.blocks[0].server.hosts.as_ref().unwrap().len();
    assert_eq!(entries(&configuration.live().load()), 1);
    write(&hosts, "192.0.2.1 a\n192.0.2.2 b\n");
    until(&configuration, |live| entries(live) == 2).await;
    write(
        &folder.path().join("custom/a.server"),
        "a.org {\n  whoami\n}\n",
    );
    until(&configuration, |live| live.blocks.len() == 2).await;
}

#[tokio::test]
async fn upstreams_that_are_set_up_as_before_go_on() {
    let folder = TempDir::new().unwrap();
    let path = corefile(&folder);
    write(&path, ". {\n  forward . 192.0.2.1\n  cache\n}\n");
    let configuration = start(Source::File(path.clone()), surroundings());
    let before = configuration.live().load().blocks[0]
        .resolver
        .clone()
        .unwrap();
    write(
        &path,
        ". {\n  forward . 192.0.2.1\n  cache\n  hosts {\n    192.0.2.1 a\n  }\n}\n",
    );
    until(&configuration, |live| live.blocks[0].server.hosts.is_some()).await;
    let after = configuration.live().load().blocks[0]
        .resolver
        .clone()
        .unwrap();
    assert_eq!(before.settings(), after.settings());
}

#[test]
fn config_maps_are_read_where_they_would_be_mounted() {
    use sealane_corefile::Source as _;

    let keys = |pairs: &[(&str, &str)]| -> files::Keys {
        let owned = pairs
            .iter()
            .map(|(key, text)| ((*key).into(), (*text).into()));
        owned.collect()
    };
    let coredns = keys(&[("Corefile", "c"), ("NodeHosts", "n")]);
    let custom = keys(&[("a.server", "s"), ("b.override", "o")]);
    let files = files::Files::of_config_maps(&coredns, &custom);
    let file = |path| files.file(path);
    assert_eq!(file("/etc/coredns/NodeHosts").as_deref(), Some("n"));
    assert_eq!(file("NodeHosts").as_deref(), Some("n"));
    assert_eq!(file("custom/a.server").as_deref(), Some("s"));
    assert_eq!(file("/etc/coredns/none"), None);
    assert_eq!(file("/nowhere/NodeHosts"), None);
    let matching = |pattern| files.matching(pattern);
    let server = vec![("a.server".to_owned(), "s".to_owned())];
    assert_eq!(matching("/etc/coredns/custom/*.server"), server);
    assert_eq!(matching("custom/*.none"), []);
}
