//! The Python client of Kubernetes, which we did not write: outside of a cluster, and inside a pod.
//!
//! It comes from an environment of its own, which `make setup` makes for tests.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use sealane_testkit::command::finish;
use sealane_testkit::{Cluster, Container, Pod, Shared, kubectl};

/// The environment with the client.
fn environment() -> PathBuf {
    let found = kubectl::tools().map(|tools| tools.join("python"));
    found
        .and_then(|folder| folder.canonicalize().ok())
        .filter(|folder| folder.join("bin/python").exists())
        .expect("target/tools/python is missing: `scripts/setup.sh target/tools tests` makes it")
}

fn scripts() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    folder.canonicalize().unwrap()
}

#[test]
fn outside_it_does_what_its_users_do() {
    let cluster = Shared::cluster();
    let mut python = Command::new(environment().join("bin/python"));
    python
        .arg(scripts().join("outside.py"))
        .env("KUBECONFIG", cluster.kubeconfig());
    eprintln!("{}", finish(python).succeeds());
}

#[test]
fn outside_it_handles_a_kind_of_its_own() {
    let cluster = Shared::cluster();
    let mut python = Command::new(environment().join("bin/python"));
    python
        .arg(scripts().join("custom.py"))
        .env("KUBECONFIG", cluster.kubeconfig());
    eprintln!("{}", finish(python).succeeds());
}

#[test]
fn inside_a_pod_it_finds_the_api_and_may_do_what_its_account_may() {
    let cluster = Shared::cluster();
    allow(&cluster);
    let folder = |name: &str, path: &Path| json!({"name": name, "hostPath": {"path": path}});
    let mount =
        |name: &str| json!({"name": name, "mountPath": format!("/mnt/{name}"), "readOnly": true});
    let packages = "import glob, sys; sys.path[:0] = glob.glob('/mnt/python/lib/python3*/site-packages'); \
                    sys.argv[0] = '/mnt/scripts/inside.py'; exec(open(sys.argv[0]).read())";
    let container = Container::host("main", ["/usr/bin/python3", "-c", packages])
        .with("volumeMounts", json!([mount("python"), mount("scripts")]));
    let pod = Pod::of("client", [container])
        .with("restartPolicy", json!("Never"))
        .with("serviceAccountName", json!("reader"))
        .with(
            "volumes",
            json!([
                folder("python", &environment()),
                folder("scripts", &scripts())
            ]),
        );
    cluster.create(&[pod]);
    cluster.wait_pod("client", "has ended", |pod| {
        let phase = pod["status"]["phase"].as_str()?;
        ["Succeeded", "Failed"].contains(&phase).then_some(())
    });
    let said = cluster.kubectl(["logs", "client"]).succeeds();
    let account = "system:serviceaccount:default:reader";
    let refused = |what: &str, resource: &str, place: &str| {
        format!(
            "refused {what} 403 {resource} is forbidden: User \"{account}\" cannot list resource \
             \"{resource}\" in API group \"\" {place}"
        )
    };
    let address = [
        "get",
        "service",
        "kubernetes",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let address = cluster.kubectl(address).succeeds();
    for line in [
        format!("api https://{address}:443"),
        "event MODIFIED 2".to_owned(),
        refused("secrets", "secrets", "in the namespace \"default\""),
        refused("pods elsewhere", "pods", "in the namespace \"kube-system\""),
        refused("nodes", "nodes", "at the cluster scope"),
        format!("I am {account}"),
    ] {
        assert!(
            said.lines().any(|one| one == line),
            "{line}\nis missing in\n{said}"
        );
    }
    let pods = said.lines().find(|line| line.starts_with("pods ")).unwrap();
    assert!(pods.contains("client"), "it sees itself: {pods}");
}

/// An account that may read pods and write ConfigMaps in its namespace, and nothing else.
fn allow(cluster: &Cluster) {
    cluster
        .apply(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: [''], resources: [configmaps], verbs: [create, patch, get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
",
        )
        .succeeds();
}
