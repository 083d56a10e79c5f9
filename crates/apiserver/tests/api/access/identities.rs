//! The identities of our own processes: each does its work, and is refused elsewhere.

use std::fs;

use serde_json::json;

use super::{
    Comes::{Good, No},
    as_user, each, run, wait_for_account,
};
use crate::harness::Server;

/// Two nodes with a pod each, and things that the first one's pod needs, and others.
const TWO_NODES: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: needed}
---
apiVersion: v1
kind: Secret
metadata: {name: needed}
---
apiVersion: v1
kind: Secret
metadata: {name: private}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: node-1
  containers: [{name: main, image: sealane.io/echo}]
  volumes: [{name: a, configMap: {name: needed}}, {name: b, secret: {secretName: needed}}]
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec: {nodeName: node-2, containers: [{name: main, image: sealane.io/echo}]}
";

/// A server with them.
fn two_nodes() -> Server {
    let server = Server::start();
    wait_for_account(&server);
    server.apply(TWO_NODES);
    server
}

#[test]
fn a_node_reads_and_writes_its_own() {
    let server = two_nodes();
    let unrelated = "no relationship found between node 'node-1' and this object";
    let uid = server.ok("get pod web -o jsonpath={.metadata.uid}");
    let bound = format!(
        "create token default --bound-object-kind=Pod --bound-object-name=web --bound-object-uid={uid}"
    );
    let ask = |words: &str| as_user(&server, "system:node:node-1", "system:nodes", words);
    each(
        ask,
        &[
            ("get node node-1", Good),
            ("get node node-2", No("only its own Node object")),
            ("get nodes", No("only its own Node object")),
            ("label node node-1 team=a", Good),
            ("label node node-2 team=a", No("only its own Node object")),
            (
                "label node node-1 node-restriction.kubernetes.io/a=b",
                No("is not allowed to modify labels: node-restriction.kubernetes.io/a"),
            ),
            (
                "taint node node-1 a=b:NoSchedule",
                No("node \"node-1\" is not allowed to modify taints"),
            ),
            ("delete node node-1", No("cannot delete resource \"nodes\"")),
            (
                r#"patch node node-1 --subresource=status -p={"status":{"phase":"x"}}"#,
                Good,
            ),
            (
                r#"patch node node-2 --subresource=status -p={"status":{"phase":"x"}}"#,
                No("only its own Node object"),
            ),
            (
                "get pods -A",
                No("can only list/watch pods with spec.nodeName field selector"),
            ),
            (
                "get pods -A --field-selector=spec.nodeName=node-2",
                No("can only list/watch pods with spec.nodeName field selector"),
            ),
            ("get pods -A --field-selector=spec.nodeName=node-1", Good),
            ("get pod web", Good),
            ("get pod other", No(unrelated)),
            ("get pod absent", No("pods \"absent\" not found")),
            ("label pod web a=b", No("cannot patch resource \"pods\"")),
            (
                r#"patch pod web --subresource=status -p={"status":{"message":"x"}}"#,
                Good,
            ),
            (
                r#"patch pod other --subresource=status -p={"status":{"message":"x"}}"#,
                No(unrelated),
            ),
            ("get configmap needed", Good),
            ("get secret needed", Good),
            ("get secret private", No(unrelated)),
            ("get secrets", No("No Object name found")),
            (
                "create configmap mine",
                No("can only read resources of this type"),
            ),
            (&bound, Good),
            (
                "create token default",
                No("node requested token not bound to a pod"),
            ),
            (
                "create token default --bound-object-kind=Pod --bound-object-name=web",
                No("without a uid"),
            ),
            ("create token robot", No(unrelated)),
            ("get services -A", Good),
            (
                "get leases -n kube-system",
                No("can only get, create, update, patch, or delete a node lease"),
            ),
            (
                "get clusterroles",
                No("cannot list resource \"clusterroles\""),
            ),
            ("exec web -- ls", No("resource \"pods/exec\"")),
            ("delete pod other --now --wait=false", No(unrelated)),
            ("delete pod web --now --wait=false", Good),
        ],
    );
}

#[test]
fn a_node_keeps_its_lease_and_tells_what_happens() {
    let server = two_nodes();
    let ask = |name: &str, manifest: String| {
        server.add(
            &server.pki.client("system:node:node-1", "system:nodes"),
            "node",
        );
        fs::write(
            server.path().join("kubeconfig-node"),
            server.kubeconfig(Some("node")),
        )
        .unwrap();
        let kubeconfig = format!("--kubeconfig={}/kubeconfig-node", server.path().display());
        let said = server.kubectl_with(&[&kubeconfig, "create", "-f", "-"], &manifest);
        (name.to_owned(), said.ok, said.err)
    };
    let lease = |name: &str, namespace: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
        })
    };
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"},
        "reason": "Started",
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "a", "image": "b"}]},
    });
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-3"}});
    for (name, manifest, expected) in [
        ("own lease", lease("node-1", "kube-node-lease"), true),
        (
            "lease of another",
            lease("node-2", "kube-node-lease"),
            false,
        ),
        ("lease elsewhere", lease("node-1", "kube-system"), false),
        ("event", event, true),
        ("pod", pod, false),
        ("another node", node, false),
    ] {
        let manifest = manifest.to_string();
        let (name, ok, error) = ask(name, manifest);
        assert_eq!(ok, expected, "{name}: {error}");
        assert!(ok || error.contains("orbidden"), "{name}: {error}");
    }
}

