//! kubectl, the real one, through what its users do every day.

use std::io::{BufRead, BufReader};

use crate::harness::{Server, wait_for};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: main
    image: sealane.io/echo
    ports: [{containerPort: 8080}]
    env: [{name: A, value: '1'}, {name: B, value: '2'}]
";

#[test]
fn a_pod_is_applied_shown_changed_and_deleted() {
    let server = Server::start();
    assert_eq!(server.apply(POD), "pod/web created\n");
    assert_eq!(server.apply(POD), "pod/web unchanged\n");
    let wide = server.ok("get pods -o wide");
    let lines: Vec<Vec<&str>> = wide
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0].join(" "),
        "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    );
    assert_eq!(lines[1][..4], ["web", "0/1", "Pending", "0"]);
    assert_eq!(lines[1][5..], ["<none>", "<none>", "<none>", "<none>"]);

    assert_eq!(server.ok("label pod web tier=front"), "pod/web labeled\n");
    assert_eq!(
        server.ok("get pods -l tier=front,app=web -o name"),
        "pod/web\n"
    );
    assert_eq!(server.ok("get pods -l tier!=front -o name"), "");
    assert_eq!(server.ok("annotate pod web note=x"), "pod/web annotated\n");

    // Three-way: what apply once set and no longer says goes, what others set stays.
    let changed = POD
        .replace("sealane.io/echo", "sealane.io/echo:2")
        .replace("{app: web}", "{app: site}");
    assert_eq!(server.apply(&changed), "pod/web configured\n");
    let shown = server.ok("get pod web -o jsonpath={.metadata.labels}{.spec.containers[0].image}");
    assert_eq!(
        shown,
        "{\"app\":\"site\",\"tier\":\"front\"}sealane.io/echo:2"
    );

    let refused = server.refused(&["apply", "-f", "-"], &POD.replace("'2'", "'3'"));
    assert!(
        refused.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{refused}"
    );

    for patch in [
        [
            "--type=merge",
            r#"-p={"metadata":{"labels":{"tier":"back"}}}"#,
        ],
        [
            "--type=json",
            r#"-p=[{"op":"replace","path":"/metadata/labels/tier","value":"side"}]"#,
        ],
        [
            "--type=strategic",
            r#"-p={"spec":{"containers":[{"name":"main","image":"sealane.io/echo:3"}]}}"#,
        ],
    ] {
        let said = server.kubectl_with(&[&["patch", "pod", "web"][..], &patch].concat(), "");
        assert_eq!(
            (said.ok, said.out.as_str()),
            (true, "pod/web patched\n"),
            "{said:?}"
        );
    }
    let shown =
        server.ok("get pod web -o jsonpath={.metadata.labels.tier}/{.spec.containers[*].image}");
    assert_eq!(shown, "side/sealane.io/echo:3");

    // Newer ones add "from default namespace".
    let deleted = server.ok("delete pod web");
    assert!(deleted.starts_with("pod \"web\" deleted"), "{deleted}");
    assert_eq!(
        server.kubectl("get pods").err,
        "No resources found in default namespace.\n"
    );
}

#[test]
fn what_users_create_by_command_exists_then() {
    let server = Server::start();
    for (command, said) in [
        ("create namespace shop", "namespace/shop created"),
        (
            "create configmap settings --from-literal=a=1 -n shop",
            "configmap/settings created",
        ),
        (
            "create secret generic pass --from-literal=p=q -n shop",
            "secret/pass created",
        ),
        (
            "create serviceaccount robot -n shop",
            "serviceaccount/robot created",
        ),
        (
            "create service clusterip web --tcp=80:8080 -n shop",
            "service/web created",
        ),
        (
            "create service nodeport open --tcp=80:8080 -n shop",
            "service/open created",
        ),
        ("run one --image=sealane.io/echo -n shop", "pod/one created"),
        (
            "expose pod one --port=80 --name=two -n shop",
            "service/two exposed",
        ),
        (
            "set image pod/one one=sealane.io/echo:2 -n shop",
            "pod/one image updated",
        ),
        ("label namespace shop team=a", "namespace/shop labeled"),
    ] {
        assert_eq!(server.ok(command), format!("{said}\n"), "{command}");
    }
    assert_eq!(
        server.ok("get configmap settings -n shop -o jsonpath={.data}"),
        "{\"a\":\"1\"}"
    );
    assert_eq!(
        server.ok("get secret pass -n shop -o jsonpath={.data.p}"),
        "cQ=="
    );
    let addresses = server.ok("get services -n shop -o jsonpath={.items[*].spec.clusterIP}");
    let mut addresses: Vec<&str> = addresses.split(' ').collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    let port = server.ok("get service open -n shop -o jsonpath={.spec.ports[0].nodePort}");
    assert!(
        (30000..=32767).contains(&port.parse::<u16>().unwrap()),
        "{port}"
    );

    assert_eq!(
        server
            .ok("get serviceaccounts -n shop -o name")
            .lines()
            .count(),
        2
    );
    assert!(server.ok("describe pod one -n shop").contains("Image:"));
    assert!(server.ok("get all -n shop").contains("service/web"));
    assert_eq!(
        server.ok("delete namespace shop"),
        "namespace \"shop\" deleted\n"
    );
    assert_eq!(server.ok("get services -A -o name"), "service/kubernetes\n");
}

