//! Conditions about writes: the variables that they know, and what they say when they fail.

use sealane_structural::{Admission, Condition, Undecided};
use serde_json::{Value, json};

fn held(text: &str, object: &Value, old_object: &Value, budget: u64) -> Result<bool, Undecided> {
    let request = json!({
        "uid": "u", "operation": "UPDATE", "name": "a", "namespace": "shop", "dryRun": false,
        "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
        "resource": { "group": "apps", "version": "v1", "resource": "deployments" },
        "userInfo": { "username": "system:node:n1", "groups": ["system:nodes"], "extra": { "k": ["v"] } },
        "options": { "fieldManager": "kubectl" },
    });
    let condition = Condition::compile(text).unwrap();
    let of = Admission {
        object,
        old_object,
        request: &request,
    };
    let mut budget = budget;
    condition.holds(&of, &mut budget)
}

#[test]
fn conditions_know_the_objects_and_the_request() {
    let old =
        json!({ "metadata": { "name": "a" }, "spec": { "replicas": 2, "share": 0.5, "on": true } });
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(3);
    new["spec"]["ports"] = json!([{ "port": 80, "name": "web" }, { "port": 443 }]);
    for (text, expected) in [
        ("object.spec.replicas > oldObject.spec.replicas", true),
        (
            "object.spec.replicas + 1 == 4 && object.spec.share < 1",
            true,
        ),
        (
            "object.spec.ports.exists(p, has(p.name) && p.name.startsWith('w'))",
            true,
        ),
        ("object.spec.ports.map(p, p.port) == [80, 443]", true),
        ("object.spec.ports[1].port in [443]", true),
        ("has(object.metadata.labels)", false),
        (
            "object.?metadata.?labels.?team.orValue('none') == 'none'",
            true,
        ),
        ("object == oldObject", false),
        ("object.metadata == oldObject.metadata", true),
        ("oldObject != null && object.spec.on", true),
        ("!(request.resource.group == 'coordination.k8s.io')", true),
        ("!('system:nodes' in request.userInfo.groups)", false),
        ("request.userInfo.extra['k'] == ['v']", true),
        ("request.operation == 'UPDATE' && !request.dryRun", true),
        ("has(request.subResource)", false),
        ("request.options.fieldManager == 'kubectl'", true),
        ("  request.namespace != 'kube-system'\n", true),
    ] {
        let said = held(text, &new, &old, Condition::BUDGET);
        assert_eq!(said, Ok(expected), "{text}");
    }
    let said = held("object == null", &Value::Null, &old, Condition::BUDGET);
    assert_eq!(said, Ok(true));
}

#[test]
fn what_is_no_condition_is_refused() {
    for (text, expected) in [
        ("1 + 1", "must evaluate to bool but got int"),
        ("object.spec.on", "must evaluate to bool but got dyn"),
        (
            "request.object == null",
            "compilation failed: ERROR: <input>:1:8: undefined field 'object'\n | request.object == null\n | .......^",
        ),
        (
            "self.a",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'self' (in container '')\n | self.a\n | ^",
        ),
        (
            "true &&",
            "compilation failed: ERROR: <input>:1:8: Syntax error",
        ),
        (
            "!authorizer.group('x').resource('y').check('z').allowed()",
            "authorizer is not known to this API server: ask for request.userInfo",
        ),
    ] {
        let why = Condition::compile(text).unwrap_err();
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn what_cannot_be_decided_says_why() {
    let object = json!({ "spec": { "n": 1, "s": "x" } });
    let say = |text: &str, budget| {
        held(text, &object, &Value::Null, budget)
            .unwrap_err()
            .to_string()
    };
    for (text, expected) in [
        ("object.spec.m == 1", "no such key: m"),
        ("object.spec.s < 1", "no such overload"),
        ("oldObject.spec.n == 1", "no such overload"),
        ("object.spec.n / 0 == 1", "division by zero"),
    ] {
        let expected = format!("expression '{text}' resulted in error: {expected}");
        assert_eq!(say(text, Condition::BUDGET), expected);
    }
    let spent = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(say("object.spec.n == 1", 2), spent);
    // Not decided by what fails if something else decides.
    let said = held(
        "object.spec.m == 1 || true",
        &object,
        &Value::Null,
        Condition::BUDGET,
    );
    assert_eq!(said, Ok(true));
}
