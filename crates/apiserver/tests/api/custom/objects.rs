//! Objects of custom kinds, as kubectl's users and programs handle them.

use http::Method;
use serde_json::{Value, json};

use super::{MILLS, PATH, ask, establish, lines, mill};
use crate::{harness::Server, requests::send};

#[test]
fn kubectl_shows_changes_and_deletes_them() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    let one = mill("one", "{grain: rye, owners: [ann, bob]}");
    assert_eq!(server.apply(&one), "mill.example.com/one created\n");
    assert_eq!(server.apply(&one), "mill.example.com/one unchanged\n");
    for name in [
        "mills",
        "mill",
        "ml",
        "works",
        "mills.example.com",
        "mills.v1.example.com",
    ] {
        assert!(
            server.ok(&format!("get {name} -o name")).contains("/one"),
            "{name}"
        );
    }
    let table = lines(&server.ok("get mills"));
    assert_eq!(table[0], "NAME GRAIN STONES READY AGE");
    assert!(table[1].starts_with("one rye 2 "), "{table:?}");
    let wide = lines(&server.ok("get mills -o wide"));
    assert_eq!(wide[0], "NAME GRAIN STONES READY OWNERS AGE");
    assert!(wide[1].contains(r#"["ann","bob"]"#), "{wide:?}");
    let described = lines(&server.ok("describe mill one"));
    assert!(
        described.contains(&"Grain: rye".to_owned()),
        "{described:?}"
    );

    let patched = server.kubectl_with(
        &[
            "patch",
            "mill",
            "one",
            "--type=merge",
            "-p",
            r#"{"spec":{"grain":"wheat"}}"#,
        ],
        "",
    );
    assert!(patched.ok, "{}", patched.err);
    let shown = server.ok("get mill one -o jsonpath={.spec.grain}/{.metadata.generation}");
    assert_eq!(shown, "wheat/2");
    let edit = server
        .kubectl_command(&["edit", "mill", "one"])
        .env("KUBE_EDITOR", "sed -i s/wheat/rye/")
        .output()
        .unwrap();
    assert!(edit.status.success(), "{edit:?}");
    assert_eq!(server.ok("get mill one -o jsonpath={.spec.grain}"), "rye");
    server.ok("label mill one river=yes");
    assert!(server.ok("get mills -l river=yes -o name").contains("/one"));
    assert_eq!(
        server.ok("get mill one -o jsonpath={.metadata.generation}"),
        "3"
    );
    server.ok("delete mill one");
    assert_eq!(server.ok("get mills -A -o name"), "");
}

#[tokio::test]
async fn unknown_fields_are_refused_told_or_dropped() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    let client = server.client().await;
    let body = |name: &str| {
        json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": name},
            "spec": {"grain": "rye", "wheels": 3, "notes": {"any": [{"thing": null}]}}})
    };
    let at = |validation: &str| format!("{PATH}?fieldValidation={validation}");
    let (status, said) = ask(&client, Method::POST, &at("Strict"), body("s")).await;
    assert_eq!(status.as_u16(), 400, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("strict decoding error: unknown field \"spec.wheels\""),
        "{message}"
    );
    for validation in ["Warn", "Ignore"] {
        let (status, made) = ask(
            &client,
            Method::POST,
            &at(validation),
            body(&validation.to_lowercase()),
        )
        .await;
        assert_eq!(status.as_u16(), 201, "{made}");
        assert_eq!(
            made["spec"],
            json!({"grain": "rye", "stones": 2, "notes": {"any": [{"thing": null}]}})
        );
    }
    let said = server.kubectl_with(
        &["create", "--validate=warn", "-f", "-"],
        &mill("w", "{grain: rye, wheels: 3}"),
    );
    assert!(
        said.ok && said.err.contains("unknown field \"spec.wheels\""),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_the_schema_does_not_allow_is_refused() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    let client = server.client().await;
    for (spec, expected) in [
        (json!({}), "spec.grain: Required value"),
        (
            json!({"grain": "oats"}),
            "spec.grain: Unsupported value: \"oats\": supported values: \"rye\", \"wheat\"",
        ),
        (
            json!({"grain": "rye", "stones": 0}),
            "spec.stones: Invalid value: 0: spec.stones in body should be greater than or equal to 1",
        ),
        (
            json!({"grain": "rye", "stones": "x"}),
            "spec.stones: Invalid value: \"string\": spec.stones in body must be of type integer: \"string\"",
        ),
        (
            json!({"grain": "rye", "color": "x".repeat(11)}),
            "spec.color: Too long: may not be more than 10 bytes",
        ),
    ] {
        let body = json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": "x"}, "spec": spec});
        let (status, said) = ask(&client, Method::POST, PATH, body).await;
        assert_eq!(status.as_u16(), 422, "{said}");
        let message = said["message"].as_str().unwrap();
        assert!(
            message.starts_with("Mill.example.com \"x\" is invalid: "),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
    let other = json!({"apiVersion": "example.com/v1", "kind": "Mull", "metadata": {"name": "x"}});
    let (status, said) = ask(&client, Method::POST, PATH, other).await;
    assert_eq!(status.as_u16(), 400, "{said}");
    let body = "\u{0}k8s";
    let media = "application/vnd.kubernetes.protobuf";
    let (status, _) = send(&client, Method::POST, PATH, media, body).await;
    assert_eq!(status.as_u16(), 415, "a custom kind has no protobuf");
}

#[tokio::test]
async fn patches_are_json_or_merge() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye, color: red}"));
    let client = server.client().await;
    let one = format!("{PATH}/one");
    let (status, said) = ask(
        &client,
        Method::PATCH,
        &one,
        json!({"spec": {"color": null, "stones": 3}}),
    )
    .await;
    assert_eq!(
        (status.as_u16(), &said["spec"]),
        (200, &json!({"grain": "rye", "stones": 3}))
    );
    let json_patch = r#"[{"op":"replace","path":"/spec/stones","value":9}]"#;
    let (status, said) = send(
        &client,
        Method::PATCH,
        &one,
        "application/json-patch+json",
        json_patch,
    )
    .await;
    assert_eq!(status.as_u16(), 422, "{said}");
    let json_patch = json_patch.replace('9', "4");
    let (status, _) = send(
        &client,
        Method::PATCH,
        &one,
        "application/json-patch+json",
        json_patch,
    )
    .await;
    assert_eq!(status.as_u16(), 200);
    let media = "application/strategic-merge-patch+json";
    let (status, said) = send(&client, Method::PATCH, &one, media, "{}").await;
    assert_eq!(status.as_u16(), 415, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("application/json-patch+json, application/merge-patch+json"),
        "{message}"
    );
}

