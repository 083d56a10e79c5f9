//! Kinds that keep pods, with kubectl: what they get, what is refused, what is shown.

use crate::harness::Server;

/// A Deployment; other kinds are made of it by replacing words.
pub const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: 'sealane.io/echo:1'}]
";

pub fn of_kind(kind: &str) -> String {
    DEPLOYMENT.replace("kind: Deployment", &format!("kind: {kind}"))
}

const REPLICATION_CONTROLLER: &str = "
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: main, image: 'sealane.io/echo:1'}]}
";

#[test]
fn workloads_get_their_defaults_and_columns() {
    let server = Server::start();
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        let said = server.apply(&of_kind(kind));
        assert_eq!(said, format!("{}.apps/web created\n", kind.to_lowercase()));
        assert!(
            server.apply(&of_kind(kind)).ends_with("unchanged\n"),
            "{kind}"
        );
    }
    server.apply(REPLICATION_CONTROLLER);
    let table = |what: &str| {
        let shown = server.ok(&format!("get {what} -o wide"));
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = shown.lines().map(line).collect();
        let age = lines[1].split(' ').position(|word| word.ends_with('s'));
        lines[1] = lines[1]
            .split(' ')
            .enumerate()
            .filter(|(at, _)| Some(*at) != age)
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
            .join(" ");
        lines.join("\n")
    };
    for (what, expected) in [
        (
            "deploy",
            "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR\n\
             web 0/1 0 0 main sealane.io/echo:1 app=web",
        ),
        (
            "rs",
            "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR\n\
             web 1 0 0 main sealane.io/echo:1 app=web",
        ),
        (
            "sts",
            "NAME READY AGE CONTAINERS IMAGES\nweb 0/1 main sealane.io/echo:1",
        ),
        (
            "ds",
            "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE CONTAINERS IMAGES SELECTOR\n\
             web 0 0 0 0 0 <none> main sealane.io/echo:1 app=web",
        ),
        (
            "rc",
            "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR\n\
             old 2 0 0 main sealane.io/echo:1 app=old",
        ),
    ] {
        assert_eq!(table(what), expected);
    }
    for (what, expected) in [
        (
            "deploy web -o jsonpath={.spec.replicas}{.spec.strategy}{.spec.revisionHistoryLimit}{.spec.progressDeadlineSeconds}",
            r#"1{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}10600"#,
        ),
        (
            "sts web -o jsonpath={.spec.podManagementPolicy}{.spec.updateStrategy}{.status}",
            r#"OrderedReady{"rollingUpdate":{"partition":0},"type":"RollingUpdate"}{"availableReplicas":0,"replicas":0}"#,
        ),
        (
            "ds web -o jsonpath={.spec.updateStrategy}{.spec.template.spec.restartPolicy}{.metadata.generation}",
            r#"{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}Always1"#,
        ),
        (
            "rc old -o jsonpath={.spec.selector}{.metadata.labels}",
            r#"{"app":"old"}{"app":"old"}"#,
        ),
        (
            "deploy web -o jsonpath={.spec.template.spec}",
            r#"{"containers":[{"image":"sealane.io/echo:1","imagePullPolicy":"IfNotPresent","name":"main","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}"#,
        ),
    ] {
        assert_eq!(server.ok(&format!("get {what}")), expected, "{what}");
    }
}

#[test]
fn what_is_wrong_is_refused_in_kubernetes_words() {
    let server = Server::start();
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        server.apply(&of_kind(kind));
    }
    let with = |kind: &str, spec: &str| {
        of_kind(kind).replace("spec:\n  selector", &format!("spec:\n  {spec}\n  selector"))
    };
    let other = |kind: &str| of_kind(kind).replace("app: web", "app: other");
    let not_matching = of_kind("Deployment")
        .replacen("{app: web}", "{app: x}", 1)
        .replace("name: web", "name: new");
    for (manifest, expected) in [
        (
            not_matching,
            "The Deployment \"new\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ),
        (
            other("Deployment"),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable",
        ),
        (other("DaemonSet"), "field is immutable"),
        (
            other("StatefulSet"),
            "The StatefulSet \"web\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ),
        (
            with(
                "Deployment",
                "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}",
            ),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            with(
                "Deployment",
                "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}",
            ),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            with(
                "Deployment",
                "progressDeadlineSeconds: 5\n  minReadySeconds: 5",
            ),
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ),
        (
            with("Deployment", "replicas: -1"),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            with(
                "DaemonSet",
                "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}",
            ),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
        ),
        (
            with("StatefulSet", "podManagementPolicy: Any"),
            "must be 'OrderedReady' or 'Parallel'",
        ),
        (
            with(
                "StatefulSet",
                "volumeClaimTemplates: [{metadata: {name: v}}]",
            )
            .replace("name: web}", "name: new}"),
            "spec.volumeClaimTemplates: Forbidden: persistent volume claims are not served",
        ),
        (
            of_kind("ReplicaSet").replace("containers:", "restartPolicy: Never\n      containers:"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            of_kind("ReplicaSet").replace("name: main", "name: Main"),
            "spec.template.spec.containers[0].name: Invalid value: \"Main\": a lowercase RFC 1123 label",
        ),
    ] {
        let refused = server.refused(&["apply", "-f", "-"], &manifest);
        assert!(refused.contains(expected), "{manifest}\n{refused}");
    }
}