#[test]
fn a_cluster_has_its_first_objects() {
    let server = Server::start();
    assert_eq!(
        server.ok("get namespaces -o name"),
        "namespace/default\nnamespace/kube-node-lease\nnamespace/kube-public\nnamespace/kube-system\n"
    );
    let service =
        server.ok("get service kubernetes -o jsonpath={.spec.clusterIP}:{.spec.ports[0].port}");
    assert_eq!(service, "10.96.0.1:443");
    let endpoint = server.ok(
        "get endpointslice kubernetes -o jsonpath={.endpoints[0].addresses[0]}:{.ports[0].port}",
    );
    assert_eq!(endpoint, server.address.to_string());
    wait_for("the default service account", || {
        server
            .kubectl("get serviceaccount default -n kube-system")
            .ok
            .then_some(())
    });
    let refused = server.refused(&["delete", "namespace", "default"], "");
    assert_eq!(
        refused,
        "Error from server (Forbidden): namespaces \"default\" is forbidden: this namespace may \
         not be deleted\n"
    );
    let resources = server.ok("api-resources --no-headers -o name");
    for resource in [
        "pods",
        "nodes",
        "leases.coordination.k8s.io",
        "events.events.k8s.io",
    ] {
        assert!(
            resources.lines().any(|line| line == resource),
            "{resource} in {resources}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_in_kubernetes_words() {
    let server = Server::start();
    let pod = |change: fn(&str) -> String| change(POD);
    for (manifest, expected) in [
        (
            pod(|pod| pod.replace("    image:", "    imag: x\n    image:")),
            "strict decoding error: unknown field \"spec.containers[0].imag\"",
        ),
        (
            pod(|pod| pod.replace("name: web", "name: Web_1")),
            "The Pod \"Web_1\" is invalid: metadata.name: Invalid value: \"Web_1\": a lowercase RFC 1123 subdomain must consist of",
        ),
        (
            pod(|pod| pod.replace("containerPort: 8080", "containerPort: 80800")),
            "The Pod \"web\" is invalid: spec.containers[0].ports[0].containerPort: Invalid value: 80800: must be between 1 and 65535, inclusive",
        ),
        (
            pod(|pod| pod.replace("[{containerPort: 8080}]", "yes")),
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal",
        ),
        (
            pod(|pod| pod.replace("name: web", "name: web\n  namespace: nowhere")),
            "namespaces \"nowhere\" not found",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}".into(),
            "The range of valid IPs is 10.96.0.0/12",
        ),
        (
            "apiVersion: apps/v1\nkind: Nonsense\nmetadata: {name: s}".into(),
            "no matches for kind \"Nonsense\" in version \"apps/v1\"",
        ),
    ] {
        let refused = server.refused(&["create", "-f", "-"], &manifest);
        assert!(refused.contains(expected), "expected {expected:?} in {refused:?}");
    }
    let warned = server.kubectl_with(
        &["create", "--validate=warn", "-f", "-"],
        &POD.replace("    image:", "    imag: x\n    image:"),
    );
    assert!(
        warned.ok
            && warned
                .err
                .contains("Warning: unknown field \"spec.containers[0].imag\""),
        "{warned:?}"
    );
    let refused = server.refused(&["create", "-f", "-"], POD);
    assert!(
        refused.contains("(AlreadyExists)") && refused.contains("pods \"web\" already exists"),
        "{refused}"
    );
    let refused = server.refused(&["get", "pod", "nobody"], "");
    assert_eq!(
        refused,
        "Error from server (NotFound): pods \"nobody\" not found\n"
    );
    let refused = server.refused(&["get", "pods", "--field-selector", "spec.color=red"], "");
    assert!(refused.contains("field label not supported"), "{refused}");
}

#[test]
fn waiting_and_watching_follow_the_status() {
    let server = Server::start();
    server.apply(POD);
    let mut watch = server
        .kubectl_command(&["get", "pods", "--watch", "--no-headers"])
        .spawn()
        .unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || {
        seen.next()
            .unwrap()
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(next()[..3], ["web", "0/1", "Pending"]);

    let wait = server
        .kubectl_command(&["wait", "pod/web", "--for=condition=Ready", "--timeout=30s"])
        .spawn()
        .unwrap();
    let status = r#"{"status":{"phase":"Running","podIP":"10.244.0.5",
        "conditions":[{"type":"Ready","status":"True"}],
        "containerStatuses":[{"name":"main","ready":true,"restartCount":0,"image":"x","imageID":"",
            "state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}}"#;
    let patch = format!("-p={status}");
    let said = server.kubectl_with(&["patch", "pod", "web", "--subresource=status", &patch], "");
    assert!(said.ok, "{said:?}");
    let waited = wait.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&waited.stdout),
        "pod/web condition met\n"
    );
    assert_eq!(next()[..3], ["web", "1/1", "Running"]);

    // The main resource leaves the status alone, the status subresource the rest.
    let said = server.kubectl_with(
        &[
            "patch",
            "pod",
            "web",
            "--type=merge",
            "-p={\"status\":{\"phase\":\"Failed\"}}",
        ],
        "",
    );
    assert!(said.ok, "{said:?}");
    assert_eq!(
        server.ok("get pod web -o jsonpath={.status.phase}"),
        "Running"
    );
    assert_eq!(
        server.ok("get pods --field-selector=status.phase=Running -o name"),
        "pod/web\n"
    );

    server.ok("delete pod web");
    assert_eq!(next()[..3], ["web", "1/1", "Terminating"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}
