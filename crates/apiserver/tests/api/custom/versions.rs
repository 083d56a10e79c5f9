//! Several versions of a kind, and definitions that change under their objects.

use http::Method;
use serde_json::{Value, json};

use super::{MILLS, PATH, ask, establish, lines, mill};
use crate::harness::{Server, wait_for};

/// The same with another version, whose schema knows less and more.
fn two_versions(storage: &str) -> String {
    let one = MILLS.replace("storage: true", &format!("storage: {}", storage == "v1"));
    format!(
        "{one}{}",
        format_args!(
            r#"
  - name: v2beta1
    served: true
    storage: {}
    deprecated: true
    deprecationWarning: use v1
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              grain: {{type: string}}
              stones: {{type: integer, default: 4}}
              wind: {{type: boolean, default: true}}
"#,
            storage != "v1"
        )
    )
}

async fn get(server: &Server, version: &str, name: &str) -> Value {
    let path = PATH.replace("/v1/", &format!("/{version}/"));
    let client = server.client().await;
    let (status, object) = ask(&client, Method::GET, &format!("{path}/{name}"), Value::Null).await;
    assert_eq!(status.as_u16(), 200, "{object}");
    object
}

#[tokio::test]
async fn one_object_is_served_in_all_versions() {
    let mut server = Server::start();
    establish(&server, "mills.example.com", &two_versions("v1"));
    server.apply(&mill("one", "{grain: rye, color: red}"));
    let beta = get(&server, "v2beta1", "one").await;
    assert_eq!(beta["apiVersion"], "example.com/v2beta1");
    assert_eq!(
        beta["spec"],
        json!({"grain": "rye", "stones": 2}),
        "it knows no color"
    );
    let said = server.kubectl("get mills.v2beta1.example.com");
    assert!(said.err.contains("Warning: use v1"), "{said:?}");
    let versions = lines(&server.ok("api-versions"));
    let of_group: Vec<&String> = versions
        .iter()
        .filter(|one| one.starts_with("example.com"))
        .collect();
    assert_eq!(of_group, ["example.com/v1", "example.com/v2beta1"]);

    // What is written by the other version is stored, and watched, as the first.
    let two = mill("two", "{grain: rye, wind: false}").replace("/v1", "/v2beta1");
    server.apply(&two);
    let stable = get(&server, "v1", "two").await;
    assert_eq!(
        (&stable["apiVersion"], &stable["spec"]),
        (
            &json!("example.com/v1"),
            &json!({"grain": "rye", "stones": 4})
        )
    );
    let list = server.ok("get mills.v2beta1.example.com -o jsonpath={.items[*].apiVersion}");
    assert_eq!(list, "example.com/v2beta1 example.com/v2beta1");

    // Another version becomes that of the store; both stay readable, and stay so after a restart.
    server.apply(&two_versions("v2beta1"));
    wait_for("the stored versions", || {
        let stored = server.ok("get crd mills.example.com -o jsonpath={.status.storedVersions}");
        (stored == r#"["v1","v2beta1"]"#).then_some(())
    });
    server.ok("label mill one a=b");
    server.kill_and_launch();
    let (one, two) = (
        get(&server, "v1", "one").await,
        get(&server, "v1", "two").await,
    );
    assert_eq!(
        (&one["apiVersion"], &two["apiVersion"]),
        (&json!("example.com/v1"), &json!("example.com/v1"))
    );
    assert_eq!(one["metadata"]["labels"], json!({"a": "b"}));

    // A version that there may be objects of stays.
    let without = MILLS.replace("name: v1\n", "name: v2beta1\n");
    let refused = server.refused(&["apply", "-f", "-"], &without);
    assert!(
        refused.contains("status.storedVersions[0]: Invalid value: \"v1\""),
        "{refused}"
    );
    server.ok("get mills");
    let patch = r#"-p={"status":{"storedVersions":["v2beta1"]}}"#;
    let said = server.kubectl_with(
        &[
            "patch",
            "crd",
            "mills.example.com",
            "--subresource=status",
            "--type=merge",
            patch,
        ],
        "",
    );
    assert!(said.ok, "{}", said.err);
    server.apply(&without);
    wait_for("the end of v1", || {
        let client = server.kubectl("get --raw /apis/example.com/v1/mills");
        client
            .err
            .contains("could not find the requested resource")
            .then_some(())
    });
    assert_eq!(get(&server, "v2beta1", "two").await["spec"]["grain"], "rye");
}

#[tokio::test]
async fn a_schema_changes_under_its_objects() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&mill("one", "{grain: rye, color: red}"));
    let before = get(&server, "v1", "one").await;
    let changed = MILLS
        .replace("enum: [rye, wheat]", "enum: [wheat]")
        .replace(
            "color: {type: string, maxLength: 10}",
            "hue: {type: string, default: grey}",
        )
        .replace("- {jsonPath: .spec.color}", "- {jsonPath: .spec.hue}");
    server.apply(&changed);
    let after = wait_for("the new schema", || {
        let shown = server.ok("get mill one -o json");
        let object: Value = serde_json::from_str(&shown).unwrap();
        (object["spec"]["hue"] == "grey").then_some(object)
    });
    assert_eq!(
        after["spec"],
        json!({"grain": "rye", "stones": 2, "hue": "grey"})
    );
    assert_eq!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    // What is wrong by now and stays as it was is let pass; what becomes wrong is not.
    server.ok("label mill one a=b");
    let said = server.kubectl_with(
        &[
            "patch",
            "mill",
            "one",
            "--type=merge",
            r#"-p={"spec":{"stones":3}}"#,
        ],
        "",
    );
    assert!(said.ok, "{}", said.err);
    let refused = server.refused(&["create", "-f", "-"], &mill("two", "{grain: rye}"));
    assert!(
        refused.contains("Unsupported value: \"rye\": supported values: \"wheat\""),
        "{refused}"
    );
    assert_eq!(get(&server, "v1", "one").await["spec"]["stones"], 3);
}
