//! What must hold of one container: its probes and hooks, its variables' sources, its rights.

use serde_json::{Value, json};

use super::volumes::field_reference;
use crate::check::{Findings, format};

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";

/// Finds what is wrong with the container at `at`.
pub fn validate(at: &str, container: &Value, is_init: bool, findings: &mut Findings) {
    let policy = &container["restartPolicy"];
    if !is_init && !policy.is_null() {
        let why = "may not be set for non-init containers";
        findings.forbidden(format!("{at}.restartPolicy"), why);
    }
    if is_init && !policy.is_null() && policy != "Always" {
        findings.unsupported(format!("{at}.restartPolicy"), policy, &["Always"]);
    }
    let lasts = !is_init || policy == "Always";
    for name in PROBES.into_iter().chain(["lifecycle"]) {
        if !container[name].is_null() && !lasts {
            findings.forbidden(format!("{at}.{name}"), ONLY_SIDECARS);
        }
    }
    for name in PROBES
        .into_iter()
        .filter(|name| !container[*name].is_null())
    {
        probe(&format!("{at}.{name}"), name, &container[name], findings);
    }
    for name in ["postStart", "preStop"] {
        let hook = &container["lifecycle"][name];
        if !hook.is_null() {
            handler(
                &format!("{at}.lifecycle.{name}"),
                hook,
                &HOOK_HANDLERS,
                findings,
            );
        }
    }
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let at = format!("{at}.env[{index}].valueFrom");
        variable_source(&at, &variable["valueFrom"], findings);
    }
    for (index, from) in items(&container["envFrom"]).iter().enumerate() {
        variables(&format!("{at}.envFrom[{index}]"), from, findings);
    }
    resource_names(at, &container["resources"], findings);
    rights(
        &format!("{at}.securityContext"),
        &container["securityContext"],
        findings,
    );
}

fn probe(at: &str, name: &str, probe: &Value, findings: &mut Findings) {
    handler(at, probe, &PROBE_HANDLERS, findings);
    let successes = &probe["successThreshold"];
    if name != "readinessProbe" && successes.as_i64().is_some_and(|count| count != 1) {
        findings.invalid(format!("{at}.successThreshold"), successes, "must be 1");
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    let field = format!("{at}.terminationGracePeriodSeconds");
    if name == "readinessProbe" && !grace.is_null() {
        findings.invalid(field, grace, "must not be set for readinessProbes");
    } else if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        findings.invalid(field, grace, "must be greater than 0");
    }
}

/// Exactly one way to ask or to act.
fn handler(at: &str, holder: &Value, known: &[&str], findings: &mut Findings) {
    let mut given = known.iter().filter(|name| !holder[**name].is_null());
    let Some(name) = given.next() else {
        return findings.required(at, "must specify a handler type");
    };
    for other in given {
        let why = "may not specify more than 1 handler type";
        findings.forbidden(format!("{at}.{other}"), why);
    }
    let action = &holder[*name];
    let at = format!("{at}.{name}");
    match *name {
        "exec" if items(&action["command"]).is_empty() => {
            findings.required(format!("{at}.command"), "");
        }
        "httpGet" | "tcpSocket" | "grpc" => port(&format!("{at}.port"), &action["port"], findings),
        _ => {}
    }
}

fn port(field: &str, port: &Value, findings: &mut Findings) {
    match port {
        Value::String(name) => format::port_name(name)
            .into_iter()
            .for_each(|why| findings.invalid(field, port, why)),
        number
            if !number
                .as_i64()
                .is_some_and(|number| (1..=65535).contains(&number)) =>
        {
            findings.invalid(field, number, "must be between 1 and 65535, inclusive");
        }
        _ => {}
    }
}

fn variable_source(at: &str, source: &Value, findings: &mut Findings) {
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let reference = &source[kind];
        if reference.is_null() {
            continue;
        }
        for part in ["name", "key"] {
            if text(&reference[part]).is_empty() {
                findings.required(format!("{at}.{kind}.{part}"), "");
            }
        }
    }
    if !source["fieldRef"].is_null() {
        field_reference(
            &format!("{at}.fieldRef"),
            &source["fieldRef"],
            true,
            findings,
        );
    }
}

