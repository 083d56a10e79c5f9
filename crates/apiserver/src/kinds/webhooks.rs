//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: which programs are asked before
//! what is written.

use base64::Engine as _;
use http::Uri;
use k8s_openapi::api::admissionregistration::v1 as admission;
use serde_json::Value;

use super::{
    Generation, Kind, PLAIN,
    column::{AGE, Cell, Column, NAME, number},
    defaults::fill,
    label_selector, typed,
};
use crate::check::{Findings, format};

const EITHER: Kind = Kind {
    group: "admissionregistration.k8s.io",
    namespaced: false,
    complete,
    validate: |object, findings| {
        let hooks = object["webhooks"].as_array();
        for (index, hook) in hooks.into_iter().flatten().enumerate() {
            validate(&format!("webhooks[{index}]"), hook, findings);
        }
        unique_names(object, findings);
    },
    columns: &[NAME, WEBHOOKS, AGE],
    generation: Generation::Spec,
    ..PLAIN
};

pub static MUTATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    decode: typed::<admission::MutatingWebhookConfiguration>,
    defaults: &[("webhooks[].reinvocationPolicy", "\"Never\"")],
    ..EITHER
};

pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    decode: typed::<admission::ValidatingWebhookConfiguration>,
    ..EITHER
};

const WEBHOOKS: Column = number(
    "Webhooks",
    Cell::Count("webhooks"),
    "How many webhooks it has.",
);

const DEFAULTS: &[(&str, &str)] = &[
    ("webhooks[].failurePolicy", "\"Fail\""),
    ("webhooks[].matchPolicy", "\"Equivalent\""),
    ("webhooks[].namespaceSelector", "{}"),
    ("webhooks[].objectSelector", "{}"),
    ("webhooks[].timeoutSeconds", "10"),
    ("webhooks[].rules[].scope", "\"*\""),
    ("webhooks[].clientConfig.service.port", "443"),
];

fn complete(object: &mut Value) {
    fill(DEFAULTS, object);
}

fn unique_names(object: &Value, findings: &mut Findings) {
    let hooks = object["webhooks"].as_array();
    let mut seen = Vec::new();
    for (index, hook) in hooks.into_iter().flatten().enumerate() {
        if seen.contains(&&hook["name"]) {
            findings.duplicate(format!("webhooks[{index}].name"), &hook["name"]);
        }
        seen.push(&hook["name"]);
    }
}

fn validate(at: &str, hook: &Value, findings: &mut Findings) {
    let name = text(&hook["name"]);
    for why in format::dns_subdomain(name) {
        findings.invalid(format!("{at}.name"), &hook["name"], why);
    }
    if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        findings.invalid(format!("{at}.name"), &hook["name"], why);
    }
    reviews(at, &hook["admissionReviewVersions"], findings);
    for (index, rule) in items(&hook["rules"]).iter().enumerate() {
        validate_rule(&format!("{at}.rules[{index}]"), rule, findings);
    }
    for (field, known) in [
        ("failurePolicy", &["Fail", "Ignore"]),
        ("matchPolicy", &["Equivalent", "Exact"]),
        ("sideEffects", &["None", "NoneOnDryRun"]),
        ("reinvocationPolicy", &["IfNeeded", "Never"]),
    ] {
        let value = &hook[field];
        if field == "sideEffects" && value.is_null() {
            let why = "must specify one of None, NoneOnDryRun";
            findings.required(format!("{at}.{field}"), why);
        } else if !value.is_null() && !known.contains(&text(value)) {
            findings.unsupported(format!("{at}.{field}"), value, known);
        }
    }
    let seconds = &hook["timeoutSeconds"];
    if seconds
        .as_i64()
        .is_some_and(|seconds| !(1..=30).contains(&seconds))
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        findings.invalid(format!("{at}.timeoutSeconds"), seconds, why);
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector::validate(&format!("{at}.{selector}"), &hook[selector], findings);
    }
    let conditions = &hook["matchConditions"];
    crate::webhooks::validate_conditions(&format!("{at}.matchConditions"), conditions, findings);
    client(
        &format!("{at}.clientConfig"),
        &hook["clientConfig"],
        findings,
    );
}

fn reviews(at: &str, versions: &Value, findings: &mut Findings) {
    let at = format!("{at}.admissionReviewVersions");
    if items(versions).is_empty() {
        let why = "must specify one of v1, v1beta1";
        findings.required(at, why);
    } else if !items(versions).iter().any(|version| version == "v1") {
        findings.invalid(at, versions, "must include at least one of v1");
    }
}

