use serde_json::json;

use super::*;

fn of(spec: Value) -> Review {
    review(&serde_json::from_value(spec).unwrap())
}

#[test]
fn an_ordinary_pod_has_nothing_to_complain_about() {
    let spec = json!({
        "volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}, {"name": "b", "hostPath": {"path": "/x"}}],
        "initContainers": [{"name": "i", "image": "x"}],
        "containers": [{
            "name": "c", "image": "x", "terminationMessagePath": "/dev/termination-log",
            "volumeMounts": [{"name": "a", "mountPath": "/a"}],
            "ports": [{"containerPort": 80}],
        }],
    });
    assert_eq!(of(spec), Review::default());
}

#[test]
fn what_would_change_the_meaning_is_refused() {
    let cases = [
        (
            json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
            "volume v: type nfs",
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}]}),
            "volume v: medium HugePages",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}]}),
            "volume v: projected clusterTrustBundle",
        ),
        (json!({"hostUsers": false}), "hostUsers: false"),
        (
            json!({"containers": [{"name": "c", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]}),
            "container c: restartPolicyRules with the action RestartAllContainers",
        ),
    ];
    for (mut spec, expected) in cases {
        if spec.get("containers").is_none() {
            spec["containers"] = json!([]);
        }
        assert_eq!(
            of(spec).refused,
            [format!("{expected} is not supported yet")]
        );
    }
}

#[test]
fn names_that_would_leave_the_folder_are_refused() {
    let spec =
        json!({"volumes": [{"name": "../x", "emptyDir": {}}], "containers": [{"name": "a/b"}]});
    let words = [
        "name \"../x\" is not a DNS label",
        "name \"a/b\" is not a DNS label",
    ];
    assert_eq!(of(spec).refused, words);
}

#[test]
fn what_is_merely_lost_is_said() {
    let spec = json!({
        "containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 2}]}],
        "securityContext": {"seLinuxOptions": {"level": "s0"}},
    });
    let found = of(spec);
    assert!(found.refused.is_empty(), "{found:?}");
    assert_eq!(
        found.ignored,
        ["securityContext.seLinuxOptions is not supported yet and is ignored"]
    );
}
