//! ConfigMap, Secret, ServiceAccount.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::{
    Kind, PLAIN, Subresource,
    column::{AGE, Cell, NAME, column, number},
    typed,
};
use crate::check::{Check, Findings, Rule, format};

const DATA_MAX_BYTES: usize = 1 << 20;

pub static CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    decode: typed::<core::ConfigMap>,
    validate: |object, findings| {
        keys(object, &["data", "binaryData"], findings);
        let both = object["data"].as_object().into_iter().flatten();
        for (key, _) in both.filter(|(key, _)| !object["binaryData"][key.as_str()].is_null()) {
            findings.invalid(
                format!("data[{key}]"),
                &json!(key),
                "duplicate of key present in binaryData",
            );
        }
    },
    validate_update: |new, old, findings| frozen(new, old, &["data", "binaryData"], findings),
    columns: &[
        NAME,
        number(
            "Data",
            Cell::Of(|object, _| entries(object, &["data", "binaryData"])),
            "Number of entries.",
        ),
        AGE,
    ],
    ..PLAIN
};

pub static SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    decode: typed::<core::Secret>,
    complete: |object| {
        // stringData is for writing only: it is moved to data, encoded.
        let texts = object
            .as_object_mut()
            .and_then(|map| map.remove("stringData"));
        for (key, value) in texts
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            use base64::Engine as _;
            let text = value.as_str().unwrap_or("");
            let encoded = base64::engine::general_purpose::STANDARD.encode(text);
            object["data"][key] = encoded.into();
        }
    },
    defaults: &[("type", "\"Opaque\"")],
    validate: |object, findings| {
        keys(object, &["data"], findings);
        for (of, required) in REQUIRED_KEYS {
            if object["type"] == *of {
                for key in required
                    .iter()
                    .filter(|key| object["data"][**key].is_null())
                {
                    findings.required(format!("data[{key}]"), "");
                }
            }
        }
    },
    validate_update: |new, old, findings| frozen(new, old, &["data"], findings),
    immutable: &["type"],
    fields: &[("type", "type")],
    columns: &[
        NAME,
        column("Type", Cell::Path("type"), "What the data is for."),
        number("Data", Cell::Count("data"), "Number of entries."),
        AGE,
    ],
    ..PLAIN
};

const REQUIRED_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

pub static SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource::Token],
    decode: typed::<core::ServiceAccount>,
    rules: &[Rule(
        "imagePullSecrets[].name",
        Check::Format(format::dns_subdomain),
    )],
    columns: &[
        NAME,
        number("Secrets", Cell::Count("secrets"), "Number of secrets."),
        AGE,
    ],
    returns_deleted: true,
    ..PLAIN
};

fn entries(object: &Value, parts: &[&str]) -> Value {
    parts
        .iter()
        .map(|part| object[*part].as_object().map_or(0, |map| map.len()))
        .sum::<usize>()
        .into()
}

fn keys(object: &Value, parts: &[&str], findings: &mut Findings) {
    let mut total = 0;
    for part in parts {
        for (key, value) in object[*part].as_object().into_iter().flatten() {
            total += value.as_str().map_or(0, str::len);
            for why in format::config_key(key) {
                findings.invalid(format!("{part}[{key}]"), &json!(key), why);
            }
        }
    }
    if total > DATA_MAX_BYTES {
        findings.too_long(parts[0], DATA_MAX_BYTES);
    }
}

/// An object that says it is immutable keeps its data, and stays so.
fn frozen(new: &Value, old: &Value, parts: &[&str], findings: &mut Findings) {
    if old["immutable"] != json!(true) {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != json!(true) {
        findings.forbidden("immutable", why);
    }
    for part in parts.iter().filter(|part| new[**part] != old[**part]) {
        findings.forbidden(*part, why);
    }
}