fn validate_rule(at: &str, rule: &Value, findings: &mut Findings) {
    for list in ["operations", "apiGroups", "apiVersions", "resources"] {
        if items(&rule[list]).is_empty() {
            findings.required(format!("{at}.{list}"), "");
        }
        if items(&rule[list]).len() > 1
            && list != "resources"
            && items(&rule[list]).iter().any(|one| one == "*")
        {
            let why = "if '*' is present, must not specify other values";
            findings.invalid(format!("{at}.{list}"), &rule[list], why);
        }
    }
    for (index, operation) in items(&rule["operations"]).iter().enumerate() {
        let known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        if !known.contains(&text(operation)) {
            findings.unsupported(format!("{at}.operations[{index}]"), operation, &known);
        }
    }
    for (index, resource) in items(&rule["resources"]).iter().enumerate() {
        if text(resource).ends_with("/token") {
            let why = "webhooks are not asked about tokens";
            findings.forbidden(format!("{at}.resources[{index}]"), why);
        }
    }
    let scopes = ["*", "Cluster", "Namespaced"];
    if !rule["scope"].is_null() && !scopes.contains(&text(&rule["scope"])) {
        findings.unsupported(format!("{at}.scope"), &rule["scope"], &scopes);
    }
}

fn client(at: &str, config: &Value, findings: &mut Findings) {
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        return findings.required(at, "exactly one of url or service is required");
    }
    if let Some(url) = url.as_str() {
        validate_url(&format!("{at}.url"), url, findings);
    }
    if service.is_object() {
        for part in ["name", "namespace"] {
            if text(&service[part]).is_empty() {
                findings.required(format!("{at}.service.{part}"), "");
            }
        }
        let port = &service["port"];
        if port
            .as_i64()
            .is_some_and(|port| !(1..=65535).contains(&port))
        {
            let why = "port is not valid: must be between 1 and 65535, inclusive";
            findings.invalid(format!("{at}.service.port"), port, why);
        }
    }
    let bundle = text(&config["caBundle"]);
    let decoded = base64::engine::general_purpose::STANDARD.decode(bundle);
    let read = decoded.map_err(|cause| cause.to_string());
    let read = read.and_then(|bytes| crate::webhooks::authorities(&bytes).map(drop));
    if let (false, Err(why)) = (bundle.is_empty(), read) {
        let why = format!("unable to load root certificates: {why}");
        findings.invalid(format!("{at}.caBundle"), &config["caBundle"], why);
    }
}

fn validate_url(at: &str, url: &str, findings: &mut Findings) {
    const FORMAT: &str = "desired format: https://host[:port]/path";
    let value = Value::from(url);
    let Ok(parsed) = url.parse::<Uri>() else {
        let why = format!("url must be a valid URL: it cannot be parsed; {FORMAT}");
        return findings.required(at, &why);
    };
    if parsed.scheme_str() != Some("https") {
        let why = format!("'https' is the only allowed URL scheme; {FORMAT}");
        findings.invalid(at, &value, why);
    }
    if parsed.host().unwrap_or("").is_empty() {
        findings.invalid(at, &value, format!("host must be specified; {FORMAT}"));
    }
    if parsed
        .authority()
        .is_some_and(|one| one.as_str().contains('@'))
    {
        let why = "user information is not permitted in the URL";
        findings.invalid(at, &value, why);
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
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_webhook_cannot_be_is_said() {
        let found = |change: Value| {
            let mut hook = json!({
                "name": "w.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": "https://x/y"},
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            });
            for (name, value) in change.as_object().unwrap() {
                hook[name] = value.clone();
            }
            let mut object = json!({"webhooks": [hook]});
            complete(&mut object);
            let mut findings = Findings::default();
            (MUTATING_WEBHOOK_CONFIGURATION.validate)(&object, &mut findings);
            findings.to_string()
        };
        let rule = |operations: Value| json!({"rules": [{"operations": operations, "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
        for (change, expected) in [
            (json!({}), "[]"),
            (
                json!({"name": "short"}),
                "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three \
                 segments separated by dots",
            ),
            (
                json!({"sideEffects": "Some"}),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \
                 \"NoneOnDryRun\"",
            ),
            (
                json!({"admissionReviewVersions": ["v1beta1"]}),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v1beta1\"]: must include at \
                 least one of v1",
            ),
            (
                json!({"timeoutSeconds": 31}),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 \
                 and 30 seconds",
            ),
            (
                json!({"clientConfig": {}}),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                json!({"clientConfig": {"url": "http://x"}}),
                "webhooks[0].clientConfig.url: Invalid value: \"http://x\": 'https' is the only \
                 allowed URL scheme; desired format: https://host[:port]/path",
            ),
            (
                json!({"clientConfig": {"url": "https://x", "caBundle": "YQ=="}}),
                "webhooks[0].clientConfig.caBundle: Invalid value: \"YQ==\": unable to load root \
                 certificates: there is no PEM certificate in the caBundle",
            ),
            (rule(json!(["CONNECT"])), "[]"),
            (
                rule(json!(["READ"])),
                "webhooks[0].rules[0].operations[0]: Unsupported value: \"READ\": supported \
                 values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            ),
            (
                json!({"matchConditions": [{"name": "a", "expression": "true"}, {"name": "b", "expression": "1"}]}),
                "webhooks[0].matchConditions[1].expression: Invalid value: \"1\": must evaluate to \
                 bool but got int",
            ),
        ] {
            assert_eq!(found(change), expected);
        }
    }
}
