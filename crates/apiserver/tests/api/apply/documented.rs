//! The cases of the Kubernetes documentation's page on server-side apply, by raw requests.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{MAP, MERGE, YAML, apply, get, map, names, owners};
use crate::{harness::Server, requests::send};

#[tokio::test]
async fn a_configuration_makes_an_object_and_owns_its_fields() {
    let server = Server::start();
    let client = server.client().await;
    let config = map(&json!({"key": "some value"}));
    let (status, made) = apply(&client, MAP, "one", &config).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let expected = json!({"f:data": {"f:key": {}}});
    assert_eq!(owners(&made), [("one Apply".into(), expected)]);
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "v1");
    // The same again changes nothing, not even a version or a time.
    let (status, again) = apply(&client, MAP, "one", &config).await;
    assert_eq!((status, &again), (StatusCode::OK, &made));
    // Nor does a dry run, which shows what would be.
    let other = map(&json!({"key": "another", "more": "x"}));
    let (status, tried) = apply(&client, &format!("{MAP}?dryRun=All"), "one", &other).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(tried["data"], json!({"key": "another", "more": "x"}));
    assert_eq!(get(&client, MAP).await, made);
    let absent = MAP.replace("settings", "absent");
    let (mut config, dry) = (config, format!("{absent}?dryRun=All"));
    config["metadata"]["name"] = json!("absent");
    let (status, _) = apply(&client, &dry, "one", &config).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, _) = send(&client, Method::GET, &absent, "", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn conflicts_name_the_fields_and_their_owners() {
    let server = Server::start();
    let client = server.client().await;
    apply(&client, MAP, "one", &map(&json!({"a": "1", "b": "1"}))).await;
    let path = format!("{MAP}?fieldManager=two");
    let patch = json!({"data": {"c": "2"}, "metadata": {"labels": {"l": "2"}}});
    send(&client, Method::PATCH, &path, MERGE, patch.to_string()).await;

    let one = map(&json!({"a": "3"}));
    let (status, refused) = apply(&client, MAP, "three", &one).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = "Apply failed with 1 conflict: conflict with \"one\": .data.a";
    assert_eq!(
        (&refused["message"], &refused["reason"]),
        (&json!(message), &json!("Conflict"))
    );
    assert_eq!(
        refused["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a",
        }])
    );
    let many = map(&json!({"a": "3", "b": "3", "c": "3"}));
    let (_, refused) = apply(&client, MAP, "three", &many).await;
    assert_eq!(
        refused["message"],
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b\n\
         conflicts with \"two\" using v1:\n- .data.c"
    );

    // Overwrite the values and become the only owner.
    let (status, forced) = apply(&client, &format!("{MAP}?force=true"), "three", &many).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(forced["data"], json!({"a": "3", "b": "3", "c": "3"}));
    assert_eq!(names(&forced), ["three Apply", "two Update"]);
    let two = json!({"f:data": {}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}});
    let entry = &owners(&forced)[1].1;
    assert_eq!(entry["f:metadata"], two["f:metadata"]);

    // Leave the field to the other: take it out of the configuration, and it stays as it is.
    let (_, left) = apply(&client, MAP, "three", &map(&json!({"a": "3"}))).await;
    assert_eq!(left["data"], json!({"a": "3"}));
    // Become a further owner: apply the value that it has.
    let (status, shared) = apply(&client, MAP, "four", &map(&json!({"a": "3"}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(names(&shared), ["four Apply", "three Apply", "two Update"]);
    // It goes when nobody owns it any longer.
    let (_, one_left) = apply(&client, MAP, "three", &map(&json!({}))).await;
    assert_eq!(one_left["data"], json!({"a": "3"}));
    let (_, none_left) = apply(&client, MAP, "four", &map(&json!({}))).await;
    assert!(none_left["data"]["a"].is_null(), "{none_left}");
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/nginx";

fn nginx(replicas: Option<i64>) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "nginx", "labels": {"app": "nginx"}},
        "spec": {
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:1.14.2"}]},
            },
        },
    });
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = json!(replicas);
    }
    deployment
}

