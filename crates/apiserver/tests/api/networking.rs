//! Kinds of `networking.k8s.io` with kubectl.

use crate::harness::{Server, wait_for};

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: some}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}}]
    ports: [{port: 80, endPort: 90}, {port: http}]
";

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: ours
  tls: [{hosts: [a.example], secretName: t}]
  rules:
  - host: a.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

const CLASS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours}
spec: {controller: sealane.io/gateway, parameters: {kind: Settings, name: s, apiGroup: x.io}}
";

const ADDRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: {name: 'fd00::1'}
spec: {parentRef: {resource: services, namespace: default, name: web}}
";

const CIDR: &str = "
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.200.0.0/28]}
";

#[test]
fn they_are_kept_and_shown() {
    let server = Server::start();
    for manifest in [POLICY, INGRESS, CLASS, ADDRESS] {
        assert!(server.apply(manifest).ends_with("created\n"));
    }
    // A list that is replaced as a whole differs as soon as one of its elements has a default.
    for manifest in [INGRESS, CLASS, ADDRESS] {
        assert!(
            server.apply(manifest).ends_with("unchanged\n"),
            "{manifest}"
        );
    }
    for (what, heading, row) in [
        ("netpol", "NAME POD-SELECTOR AGE", "some app=web"),
        (
            "ing",
            "NAME CLASS HOSTS ADDRESS PORTS AGE",
            "web ours a.example 80, 443",
        ),
        (
            "ingressclasses",
            "NAME CONTROLLER PARAMETERS AGE",
            "ours sealane.io/gateway Settings.x.io/s",
        ),
        (
            "ip",
            "NAME PARENTREF AGE",
            "10.96.0.1 services/default/kubernetes",
        ),
        (
            "ip fd00::1",
            "NAME PARENTREF AGE",
            "fd00::1 services/default/web",
        ),
        (
            "servicecidrs",
            "NAME CIDRS AGE",
            "kubernetes 10.96.0.0/12,fd00:10:96::/112",
        ),
    ] {
        let table = server.ok(&format!("get {what}"));
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[0], heading);
        assert!(lines[1].starts_with(row), "{table}");
    }
    assert_eq!(
        server.ok(
            "get netpol some -o jsonpath={.spec.policyTypes}{.spec.ingress[0].ports[*].protocol}"
        ),
        "[\"Ingress\"]TCP TCP"
    );
    let ready = server.ok("wait servicecidr/kubernetes --for=condition=Ready --timeout=10s");
    assert_eq!(
        ready,
        "servicecidr.networking.k8s.io/kubernetes condition met\n"
    );
    for what in ["netpol some", "ingress web", "ingressclass ours"] {
        server.ok(&format!("describe {what}"));
    }
}

#[test]
fn what_is_wrong_is_refused_in_kubernetes_words() {
    let server = Server::start();
    server.apply(ADDRESS);
    server.apply(CLASS);
    for (manifest, expected) in [
        (
            POLICY.replace("10.1.0.0/16", "11.0.0.0/16"),
            "The NetworkPolicy \"some\" is invalid: spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
        ),
        (
            POLICY.replace("endPort: 90", "endPort: 70"),
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
        ),
        (
            INGRESS.replace("path: /,", "path: a,"),
            "The Ingress \"web\" is invalid: spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
        ),
        (
            INGRESS.replace("pathType: Prefix, ", ""),
            "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
        ),
        (
            CLASS.replace("sealane.io/gateway", "sealane.io/other"),
            "spec.controller: Invalid value: \"sealane.io/other\": field is immutable",
        ),
        (
            ADDRESS.replace("name: web", "name: other"),
            "field is immutable",
        ),
        (
            ADDRESS.replace("fd00::1", "FD00::1"),
            "metadata.name: Invalid value: \"FD00::1\": must be in canonical form (\"fd00::1\")",
        ),
        (
            CIDR.replace("10.200.0.0/28", "10.200.0.1/28"),
            "spec.cidrs[0]: Invalid value: \"10.200.0.1/28\": must not have bits set beyond the prefix length",
        ),
    ] {
        let refused = server.refused(&["apply", "-f", "-"], &manifest);
        assert!(refused.contains(expected), "{refused}");
    }
    let words = [
        "patch",
        "servicecidr",
        "kubernetes",
        "--type=merge",
        r#"-p={"spec":{"cidrs":["10.0.0.0/24"]}}"#,
    ];
    let refused = server.refused(&words, "");
    assert!(
        refused.contains("spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"),
        "{refused}"
    );
}

/// What the API says of the addresses of Services, one on each line.
fn addresses(server: &Server) -> Vec<String> {
    let columns = "custom-columns=A:.metadata.name,B:.spec.parentRef.name";
    let table = server.ok(&format!("get ip --no-headers -o {columns}"));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    table.lines().map(words).collect()
}

