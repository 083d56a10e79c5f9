use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::desired::Desired;
use crate::downward::Allocatable;
use crate::sources::{Known, Reference};

fn pod() -> Desired {
    let object = json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-7"},
        "spec": {"containers": []},
    });
    Desired::new(Arc::new(serde_json::from_value(object).unwrap()))
}

/// A ConfigMap `m`, a Secret `s`, and a ConfigMap that is absent.
fn sources() -> Snapshot {
    let data = |pairs: &[(&str, &str)]| Data {
        plain: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect(),
        binary: [("raw".to_owned(), vec![255])].into(),
    };
    let present = |data| Known::Present(Arc::new(data));
    let of = |kind, name: &str| Reference {
        kind,
        name: name.to_owned(),
    };
    Snapshot::new([
        (
            of(Kind::ConfigMap, "m"),
            present(data(&[("k", "v"), ("a.b", "$(k)")])),
        ),
        (of(Kind::Secret, "s"), present(data(&[("k", "hidden")]))),
        (of(Kind::ConfigMap, "gone"), Known::Absent),
    ])
}

fn of(container: Value) -> Result<Vec<(String, String)>, EnvError> {
    let mut container = container;
    container["name"] = "c".into();
    let container = serde_json::from_value(container).unwrap();
    let pod = pod();
    let facts = Facts {
        pod: &pod,
        ips: &[],
        host_ips: &[],
        hostname: "web-1",
        allocatable: Allocatable::default(),
    };
    let sources = sources();
    let origin = Origin {
        facts,
        sources: &sources,
        api_server: None,
    };
    variables(&container, origin).map(|all| all.into_list()[1..].to_vec())
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).into()
}

#[test]
fn references_are_expanded_as_kubernetes_does() {
    let mut variables = Variables::default();
    variables.set("A", "1".into());
    variables.set("B_C", "two".into());
    let cases = [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B_C)z", "x1ytwoz"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("50$", "50$"),
        ("$()", "$()"),
        ("é$(A)é", "é1é"),
    ];
    for (word, expected) in cases {
        assert_eq!(expand(word, &variables), expected, "{word}");
    }
    assert_eq!(variables.expand_strictly("a/$(A)"), Ok("a/1".into()));
    assert_eq!(variables.expand_strictly("$(A)$(X)"), Err("X".into()));
}

#[test]
fn variables_see_those_before_them_and_replace_their_namesakes() {
    let env = json!([
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "3"},
        {"name": "A", "value": "$(A)0"},
        {"name": "EMPTY"},
    ]);
    let expected = pairs([("A", "10"), ("B", "1$(C)"), ("C", "3"), ("EMPTY", "")]);
    assert_eq!(of(json!({"env": env})), Ok(expected));
}

#[test]
fn values_come_from_objects() {
    let found = of(json!({
        "envFrom": [
            {"configMapRef": {"name": "m"}}, {"prefix": "S_", "secretRef": {"name": "s"}},
            {"configMapRef": {"name": "gone", "optional": true}},
        ],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": true}}},
            {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "x", "optional": true}}},
            {"name": "E", "value": "$(k) $(S_k)"},
        ],
    }));
    let expected = pairs([
        ("a.b", "$(k)"),
        ("k", "v"),
        ("S_k", "hidden"),
        ("A", "v"),
        ("B", "hidden"),
        ("E", "v hidden"),
    ]);
    assert_eq!(found, Ok(expected));
}

#[test]
fn what_has_no_value_is_named() {
    let cases = [
        (
            json!({"configMapKeyRef": {"name": "gone", "key": "k"}}),
            "configmap \"gone\" not found",
        ),
        (
            json!({"configMapKeyRef": {"name": "m", "key": "x"}}),
            "couldn't find key x in ConfigMap shop/m",
        ),
        (
            json!({"configMapKeyRef": {"name": "m", "key": "raw"}}),
            "couldn't find key raw in ConfigMap shop/m",
        ),
        (
            json!({"secretKeyRef": {"name": "s", "key": "x"}}),
            "couldn't find key x in Secret shop/s",
        ),
        (
            json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}),
            "env V: valueFrom.fileKeyRef is not supported yet",
        ),
        (
            json!({"fieldRef": {"fieldPath": "spec.x"}}),
            "env V: fieldRef spec.x: expected metadata.name",
        ),
    ];
    for (source, expected) in cases {
        let error = of(json!({"env": [{"name": "V", "valueFrom": source}]}))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = of(json!({"envFrom": [{"configMapRef": {"name": "gone"}}]})).unwrap_err();
    assert_eq!(error.to_string(), "configmap \"gone\" not found");
}
