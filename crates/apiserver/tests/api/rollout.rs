//! What kubectl's users do with kinds that keep pods. No controller runs here; what it would
//! write, these tests do.

use std::process::Stdio;

use crate::{
    harness::{Server, said},
    workloads::{DEPLOYMENT, of_kind},
};

const AVAILABLE: &str = r#"{"type":"Available","status":"True","reason":"R","message":"m"}"#;

/// Says that all is as it should be.
fn settle(server: &Server) {
    let generation = server.ok("get deployment web -o jsonpath={.metadata.generation}");
    let status = format!(
        r#"{{"status":{{"observedGeneration":{generation},"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1,"conditions":[{AVAILABLE}]}}}}"#
    );
    let patch = format!("-p={status}");
    let words = [
        "patch",
        "deployment",
        "web",
        "--subresource=status",
        "--type=merge",
        &patch,
    ];
    let said = server.kubectl_with(&words, "");
    assert!(said.ok, "{said:?}");
}

/// A ReplicaSet of the Deployment, as its controller makes one for each revision.
fn revision(server: &Server, number: u32, image: &str) {
    let uid = server.ok("get deployment web -o jsonpath={.metadata.uid}");
    let hash = format!("pod-template-hash: h{number}");
    let replica_set = of_kind("ReplicaSet")
        .replace(
            "metadata: {name: web}",
            &format!(
                "metadata:\n  name: web-{number}\n  labels: {{app: web, {hash}}}\n  \
                 annotations: {{deployment.kubernetes.io/revision: '{number}'}}\n  ownerReferences:\n  \
                 - {{apiVersion: apps/v1, kind: Deployment, name: web, uid: {uid}, controller: true}}"
            ),
        )
        .replace("{app: web}}", &format!("{{app: web, {hash}}}}}"))
        .replace("sealane.io/echo:1", image);
    server.apply(&replica_set);
}

#[test]
fn a_deployment_is_rolled_out_and_back() {
    let server = Server::start();
    server.apply(DEPLOYMENT);
    settle(&server);
    assert_eq!(
        server.ok("rollout status deployment web --timeout=10s"),
        "deployment \"web\" successfully rolled out\n"
    );
    revision(&server, 1, "sealane.io/echo:1");
    revision(&server, 2, "sealane.io/echo:2");
    for (command, expected) in [
        (
            "set image deployment/web main=sealane.io/echo:2",
            "image updated",
        ),
        (
            "annotate deployment web deployment.kubernetes.io/revision=2",
            "annotated",
        ),
        ("rollout pause deployment/web", "paused"),
        ("rollout resume deployment/web", "resumed"),
        ("rollout undo deployment/web --to-revision=1", "rolled back"),
        ("rollout restart deployment/web", "restarted"),
        ("set env deployment/web A=b", "env updated"),
        (
            "set resources deployment/web --limits=cpu=0.5",
            "resource requirements updated",
        ),
        ("label deployment web tier=front", "labeled"),
    ] {
        assert_eq!(
            server.ok(command),
            format!("deployment.apps/web {expected}\n")
        );
    }
    let history = server.ok("rollout history deployment/web");
    let rows: Vec<&str> = history
        .lines()
        .filter(|line| line.ends_with("<none>"))
        .collect();
    assert_eq!(rows.len(), 2, "{history}");
    let one = server.ok("rollout history deployment/web --revision=2");
    assert!(one.contains("sealane.io/echo:2"), "{one}");
    let spec = "{.spec.template.spec.containers[0]['image','env','resources']}";
    assert_eq!(
        server.ok(&format!("get deployment web -o jsonpath={spec}")),
        r#"sealane.io/echo:1 [{"name":"A","value":"b"}] {"limits":{"cpu":"500m"}}"#
    );
    settle(&server);
    assert_eq!(
        server.ok("wait deployment/web --for=condition=Available --timeout=10s"),
        "deployment.apps/web condition met\n"
    );
    let described = server.ok("describe deployment web");
    assert!(
        described.contains("1 desired | 1 updated | 1 total | 1 available"),
        "{described}"
    );
}