/// "Transferring ownership": replicas go from the user to whoever scales.
#[tokio::test]
async fn replicas_are_handed_over() {
    let server = Server::start();
    let client = server.client().await;
    let (status, made) = apply(&client, DEPLOYMENT, "user", &nginx(Some(3))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    // The naive way: leaving them out resets them to the default.
    let (_, reset) = apply(&client, DEPLOYMENT, "user", &nginx(None)).await;
    assert_eq!(reset["spec"]["replicas"], 1);
    // With the scaler as an owner first, they stay.
    apply(
        &client,
        &format!("{DEPLOYMENT}?force=true"),
        "user",
        &nginx(Some(3)),
    )
    .await;
    let handover = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nginx"},
        "spec": {"replicas": 3},
    });
    let (status, _) = apply(&client, DEPLOYMENT, "handover", &handover).await;
    assert_eq!(status, StatusCode::OK);
    let (_, kept) = apply(&client, DEPLOYMENT, "user", &nginx(None)).await;
    assert_eq!(kept["spec"]["replicas"], 3);
    let scale = format!("{DEPLOYMENT}/scale?fieldManager=hpa");
    let five = json!({"spec": {"replicas": 5}});
    let (status, scaled) = send(&client, Method::PATCH, &scale, MERGE, five.to_string()).await;
    assert_eq!(
        (status, &scaled["spec"]["replicas"]),
        (StatusCode::OK, &json!(5))
    );
    let object = get(&client, DEPLOYMENT).await;
    assert_eq!(names(&object), ["hpa Update scale", "user Apply"]);
    assert_eq!(owners(&object)[0].1, json!({"f:spec": {"f:replicas": {}}}));
    // The scale can be applied too, and conflicts as the field that it is.
    let applied = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "nginx"},
        "spec": {"replicas": 6},
    });
    let scale = format!("{DEPLOYMENT}/scale");
    let (status, refused) = apply(&client, &scale, "other", &applied).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let message = "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" \
                   using apps/v1: .spec.replicas";
    assert_eq!(refused["message"], message);
    let (status, scaled) = apply(&client, &format!("{scale}?force=true"), "other", &applied).await;
    assert_eq!(
        (status, &scaled["spec"]["replicas"]),
        (StatusCode::OK, &json!(6))
    );
    let object = get(&client, DEPLOYMENT).await;
    assert_eq!(names(&object), ["other Apply scale", "user Apply"]);
}

