//! Short names as document 004 has them: `other-service`, `other-service.other-namespace`.

use std::path::Path;
use std::process::Command;

use sealane_testkit::command::finish;
use sealane_testkit::{Cluster, Container, Folder, LATER, Pod, eventually};
use serde_json::json;

use super::cluster;

/// Services with all that a name can stand for, and addresses that no other Service gets.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: backend-service, namespace: default}
spec:
  clusterIP: 10.96.44.1
  ipFamilyPolicy: SingleStack
  selector: {app: none}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: shop}
spec:
  clusterIP: 10.96.44.2
  clusterIPs: [10.96.44.2, "fd00:10:96::442"]
  ipFamilyPolicy: RequireDualStack
  selector: {app: none}
  ports: [{name: http, port: 80}, {name: metrics, port: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  clusterIP: None
  ports: [{name: sql, port: 5432}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints:
- {addresses: [10.244.9.1], hostname: db-0, conditions: {ready: true}}
- {addresses: [10.244.9.2], hostname: db-1, conditions: {ready: true}}
- {addresses: [10.244.9.3], hostname: db-2, conditions: {ready: false}}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: both.shop.svc.cluster.local}
"#;

/// A name as it is typed in a pod of namespace default, its IPv4 addresses, and all of them.
const NAMES: [(&str, &str, &str); 8] = [
    ("backend-service", "10.96.44.1", "10.96.44.1"),
    ("backend-service.default", "10.96.44.1", "10.96.44.1"),
    ("both.shop", "10.96.44.2", "10.96.44.2 fd00:10:96::442"),
    (
        "both.shop.svc.cluster.local",
        "10.96.44.2",
        "10.96.44.2 fd00:10:96::442",
    ),
    ("alias", "10.96.44.2", "10.96.44.2 fd00:10:96::442"),
    ("db.shop", "10.244.9.1 10.244.9.2", "10.244.9.1 10.244.9.2"),
    ("db-1.db.shop", "10.244.9.2", "10.244.9.2"),
    ("kubernetes.default.svc", "10.96.0.1", "10.96.0.1"),
];

/// What dig is asked, at every address of the server, and what it prints.
const DIG: [(&str, &str); 10] = [
    ("dns-version.cluster.local TXT", "1.1.0"),
    ("+tcp both.shop.svc.cluster.local AAAA", "fd00:10:96::442"),
    ("@169.254.20.10 both.shop.svc.cluster.local", "10.96.44.2"),
    ("@fd94::53 both.shop.svc.cluster.local", "10.96.44.2"),
    (
        "@fd00:10:96::a +tcp both.shop.svc.cluster.local",
        "10.96.44.2",
    ),
    (
        "_http._tcp.both.shop.svc.cluster.local SRV",
        "0 100 80 both.shop.svc.cluster.local.",
    ),
    (
        "_sql._tcp.db.shop.svc.cluster.local SRV",
        "0 50 5432 db-0.db.shop.svc.cluster.local. 0 50 5432 db-1.db.shop.svc.cluster.local.",
    ),
    ("-x 10.96.44.2", "both.shop.svc.cluster.local."),
    ("-x fd00:10:96::442", "both.shop.svc.cluster.local."),
    ("-x 10.244.9.2", "db-1.db.shop.svc.cluster.local."),
];

/// musl's resolver, which asks all servers at once and both families in one go.
const MUSL: &str = r#"
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(argv[1], 0, &hints, &found);
    if (failed) { puts(gai_strerror(failed)); return 2; }
    for (; found; found = found->ai_next) {
        char text[64];
        void *at = found->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, at, text, sizeof text));
    }
    return 0;
}
"#;

/// A program that resolves one name by musl, in a folder that goes with the test.
fn musl() -> Folder {
    let folder = Folder::new();
    let source = folder.join("resolve.c");
    std::fs::write(&source, MUSL).unwrap();
    let mut compile = Command::new("musl-gcc");
    compile.args(["-static", "-o", &folder.join("resolve"), &source]);
    finish(compile).succeeds();
    folder
}

/// A pod with the programs of this machine, and the folders.
fn client(name: &str, folders: &[(&str, &Path)]) -> Pod {
    let volume = |(name, path): &(&str, &Path)| json!({"name": name, "hostPath": {"path": path}});
    let mount = |(name, _): &(&str, &Path)| json!({"name": name, "mountPath": format!("/mnt/{name}"), "readOnly": true});
    let mounts: Vec<_> = folders.iter().map(mount).collect();
    let container =
        Container::host("main", ["sleep", "infinity"]).with("volumeMounts", json!(mounts));
    let volumes: Vec<_> = folders.iter().map(volume).collect();
    Pod::of(name, [container]).with("volumes", json!(volumes))
}

/// Until the names of the newest objects are answered.
fn wait_for_names(cluster: &Cluster, pod: &str) {
    eventually(LATER, "the newest name is answered", || {
        let found = cluster.exec(pod, ["getent", "ahostsv4", "alias"]);
        match found.code() {
            Some(0) => Ok(()),
            _ => Err(found.stdout),
        }
    });
}

