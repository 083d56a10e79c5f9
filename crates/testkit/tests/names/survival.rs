//! What happens to names when something dies, goes away or is taken away; and names of the outside world.

use std::process::Child;

use sealane_testkit::cluster::Role;
use sealane_testkit::process::Process;
use sealane_testkit::{
    Cluster, Folder, LATER, Namespace, Pod, SOON, UpOptions, binary, eventually,
};
use serde_json::json;

const NAME: &str = "kubernetes.default.svc.cluster.local";

/// One question, asked once, with time for a worker to start.
fn dig(place: &Namespace, words: &[&str]) -> Result<String, String> {
    let all = ["+short", "+tries=1", "+time=15", "@10.96.0.10"]
        .iter()
        .chain(words);
    let asked = place.run("dig", all);
    match asked.code() {
        Some(0) => Ok(asked.stdout.trim().to_owned()),
        _ => Err(asked.stdout),
    }
}

fn workers(keeper: &Process) -> Vec<Process> {
    let all = Process::all().into_iter();
    all.filter(|process| process.parent() == Some(keeper.pid))
        .collect()
}

#[test]
fn names_survive_what_happens_to_their_server_its_rules_and_the_api() {
    let cluster = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    let node = cluster.node(1);
    eventually(SOON, "names are answered", || dig(&node, &[NAME]));
    let keeper = cluster.process(Role::Dns(1)).unwrap();
    let one = workers(&keeper);
    assert_eq!(one.len(), 1, "{one:?}");
    is_harmless(one[0].pid);

    one[0].kill9();
    assert_eq!(
        dig(&node, &[NAME]).unwrap(),
        "10.96.0.1",
        "it waited for the next worker"
    );

    let keeper = cluster.process(Role::Dns(1)).unwrap();
    let before = eventually(SOON, "there is a worker", || {
        workers(&keeper).pop().ok_or("none")
    });
    cluster.kill9(Role::Dns(1));
    assert_eq!(dig(&node, &[NAME]).unwrap(), "10.96.0.1");
    eventually(
        LATER,
        "the new keeper has a worker of its own, and the old one is gone",
        || {
            let own = workers(&cluster.process(Role::Dns(1))?);
            let gone = Process::look(before.pid).is_none();
            (own.len() == 1 && gone)
                .then_some(())
                .ok_or(format!("{own:?}, {before:?} is gone: {gone}"))
        },
    );

    is_replaced(&cluster, &node);
    for damage in [
        "nft delete table ip sealane-dns",
        "ip address delete 10.96.0.10/32 dev lo",
        "nft flush chain ip sealane-dns output",
    ] {
        let mut words = damage.split(' ');
        node.run(words.next().unwrap(), words).succeeds();
        eventually(SOON, damage, || {
            let rules = node
                .run("nft", ["list", "table", "ip", "sealane-dns"])
                .stdout;
            let address = node.run("ip", ["address", "show", "dev", "lo"]).stdout;
            let whole = rules.matches("notrack").count() == 8 && address.contains("10.96.0.10/32");
            whole.then_some(()).ok_or(format!("{rules}{address}"))
        });
    }

    let api = cluster.process(Role::ApiServer).unwrap();
    // SAFETY: sends a signal; no memory is involved.
    let signal = |number| unsafe { libc::kill(api.pid, number) };
    signal(libc::SIGSTOP);
    let answered = dig(&node, &[NAME]);
    let keeper = cluster.process(Role::Dns(1)).unwrap();
    workers(&keeper).iter().for_each(Process::kill9);
    let by_next = dig(&node, &[NAME]);
    signal(libc::SIGCONT);
    assert_eq!(answered.unwrap(), "10.96.0.1");
    assert_eq!(
        by_next.unwrap(),
        "10.96.0.1",
        "it was on disk for the next worker"
    );

    outside(&cluster, &node);
    let keeper = cluster.process(Role::Dns(1)).unwrap();
    eventually(LATER, "the keeper holds next to nothing", || {
        // What it has mapped of the program depends on how that was built.
        let bytes = keeper
            .memory()
            .map_or(u64::MAX, |memory| memory.anonymous_bytes);
        (bytes < 2 << 20)
            .then_some(())
            .ok_or(format!("{bytes} bytes"))
    });
}

