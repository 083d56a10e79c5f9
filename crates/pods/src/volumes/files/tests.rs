use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::desired::Desired;
use crate::downward::Allocatable;
use crate::sources::{Data, Known, Reference};

fn sources() -> Snapshot {
    let present = |data| Known::Present(Arc::new(data));
    let data = Data {
        plain: [
            ("k".to_owned(), b"v".to_vec()),
            ("l".to_owned(), b"w".to_vec()),
        ]
        .into(),
        binary: [("raw".to_owned(), vec![255])].into(),
    };
    let of = |kind, name: &str| Reference {
        kind,
        name: name.to_owned(),
    };
    Snapshot::new([
        (of(Kind::ConfigMap, "m"), present(data.clone())),
        (of(Kind::Secret, "s"), present(data)),
        (of(Kind::ConfigMap, "gone"), Known::Absent),
    ])
}

/// `PATH MODE DATA` of each file of a pod's first volume.
fn of(mut spec: Value, volume: Value) -> Result<Vec<String>, String> {
    let mut volume = volume;
    volume["name"] = "v".into();
    spec["volumes"] = json!([volume]);
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let pod =
        json!({"metadata": {"name": "p", "namespace": "shop", "labels": {"a": "b"}}, "spec": spec});
    let pod = Desired::new(Arc::new(serde_json::from_value(pod).unwrap()));
    let facts = Facts {
        pod: &pod,
        ips: &[],
        host_ips: &[],
        hostname: "p",
        allocatable: Allocatable::default(),
    };
    let mut tokens = Tokens::default();
    let wanted = Wanted {
        audience: None,
        seconds: 3607,
    };
    let expires = Timestamp::from_second(9999).unwrap();
    tokens.hold(wanted, "secret-token", Timestamp::UNIX_EPOCH, expires);
    let planned = super::super::plan(pod.spec());
    let super::super::Kind::Files(content) = &planned[0].kind else {
        panic!("{:?}", planned[0].kind);
    };
    let origin = Origin {
        facts,
        sources: &sources(),
        tokens: &tokens,
    };
    let files = compile(content, origin).map_err(|error| error.to_string())?;
    let line = |(path, file): (&String, &File)| {
        let owner = file
            .owner
            .map_or(String::new(), |owner| format!(" {owner}"));
        format!("{path} {:o}{owner} {}", file.mode, file.data.escape_ascii())
    };
    Ok(files.iter().map(line).collect())
}

#[test]
fn every_key_is_a_file_unless_some_are_named() {
    let cases = [
        (
            json!({"configMap": {"name": "m"}}),
            vec!["k 644 v", "l 644 w", "raw 644 \\xff"],
        ),
        (
            json!({"secret": {"secretName": "s", "defaultMode": 256}}),
            vec!["k 400 v", "l 400 w", "raw 400 \\xff"],
        ),
        (
            json!({"configMap": {"name": "m", "items": [
                {"key": "k", "path": "d/e"}, {"key": "raw", "path": "r", "mode": 448},
            ]}}),
            vec!["d/e 644 v", "r 700 \\xff"],
        ),
        (
            json!({"configMap": {"name": "gone", "optional": true}}),
            vec![],
        ),
        (
            json!({"configMap": {"name": "m", "optional": true, "items": [{"key": "x", "path": "x"}]}}),
            vec![],
        ),
        (
            json!({"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "cpu", "mode": 256, "resourceFieldRef": {"containerName": "c", "resource": "requests.cpu"}},
            ]}}),
            vec!["cpu 400 0", "labels 644 a=\\\"b\\\""],
        ),
    ];
    for (volume, expected) in cases {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(of(json!({}), volume.clone()), Ok(expected), "{volume}");
    }
}

#[test]
fn several_sources_share_a_volume() {
    let volume = json!({"projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "m", "items": [{"key": "k", "path": "ca.crt"}]}},
        {"secret": {"name": "s", "items": [{"key": "l", "path": "l", "mode": 256}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}});
    let files = |spec| of(spec, volume.clone()).unwrap();
    assert_eq!(
        files(json!({})),
        [
            "ca.crt 644 v",
            "l 400 w",
            "namespace 644 shop",
            "token 644 secret-token"
        ]
    );
    let token = |spec| files(spec).pop().unwrap();
    assert_eq!(
        token(json!({"securityContext": {"fsGroup": 5}})),
        "token 600 secret-token"
    );
    let user = json!({"securityContext": {"runAsUser": 7}});
    assert_eq!(token(user.clone()), "token 600 7 secret-token");
    let mut mixed = user;
    mixed["containers"] =
        json!([{"name": "c"}, {"name": "d", "securityContext": {"runAsUser": 8}}]);
    assert_eq!(token(mixed), "token 644 secret-token");
}

#[test]
fn what_cannot_be_had_is_named() {
    let cases = [
        (
            json!({"configMap": {"name": "gone"}}),
            "configmap \"gone\" not found",
        ),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "x", "path": "x"}]}}),
            "configmap references non-existent config key: x",
        ),
        (
            json!({"secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}}),
            "references non-existent secret key: x",
        ),
        (
            json!({"configMap": {"name": "m", "items": [{"key": "k", "path": "../x"}]}}),
            "path \"../x\": expected a relative path without `..`",
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}),
            "failed to fetch token: it has not been asked for",
        ),
    ];
    for (volume, expected) in cases {
        assert_eq!(of(json!({}), volume), Err(expected.to_owned()));
    }
}