#[test]
fn a_service_and_its_addresses_come_and_go_together() {
    let server = Server::start();
    server.ok("create service clusterip web --tcp=80 --clusterip=10.96.0.50");
    assert_eq!(
        addresses(&server),
        ["10.96.0.1 kubernetes", "10.96.0.50 web"]
    );
    let labels = server.ok("get ip 10.96.0.50 -o jsonpath={.metadata.labels}");
    assert_eq!(
        labels,
        r#"{"ipaddress.kubernetes.io/ip-family":"IPv4","ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}"#
    );
    let twice = "create service clusterip other --tcp=80 --clusterip=10.96.0.50";
    let refused = server.refused(&twice.split(' ').collect::<Vec<_>>(), "");
    assert!(
        refused.contains("provided IP is already allocated"),
        "{refused}"
    );
    let patch = [
        "patch",
        "svc",
        "web",
        "-p",
        r#"{"spec":{"ipFamilyPolicy":"PreferDualStack"}}"#,
    ];
    server.kubectl_with(&patch, "");
    assert_eq!(addresses(&server).len(), 3);
    server.ok("delete svc web");
    assert_eq!(addresses(&server), ["10.96.0.1 kubernetes"]);
}

#[test]
fn the_servers_own_service_comes_back() {
    let server = Server::start();
    let version =
        || server.ok("get endpointslices kubernetes -o jsonpath={.metadata.resourceVersion}");
    let before = version();
    server.ok("delete svc --all -n default");
    wait_for("the Service is there again", || {
        let said = server.kubectl("get svc kubernetes -o jsonpath={.spec.clusterIP}");
        (said.out == "10.96.0.1").then_some(())
    });
    assert_eq!(addresses(&server), ["10.96.0.1 kubernetes"]);
    assert_eq!(version(), before, "what is right is not written again");
    server.ok("delete endpointslices kubernetes");
    wait_for("the endpoint is there again", || {
        server
            .kubectl("get endpointslices kubernetes")
            .ok
            .then_some(())
    });
}

#[test]
fn an_address_that_somebody_else_has_is_not_handed_out() {
    let server = Server::start();
    let theirs = ADDRESS
        .replace("'fd00::1'", "10.96.1.1")
        .replace("services", "gateways");
    server.apply(&theirs);
    server.ok("create service clusterip web --tcp=80");
    let got = server.ok("get svc web -o jsonpath={.spec.clusterIP}");
    assert_eq!(got, "10.96.1.2");
}

#[test]
fn what_somebody_has_changed_is_repaired() {
    let server = Server::start();
    server.ok("create service clusterip web --tcp=80 --clusterip=10.96.0.50");
    server.ok("delete ip 10.96.0.50");
    wait_for("the address is there again", || {
        addresses(&server)
            .contains(&"10.96.0.50 web".to_owned())
            .then_some(())
    });
    let leaked = ADDRESS.replace("'fd00::1'", "10.96.0.60").replace(
        "metadata: {",
        "metadata: {labels: {ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io}, ",
    );
    server.kubectl_with(
        &["create", "-f", "-"],
        &leaked.replace("name: web", "name: gone"),
    );
    wait_for("the leaked address is gone", || {
        (!addresses(&server).iter().any(|one| one.ends_with("gone"))).then_some(())
    });
    let events = server.ok("get events -o custom-columns=R:.reason,M:.message");
    for said in [
        "ClusterIPNotAllocated   Cluster IP [IPv4]: 10.96.0.50 is not allocated; repairing",
        "IPAddressNotAllocated   IPAddress: 10.96.0.60 for Service default/gone appears to have leaked: cleaning up",
    ] {
        assert!(events.contains(said), "{events}");
    }
}

#[test]
fn a_further_range_is_used_and_goes_when_it_is_not() {
    let server = Server::start();
    server.apply(CIDR);
    server.ok("wait servicecidr/more --for=condition=Ready --timeout=10s");
    server.ok("create service clusterip web --tcp=80 --clusterip=10.200.0.3");
    server.ok("delete servicecidr more --wait=false");
    let why = "-o=jsonpath={.status.conditions[0].status} {.status.conditions[0].reason}";
    wait_for("the range says why it stays", || {
        let said = server
            .kubectl_with(&["get", "servicecidr", "more", why], "")
            .out;
        (said == "False Terminating").then_some(())
    });
    let from_it = "create service clusterip other --tcp=80 --clusterip=10.200.0.4";
    let refused = server.refused(&from_it.split(' ').collect::<Vec<_>>(), "");
    assert!(refused.contains("not in the valid range"), "{refused}");
    server.ok("delete svc web");
    server.ok("wait servicecidr/more --for=delete --timeout=10s");
}