/// A newer process takes over while the one that is there answers; here the supervisor's, which starts again, takes
/// over from it in turn.
fn is_replaced(cluster: &Cluster, node: &Namespace) {
    let keeper = cluster.process(Role::Dns(1)).unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", keeper.pid)).unwrap();
    let line = String::from_utf8(line).unwrap();
    let words: Vec<&str> = line.trim_end_matches('\0').split('\0').skip(1).collect();
    let program = binary::path();
    let mut newer = node.command(program.to_str().unwrap());
    let mut newer = newer.args(words).spawn().unwrap();
    let ended = eventually(LATER, "it has come and gone", || {
        assert_eq!(dig(node, &[NAME]).unwrap(), "10.96.0.1");
        newer.try_wait().unwrap().ok_or("it runs")
    });
    assert!(ended.success(), "{ended}");
    let now = cluster.process(Role::Dns(1)).unwrap();
    assert_ne!(now.pid, keeper.pid);
}

/// An ordinary user without any right, for good.
fn is_harmless(pid: i32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in [
        "Uid:\t60445\t60445\t60445\t60445",
        "Gid:\t60445\t60445\t60445\t60445",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
}

/// A server of the outside world, until it is dropped.
struct Unbound(
    Child,
    #[expect(dead_code, reason = "it goes with the server")] Folder,
);

impl Unbound {
    fn start(place: &Namespace, address: &str) -> Self {
        let folder = Folder::new();
        let file = folder.join("unbound.conf");
        let config = format!(
            "server:\n interface: {address}\n port: 5300\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
             use-syslog: no\n access-control: 0.0.0.0/0 allow\n directory: \"{}\"\n local-zone: \"example.\" static\n \
             local-data: \"outside.example. 60 IN A 192.0.2.77\"\n local-data: \"outside.example. 60 IN AAAA 2001:db8::77\"\n\
             remote-control:\n control-enable: no\n",
            folder.path().display()
        );
        std::fs::write(&file, config).unwrap();
        let child = place
            .command("/usr/sbin/unbound")
            .args(["-c", &file])
            .spawn()
            .unwrap();
        Self(child, folder)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The user's own Corefile, and an ExternalName that leads out of the cluster.
fn outside(cluster: &Cluster, node: &Namespace) {
    let address = cluster.node_ip(1).to_string();
    let _unbound = Unbound::start(node, &address);
    let corefile = format!(
        ".:53 {{\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        pods verified\n        endpoint_pod_names\n        fallthrough in-addr.arpa ip6.arpa\n    }}\n    forward . {address}:5300\n    cache 30\n}}\n"
    );
    let patch = json!({"data": {"Corefile": corefile}}).to_string();
    let line = [
        "patch",
        "configmap",
        "coredns",
        "--namespace",
        "kube-system",
        "--patch",
        &patch,
    ];
    cluster.kubectl(line).succeeds();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: far}\nspec: {type: ExternalName, externalName: outside.example}\n";
    cluster.apply(service).succeeds();
    cluster.start(&[Pod::idle("asks")]);
    for name in ["outside.example", "far", "far.default"] {
        eventually(LATER, name, || {
            let found = cluster.exec("asks", ["getent", "ahostsv4", name]);
            match found.stdout.starts_with("192.0.2.77 ") {
                true => Ok(()),
                false => Err(format!("{} {}", found.stdout, found.stderr)),
            }
        });
    }
    let found = dig(node, &["far.default.svc.cluster.local", "AAAA"]).unwrap();
    assert_eq!(found, "outside.example.\n2001:db8::77");
    called_as_pods(cluster, node);
}

/// With `pods verified` and `endpoint_pod_names`.
fn called_as_pods(cluster: &Cluster, node: &Namespace) {
    cluster
        .kubectl(["label", "pod", "asks", "app=crowd"])
        .succeeds();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: crowd}\nspec: {clusterIP: None, selector: {app: crowd}}\n";
    cluster.apply(service).succeeds();
    let address = cluster.pod_ip("asks").to_string();
    let spelled = address.replace('.', "-");
    for name in [
        format!("{spelled}.default.pod.cluster.local"),
        "asks.crowd.default.svc.cluster.local".to_owned(),
    ] {
        eventually(SOON, &name, || match dig(node, &[&name])? {
            found if found == address => Ok(()),
            found => Err(found),
        });
    }
    for name in [
        "10-244-0-250.default.pod.cluster.local".to_owned(),
        format!("{spelled}.kube-system.pod.cluster.local"),
        format!("{spelled}.crowd.default.svc.cluster.local"),
    ] {
        assert_eq!(dig(node, &[&name]).unwrap(), "", "{name}");
    }
}