#[test]
fn a_daemon_set_goes_back_to_a_revision() {
    let server = Server::start();
    server.apply(&of_kind("DaemonSet"));
    let uid = server.ok("get daemonset web -o jsonpath={.metadata.uid}");
    for number in [1, 2] {
        let template = server.ok("get daemonset web -o jsonpath={.spec.template}");
        let template = template
            .replacen('{', r#"{"$patch":"replace","#, 1)
            .replace("echo:1", &format!("echo:{number}"));
        server.apply(&format!(
            "kind: ControllerRevision\napiVersion: apps/v1\nmetadata:\n  name: web-{number}\n  \
             labels: {{app: web}}\n  ownerReferences:\n  - {{apiVersion: apps/v1, kind: DaemonSet, \
             name: web, uid: {uid}, controller: true}}\nrevision: {number}\n\
             data: {{\"spec\": {{\"template\": {template}}}}}\n"
        ));
    }
    server.ok("set image daemonset/web main=sealane.io/echo:2");
    let history = server.ok("rollout history daemonset/web");
    assert_eq!(
        history
            .lines()
            .filter(|line| line.ends_with("<none>"))
            .count(),
        2,
        "{history}"
    );
    let table = server.ok("get controllerrevisions");
    assert!(table.contains("daemonset.apps/web   2"), "{table}");
    server.ok("rollout undo daemonset/web --to-revision=1");
    let image =
        server.ok("get daemonset web -o jsonpath={.spec.template.spec.containers[0].image}");
    assert_eq!(image, "sealane.io/echo:1");
    let refused = server.refused(
        &[
            "patch",
            "controllerrevision",
            "web-1",
            "--type=merge",
            "-p",
            r#"{"data":{"a":1}}"#,
        ],
        "",
    );
    assert!(
        refused.contains("data: Invalid value") && refused.contains("field is immutable"),
        "{refused}"
    );
}

#[test]
fn commands_that_make_and_replace() {
    let server = Server::start();
    for (command, expected) in [
        (
            "create deployment web --image=sealane.io/echo --replicas=2 --port=80",
            "deployment.apps/web created",
        ),
        ("expose deployment web", "service/web exposed"),
        (
            "create ingress web --rule=a.example/*=web:80",
            "ingress.networking.k8s.io/web created",
        ),
        (
            "expose deployment web --name=other --type=NodePort",
            "service/other exposed",
        ),
        (
            "autoscale deployment web --max=3",
            "horizontalpodautoscaler.autoscaling/web autoscaled",
        ),
    ] {
        assert_eq!(server.ok(command), format!("{expected}\n"), "{command}");
    }
    let mut edit = server.kubectl_command(&["edit", "deployment", "web"]);
    edit.env("KUBE_EDITOR", "sed -i s/replicas:.2/replicas:\\ 3/")
        .stdin(Stdio::null());
    let edited = said(edit.output().unwrap());
    assert_eq!(edited.out, "deployment.apps/web edited\n", "{edited:?}");
    assert_eq!(
        server.ok("get deployment web -o jsonpath={.spec.replicas}"),
        "3"
    );

    let before = server.ok("get deployment web -o jsonpath={.metadata.uid}");
    let replaced = server.kubectl_with(&["replace", "--force", "-f", "-"], DEPLOYMENT);
    assert!(
        replaced.out.contains("deployment.apps/web replaced"),
        "{replaced:?}"
    );
    assert_ne!(
        server.ok("get deployment web -o jsonpath={.metadata.uid}"),
        before
    );
    let all = server.ok("get all -o name");
    assert!(
        all.contains("deployment.apps/web") && all.contains("service/other"),
        "{all}"
    );
}