fn variables(at: &str, from: &Value, findings: &mut Findings) {
    let prefix = text(&from["prefix"]);
    if !prefix.is_empty() {
        for why in format::env_name(prefix) {
            findings.invalid(format!("{at}.prefix"), &from["prefix"], why);
        }
    }
    let given: Vec<&str> = ["configMapRef", "secretRef"]
        .into_iter()
        .filter(|kind| !from[*kind].is_null())
        .collect();
    match given.as_slice() {
        [] => findings.invalid(
            at,
            &json!(""),
            "must specify one of: `configMapRef` or `secretRef`",
        ),
        [one] if text(&from[*one]["name"]).is_empty() => {
            findings.required(format!("{at}.{one}.name"), "");
        }
        [_] => {}
        _ => findings.invalid(
            at,
            &json!(""),
            "may not have more than one field specified at a time",
        ),
    }
}

fn resource_names(at: &str, resources: &Value, findings: &mut Findings) {
    for list in ["limits", "requests"] {
        for name in resources[list]
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
        {
            let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str());
            if !standard && !name.starts_with("hugepages-") && !name.contains('/') {
                let field = format!("{at}.resources.{list}[{name}]");
                findings.invalid(
                    field,
                    &json!(name),
                    "must be a standard resource for containers",
                );
            }
        }
    }
}

fn rights(at: &str, context: &Value, findings: &mut Findings) {
    for field in ["runAsUser", "runAsGroup"] {
        let id = &context[field];
        if id
            .as_i64()
            .is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id))
        {
            let why = "must be between 0 and 2147483647, inclusive";
            findings.invalid(format!("{at}.{field}"), id, why);
        }
    }
    if context["allowPrivilegeEscalation"] == json!(false) && context["privileged"] == json!(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        findings.invalid(at, context, why);
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(container: Value, is_init: bool) -> String {
        let mut findings = Findings::default();
        validate("c", &container, is_init, &mut findings);
        if findings.is_empty() {
            String::new()
        } else {
            findings.to_string()
        }
    }

    #[test]
    fn containers_are_judged() {
        let exec = json!({"exec": {"command": ["true"]}});
        for (container, expected) in [
            (
                json!({"livenessProbe": exec, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
                "",
            ),
            (
                json!({"livenessProbe": {}}),
                "c.livenessProbe: Required value: must specify a handler type",
            ),
            (
                json!({"readinessProbe": {"exec": {"command": ["a"]}, "grpc": {"port": 1}}}),
                "c.readinessProbe.grpc: Forbidden: may not specify more than 1 handler type",
            ),
            (
                json!({"startupProbe": {"exec": {}}}),
                "c.startupProbe.exec.command: Required value",
            ),
            (
                json!({"livenessProbe": {"httpGet": {"port": 0}}}),
                "c.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
                "c.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ),
            (
                json!({"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 2}}),
                "c.readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes",
            ),
            (
                json!({"restartPolicy": "Always"}),
                "c.restartPolicy: Forbidden: may not be set for non-init containers",
            ),
            (
                json!({"env": [{"valueFrom": {"configMapKeyRef": {"name": "m"}}}]}),
                "c.env[0].valueFrom.configMapKeyRef.key: Required value",
            ),
            (
                json!({"env": [{"valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                "c.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
            ),
            (
                json!({"envFrom": [{}]}),
                "c.envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ),
            (
                json!({"resources": {"limits": {"cores": "1", "x.io/gpu": "1"}}}),
                "c.resources.limits[cores]: Invalid value: \"cores\": must be a standard resource for containers",
            ),
            (
                json!({"securityContext": {"runAsUser": -1}}),
                "c.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ),
        ] {
            assert_eq!(found(container.clone(), false), expected, "{container}");
        }
    }

    #[test]
    fn only_sidecars_among_init_containers_have_probes_and_hooks() {
        let probe = json!({"exec": {"command": ["true"]}});
        assert_eq!(
            found(json!({"readinessProbe": probe}), true),
            format!("c.readinessProbe: Forbidden: {ONLY_SIDECARS}")
        );
        assert_eq!(
            found(
                json!({"readinessProbe": probe, "restartPolicy": "Always"}),
                true
            ),
            ""
        );
        assert_eq!(
            found(json!({"restartPolicy": "Never"}), true),
            "c.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
        );
    }
}