#[test]
fn short_names_lead_where_the_documents_say_by_each_resolver() {
    let cluster = cluster();
    cluster.apply(OBJECTS).succeeds();
    let program = musl();
    let folders = [("musl", program.path())];
    cluster.start(&[client("asks", &folders).on_node(1)]);
    wait_for_names(&cluster, "asks");
    let exec = |command: &[&str]| cluster.exec("asks", command.to_vec());

    let resolv = exec(&["cat", "/etc/resolv.conf"]).succeeds();
    assert!(
        resolv.starts_with("nameserver 10.96.0.10\nnameserver fd00:10:96::a\n"),
        "{resolv}"
    );
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    assert!(
        resolv.contains(search) && resolv.contains("options ndots:5"),
        "{resolv}"
    );

    // One call for all names: each costs a process and a connection.
    let each = |names: &[&str], command: &str| -> Vec<String> {
        let list = names.join("' '");
        let script =
            format!("for name in '{list}'; do echo \"= $({command} | sort -u | xargs)\"; done");
        let found = exec(&["sh", "-c", &script]).succeeds();
        found
            .lines()
            .map(|line| line.trim_start_matches(['=', ' ']).to_owned())
            .collect()
    };
    let glibc = "getent ahostsv4 \"$name\" | cut -d' ' -f1";
    let names: Vec<&str> = NAMES.iter().map(|(name, _, _)| *name).collect();
    let (v4, all) = (
        each(&names, glibc),
        each(&names, "/mnt/musl/resolve \"$name\""),
    );
    for (found, (name, v4_of, all_of)) in v4.iter().zip(&all).zip(NAMES) {
        assert_eq!(
            found,
            (&v4_of.to_string(), &all_of.to_string()),
            "{name}: glibc, musl"
        );
    }
    let missing = ["backend-service.shop", "nothing", "db-2.db.shop"];
    assert_eq!(each(&missing, glibc), ["", "", ""], "glibc");
    // Whole names: musl waits for five seconds when it asks for what no upstream is there for.
    let whole = [
        "backend-service.shop.svc.cluster.local.",
        "nothing.svc.cluster.local.",
    ];
    let failed = each(&whole, "/mnt/musl/resolve \"$name\" >/dev/null || echo $?");
    assert_eq!(failed, ["2", "2"], "musl");

    let asked: Vec<&str> = DIG.iter().map(|(words, _)| *words).collect();
    let found = each(&asked, "dig +short +tries=1 +time=5 $name");
    for (found, (words, expected)) in found.iter().zip(DIG) {
        assert_eq!(found, expected, "dig {words}");
    }
    let refused = exec(&["dig", "+tries=1", "nothing.shop.svc.cluster.local"]).succeeds();
    assert!(
        refused.contains("status: NXDOMAIN") && refused.contains("SOA"),
        "{refused}"
    );

    let script = "import dns.resolver, dns.reversename\n\
        r = dns.resolver.Resolver(); r.lifetime = 5\n\
        print(*sorted(a.address for k in ('A', 'AAAA') for a in r.resolve('both.shop', k, search=True)))\n\
        print(r.resolve('_http._tcp.both.shop', 'SRV', search=True)[0].port)\n\
        print(r.resolve(dns.reversename.from_address('10.96.44.2'), 'PTR')[0])\n\
        print(r.resolve('both.shop', 'A', search=True, tcp=True)[0])";
    let found = exec(&["/usr/bin/python3", "-c", script]).succeeds();
    let expected = "10.96.44.2 fd00:10:96::442\n80\nboth.shop.svc.cluster.local.\n10.96.44.2\n";
    assert_eq!(found, expected, "dnspython");
}

#[test]
fn policies_say_whom_a_pod_asks_and_a_node_asks_its_own_server() {
    let cluster = cluster();
    let config = json!({"nameservers": ["169.254.20.10"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "1"}]});
    let on_node = client("on-node", &[]).with("hostNetwork", json!(true));
    cluster.start(&[
        on_node.with("dnsPolicy", json!("ClusterFirstWithHostNet")),
        client("own", &[])
            .with("dnsPolicy", json!("None"))
            .with("dnsConfig", config),
        client("default", &[]).with("dnsPolicy", json!("Default")),
    ]);
    let resolv = |pod: &str| cluster.exec(pod, ["cat", "/etc/resolv.conf"]).succeeds();
    assert_eq!(
        resolv("own"),
        "nameserver 169.254.20.10\nsearch a.example\noptions ndots:1\n"
    );
    assert!(!resolv("default").contains("10.96.0.10"));
    for (pod, name) in [
        ("on-node", "kubernetes.default"),
        ("own", "kubernetes.default.svc.cluster.local"),
    ] {
        let found = cluster.exec(pod, ["getent", "ahostsv4", name]).succeeds();
        assert!(found.starts_with("10.96.0.1 "), "{pod}: {found}");
    }
    // The node itself, without any pod: no route of a pod and no rule of one helps.
    let asked = cluster.node(2).run(
        "dig",
        [
            "+short",
            "+tries=1",
            "@10.96.0.10",
            "kubernetes.default.svc.cluster.local",
        ],
    );
    assert_eq!(asked.succeeds(), "10.96.0.1\n");
    let tracked = cluster.node(2).run(
        "sh",
        ["-c", "grep -c 'dport=53 ' /proc/net/nf_conntrack || true"],
    );
    assert_eq!(tracked.succeeds().trim(), "0", "a question is tracked");
}