#[test]
fn an_agent_reads_nodes_and_the_pods_of_its_node() {
    let server = two_nodes();
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:agent:node-1",
            "system:sealane:agents",
            words,
        )
    };
    each(
        ask,
        &[
            ("get nodes", Good),
            ("get --raw /api/v1/nodes?watch=1&timeoutSeconds=1", Good),
            ("get pods -A --field-selector=spec.nodeName=node-1", Good),
            (
                "get pods -A --field-selector=spec.nodeName=node-2",
                No("of its own node (spec.nodeName=node-1)"),
            ),
            ("get pods -A", No("of its own node (spec.nodeName=node-1)")),
            ("get pod web", No("of its own node")),
            ("label node node-1 a=b", No("cannot get resource \"nodes\"")),
            ("delete node node-1", No("cannot delete resource \"nodes\"")),
            ("get secret needed", No("cannot get resource \"secrets\"")),
            ("get configmaps", No("cannot list resource \"configmaps\"")),
            ("get services -A", Good),
            ("get endpointslices -A", Good),
            (
                "delete service kubernetes",
                No("cannot delete resource \"services\""),
            ),
            (
                "create configmap x",
                No("cannot create resource \"configmaps\""),
            ),
            (
                "create token default",
                No("cannot create resource \"serviceaccounts/token\""),
            ),
        ],
    );
}

#[test]
fn dns_reads_what_names_are_made_of() {
    let server = two_nodes();
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:dns:node-1",
            "system:sealane:dns",
            words,
        )
    };
    each(
        ask,
        &[
            ("get services -A", Good),
            ("get endpointslices -A", Good),
            ("get namespaces", Good),
            ("get pods -A", Good),
            ("get configmaps -n kube-system", Good),
            ("get configmaps", No("cannot list resource \"configmaps\"")),
            ("get nodes", No("cannot list resource \"nodes\"")),
            ("get secrets", No("cannot list resource \"secrets\"")),
            ("delete pod web", No("cannot delete resource")),
            (
                "delete service kubernetes",
                No("cannot delete resource \"services\""),
            ),
        ],
    );
}

#[test]
fn the_controllers_keep_the_cluster_and_cannot_take_it_over() {
    let server = two_nodes();
    server.ok("run loose --image=sealane.io/echo");
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:controllers",
            "system:sealane",
            words,
        )
    };
    let grant = r#"patch clusterrolebinding cluster-admin --type=merge -p={"subjects":[{"kind":"User","name":"system:sealane:controllers"}]}"#;
    let rules = r#"patch clusterrole sealane-single-machine --type=merge -p={"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#;
    each(
        ask,
        &[
            ("get nodes", Good),
            (
                r#"patch node node-1 -p={"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}"#,
                Good,
            ),
            (
                r#"patch node node-1 --subresource=status -p={"status":{"phase":"x"}}"#,
                Good,
            ),
            ("get pods -A", Good),
            ("get leases -A", Good),
            (
                r#"patch pod web --subresource=status -p={"status":{"message":"x"}}"#,
                Good,
            ),
            ("run more --image=sealane.io/echo", Good),
            ("delete pod more --now", Good),
            (
                "create configmap x",
                No("cannot create resource \"configmaps\""),
            ),
            (
                "create secret generic x",
                No("cannot create resource \"secrets\""),
            ),
            (
                "create token default",
                No("cannot create resource \"serviceaccounts/token\""),
            ),
            ("exec web -- ls", No("resource \"pods/exec\"")),
            ("logs web", No("cannot get resource \"pods/log\"")),
            (
                "create clusterrolebinding x --clusterrole=cluster-admin --user=x",
                No("cannot create resource \"clusterrolebindings\""),
            ),
            (
                grant,
                No("is attempting to grant RBAC permissions not currently held"),
            ),
            (
                rules,
                No("is attempting to grant RBAC permissions not currently held"),
            ),
            (
                "get pods --as=kubernetes-admin",
                No("cannot impersonate resource \"users\""),
            ),
        ],
    );
}

#[test]
fn nobody_sees_health_and_version_alone() {
    let server = Server::start();
    let ask = |words: &str| run(&server, &server.kubeconfig(None), words);
    let forbidden = |words: &str| ask(&format!("--username=x --password=y {words}"));
    each(
        forbidden,
        &[
            ("get --raw /healthz", Good),
            ("get --raw /readyz", Good),
            ("get --raw /version", Good),
            (
                "get --raw /api",
                No("User \"system:anonymous\" cannot get path \"/api\""),
            ),
            ("get --raw /openid/v1/jwks", No("cannot get path")),
            (
                "get --raw /api/v1/pods",
                No(
                    "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
                ),
            ),
            (
                "get --raw /apis/x.io/v1/things/a",
                No("things.x.io \"a\" is forbidden"),
            ),
        ],
    );
}