#[tokio::test]
async fn status_and_scale_are_apart() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    let client = server.client().await;
    let body = json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": "one"},
        "spec": {"grain": "rye"}, "status": {"running": 1}});
    let (_, made) = ask(&client, Method::POST, PATH, body).await;
    assert_eq!(made["status"], Value::Null, "a status cannot be given");
    let status_path = format!("{PATH}/one/status");
    let change = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"stones": 7},
        "status": {"running": 2, "selector": "app=mill", "conditions": [{"type": "Ready", "status": "True"}]}});
    let (code, said) = ask(&client, Method::PATCH, &status_path, change).await;
    assert_eq!(code.as_u16(), 200, "{said}");
    assert_eq!(said["spec"]["stones"], 2);
    assert_eq!(said["metadata"]["labels"], Value::Null);
    assert_eq!(said["metadata"]["generation"], 1);
    assert!(lines(&server.ok("get mills"))[1].starts_with("one rye 2 True "));
    let (code, said) = ask(
        &client,
        Method::PATCH,
        &format!("{PATH}/one"),
        json!({"status": {"running": 9}}),
    )
    .await;
    assert_eq!(
        (code.as_u16(), &said["status"]["running"]),
        (200, &json!(2))
    );
    let (code, said) = ask(
        &client,
        Method::PATCH,
        &status_path,
        json!({"status": {"running": "x"}}),
    )
    .await;
    assert_eq!(code.as_u16(), 422, "{said}");

    assert_eq!(
        server.ok("scale mill one --replicas=5"),
        "mill.example.com/one scaled\n"
    );
    let (_, scale) = ask(
        &client,
        Method::GET,
        &format!("{PATH}/one/scale"),
        Value::Null,
    )
    .await;
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["spec"], json!({"replicas": 5}));
    assert_eq!(
        scale["status"],
        json!({"replicas": 2, "selector": "app=mill"})
    );
    assert_eq!(
        server.ok("get mill one -o jsonpath={.spec.stones}/{.metadata.generation}"),
        "5/2"
    );
    let refused = server.refused(&["scale", "mill", "one", "--replicas=9"], "");
    assert!(
        refused.contains("spec.stones in body should be less than or equal to 8"),
        "{refused}"
    );
}

#[test]
fn fields_that_the_definition_names_select() {
    let mut server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye, color: red}"));
    server.apply(&mill("two", "{grain: rye, color: blue}"));
    let red = "get mills --field-selector=spec.color=red -o name";
    assert_eq!(server.ok(red), "mill.example.com/one\n");
    let refused = server.refused(&["get", "mills", "--field-selector=spec.grain=rye"], "");
    assert!(
        refused.contains("field label not supported: spec.grain"),
        "{refused}"
    );
    server.kill_and_launch();
    assert_eq!(
        server.ok(red),
        "mill.example.com/one\n",
        "also after a restart"
    );
    // Another field, of objects that were there before it was named.
    server.apply(&MILLS.replace("- {jsonPath: .spec.color}", "- {jsonPath: .spec.grain}"));
    crate::harness::wait_for("the new field", || {
        let said = server.kubectl("get mills --field-selector=spec.grain=rye -o name");
        (said.out == "mill.example.com/one\nmill.example.com/two\n").then_some(())
    });
}