/// List types: elements told apart by keys or by values, lists that are one value.
#[tokio::test]
async fn lists_merge_by_their_type() {
    let server = Server::start();
    let client = server.client().await;
    let path = "/api/v1/namespaces/default/services/web";
    let service = |ports: Value, finalizers: Value| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "finalizers": finalizers},
            "spec": {"ports": ports},
        })
    };
    let first = service(json!([{"name": "a", "port": 80}]), json!(["x.io/one"]));
    apply(&client, path, "one", &first).await;
    // The protocol that was not said is part of the key.
    let second = service(
        json!([
            {"name": "b", "port": 80, "protocol": "UDP"},
            {"name": "a", "port": 80, "protocol": "TCP"},
        ]),
        json!(["x.io/two"]),
    );
    let (status, both) = apply(&client, path, "two", &second).await;
    assert_eq!(status, StatusCode::OK, "{both}");
    let ports: Vec<&Value> = both["spec"]["ports"].as_array().unwrap().iter().collect();
    let shown: Vec<String> = ports
        .iter()
        .map(|port| format!("{}{}", port["name"], port["protocol"]))
        .collect();
    assert_eq!(shown, ["\"b\"\"UDP\"", "\"a\"\"TCP\""]);
    let finalizers = &both["metadata"]["finalizers"];
    assert_eq!(finalizers, &json!(["x.io/one", "x.io/two"]));
    assert_eq!(
        owners(&both)[0].1,
        json!({
            "f:metadata": {"f:finalizers": {"v:\"x.io/one\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {
                ".": {}, "f:name": {}, "f:port": {},
            }}},
        })
    );
    let none = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}});
    let (_, left) = apply(&client, path, "two", &none).await;
    assert_eq!(left["spec"]["ports"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["metadata"]["finalizers"], json!(["x.io/one"]));
    let doubled = service(json!([{"port": 1}, {"port": 1}]), json!([]));
    let (status, refused) = apply(&client, path, "two", &doubled).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        refused["message"],
        "failed to create typed patch object (default/web; /v1, Kind=Service): .spec.ports: \
         duplicate entries for key [port=1,protocol=\"TCP\"]"
    );
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused_by_name() {
    let server = Server::start();
    let client = server.client().await;
    let good = map(&json!({"a": "1"}));
    let (status, made) = apply(&client, MAP, "one", &good).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let with = |place: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(place).unwrap() = value;
        config.to_string()
    };
    let mut managed = good.clone();
    managed["metadata"]["managedFields"] = json!([{}]);
    let mut stale = good.clone();
    stale["metadata"]["resourceVersion"] = json!("1");
    let mut unknown = good.clone();
    unknown["nothing"] = json!(1);
    let mut foreign = good.clone();
    foreign["metadata"]["uid"] = json!("u");
    let long = format!("?fieldManager={}", "m".repeat(129));
    for (query, media, body, code, words) in [
        (
            "",
            YAML,
            good.to_string(),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            &long,
            YAML,
            good.to_string(),
            422,
            "fieldManager: Too long: may not be more than 128 bytes",
        ),
        (
            "?fieldManager=a%0a",
            YAML,
            good.to_string(),
            422,
            "should only contain printable characters",
        ),
        (
            "?force=true",
            MERGE,
            "{}".into(),
            422,
            "force: Forbidden: may not be specified for non-apply patch",
        ),
        (
            "?fieldManager=a&force=maybe",
            YAML,
            good.to_string(),
            400,
            "force",
        ),
        (
            "?fieldManager=a",
            "application/apply-patch+cbor",
            good.to_string(),
            415,
            "application/apply-patch+yaml",
        ),
        (
            "?fieldManager=a",
            YAML,
            "a: [".into(),
            400,
            "error decoding YAML",
        ),
        (
            "?fieldManager=a",
            YAML,
            "- a".into(),
            400,
            "error decoding YAML",
        ),
        (
            "?fieldManager=a&fieldValidation=Strict",
            YAML,
            "a: 1\na: 2".into(),
            400,
            "duplicate field \\\"a\\\"",
        ),
        (
            "?fieldManager=a",
            YAML,
            "{}".into(),
            400,
            "invalid object type: /, Kind=",
        ),
        (
            "?fieldManager=a",
            YAML,
            with("/kind", json!("Secret")),
            400,
            "invalid object type: /v1, Kind=Secret",
        ),
        (
            "?fieldManager=a",
            YAML,
            with("/metadata/name", json!("other")),
            400,
            "the name of the object (other) does not match",
        ),
        (
            "?fieldManager=a",
            YAML,
            managed.to_string(),
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "?fieldManager=a",
            YAML,
            stale.to_string(),
            409,
            "the object has been modified",
        ),
        (
            "?fieldManager=a",
            YAML,
            foreign.to_string(),
            409,
            "UID in precondition: u",
        ),
        (
            "?fieldManager=a",
            YAML,
            unknown.to_string(),
            500,
            "failed to create typed patch object (default/settings; /v1, Kind=ConfigMap): .nothing: field not declared in schema",
        ),
        (
            "?fieldManager=a",
            YAML,
            with("/data/a", json!(1)),
            500,
            ".data.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            "?fieldManager=a",
            YAML,
            with("/data", json!({"a b": "x"})),
            422,
            "ConfigMap \\\"settings\\\" is invalid: data[a b]",
        ),
    ] {
        let path = format!("{MAP}{query}");
        let (status, answer) = send(&client, Method::PATCH, &path, media, body).await;
        assert_eq!(status.as_u16(), code, "{query} {answer}");
        let shown = answer["message"].as_str().unwrap();
        let words = words.replace("\\\"", "\"");
        assert!(shown.contains(&words), "{shown}");
    }
    assert_eq!(get(&client, MAP).await, made);
    let absent = MAP.replace("settings", "absent");
    for (part, code) in [("uid", 409), ("resourceVersion", 400)] {
        let mut config = good.clone();
        config["metadata"]["name"] = json!("absent");
        config["metadata"][part] = json!("7");
        let (status, answer) = apply(&client, &absent, "a", &config).await;
        assert_eq!(status.as_u16(), code, "{answer}");
    }
    let nowhere = MAP.replace("default", "nowhere");
    let (status, answer) = apply(&client, &nowhere, "a", &good).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    // The version that is named is the one that is there.
    let mut current = good.clone();
    current["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let (status, answer) = apply(&client, MAP, "one", &current).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}
