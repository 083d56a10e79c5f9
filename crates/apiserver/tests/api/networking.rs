//! Kinds of `networking.k8s.io` with kubectl.

use crate::harness::Server;

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
        ("ip", "NAME PARENTREF AGE", "fd00::1 services/default/web"),
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
            "kind: ServiceCIDR\napiVersion: networking.k8s.io/v1\nmetadata: {name: more}\nspec: {cidrs: [10.0.0.0/24]}".into(),
            "--service-cluster-ip-range alone",
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
