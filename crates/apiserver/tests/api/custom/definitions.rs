//! CustomResourceDefinitions themselves: established, refused, in each other's way.

use http::Method;
use serde_json::{Value, json};

use super::{MILLS, PATH, ask, establish, lines, mill, wait_established};
use crate::{
    harness::{Server, wait_for},
    requests::send,
};

fn definition(kind: &str, shorts: &str) -> String {
    let (plural, singular) = (format!("{}s", kind.to_lowercase()), kind.to_lowercase());
    MILLS
        .replace("mills", &plural)
        .replace("singular: mill,", &format!("singular: {singular},"))
        .replace("kind: Mill,", &format!("kind: {kind},"))
        .replace("[ml]", shorts)
}

fn conditions(server: &Server, name: &str) -> String {
    let path = "{range .status.conditions[*]}{.type}={.status}/{.reason} {end}";
    let path = format!("-o=jsonpath={path}");
    let said = server.kubectl_with(&["get", "crd", name, &path], "");
    said.out.trim().to_owned()
}

#[test]
fn a_definition_is_established_and_discovered() {
    let server = Server::start();
    let said = server.apply(MILLS);
    assert_eq!(
        said,
        "customresourcedefinition.apiextensions.k8s.io/mills.example.com created\n"
    );
    wait_established(&server, "mills.example.com");
    assert!(server.apply(MILLS).contains(" unchanged"));
    let expected = "NamesAccepted=True/NoConflicts Established=True/InitialNamesAccepted";
    assert_eq!(conditions(&server, "mills.example.com"), expected);
    let shown = server.ok("get crd mills.example.com -o jsonpath={.status.storedVersions}{.status.acceptedNames.listKind}{.spec.conversion.strategy}{.metadata.generation}");
    assert_eq!(shown, "[\"v1\"]MillListNone1");
    assert_eq!(
        lines(&server.ok("api-resources --api-group=example.com"))[1],
        "mills ml example.com/v1 true Mill"
    );
    let versions = server.ok("api-versions");
    assert!(
        versions.lines().any(|line| line == "example.com/v1"),
        "{versions}"
    );
    let legacy: Value = serde_json::from_str(&server.ok("get --raw /apis/example.com/v1")).unwrap();
    let names = legacy["resources"].as_array().unwrap().iter();
    let names: Vec<&str> = names.filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["mills", "mills/status", "mills/scale"]);
    let table = lines(&server.ok("get crd"));
    assert_eq!(table[0], "NAME CREATED AT");
    assert!(table[1].starts_with("mills.example.com 20"), "{table:?}");
    assert!(
        server
            .ok("describe crd mills.example.com")
            .contains("Stored Versions:")
    );
}

#[test]
fn whoever_was_there_first_has_the_name() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(&definition("Mule", "[ml]"));
    let expected = "NamesAccepted=False/ShortNamesConflict Established=False/NotAccepted";
    wait_for("the conflict", || {
        (conditions(&server, "mules.example.com") == expected).then_some(())
    });
    assert!(!server.kubectl("get mules").ok);
    server.ok("delete crd mills.example.com");
    wait_established(&server, "mules.example.com");
    assert_eq!(server.ok("get mules -o name"), "");

    // What the table has cannot be taken either, and stays as it is.
    server.apply(
        &definition("IPPool", "[]")
            .replace("example.com", "sealane.io")
            .replace("scope: Namespaced", "scope: Cluster"),
    );
    wait_for("the conflict", || {
        let said = conditions(&server, "ippools.sealane.io");
        said.starts_with("NamesAccepted=False").then_some(())
    });
    server.ok("get ippools");
    server.ok("delete crd ippools.sealane.io");
}

#[test]
fn names_may_change_and_the_kind_may_not() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    server.apply(
        &MILLS
            .replace("[ml]", "[ml, mll]")
            .replace("[works]", "[works, all]"),
    );
    wait_for("the new names", || {
        server.kubectl("get mll").ok.then_some(())
    });
    server.apply(&mill("one", "{grain: rye}"));
    let all = server.ok("get all -o name");
    assert!(all.contains("mill.example.com/one"), "{all}");
    let refused = server.refused(
        &["apply", "-f", "-"],
        &MILLS.replace("kind: Mill,", "kind: Mull,"),
    );
    assert!(
        refused.contains("spec.names.kind: Invalid value: \"Mull\": field is immutable"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_no_definition_is_refused() {
    let server = Server::start();
    let client = server.client().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let cases = [
        (
            "name: mills.example.com",
            "name: other.example.com",
            "metadata.name: Invalid value: \"other.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "storage: true",
            "storage: false",
            "must have exactly one version marked as storage version",
        ),
        (
            "scope: Namespaced",
            "scope: Everywhere",
            "spec.scope: Unsupported value: \"Everywhere\"",
        ),
        (
            "{type: integer, minimum: 1, maximum: 8, default: 2}",
            "{type: whole}",
            "type: Unsupported value: \"whole\"",
        ),
        ("default: 2", "default: 9", "default: Invalid value: 9: "),
        (
            "jsonPath: .spec.grain,",
            "jsonPath: 'spec.grain',",
            "jsonPath: Invalid value",
        ),
        (
            "specReplicasPath: .spec.stones",
            "specReplicasPath: .status.stones",
            "specReplicasPath: Invalid value",
        ),
        (
            "  scope: Namespaced",
            "  scope: Namespaced\n  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: 'https://a'}}}",
            "spec.conversion.strategy: Unsupported value: \"Webhook\": supported values: \"None\"",
        ),
        (
            "  scope: Namespaced",
            "  scope: Namespaced\n  preserveUnknownFields: true",
            "preserveUnknownFields: Invalid value: true",
        ),
        ("  group: example.com\n", "", "spec.group: Required value"),
    ];
    for (good, bad, expected) in cases {
        assert!(MILLS.contains(good), "{good}");
        let body = MILLS.replacen(good, bad, 1);
        let (status, said) = send(&client, Method::POST, path, "application/yaml", body).await;
        let message = said["message"].as_str().unwrap_or("");
        assert_eq!(status.as_u16(), 422, "{bad}: {said}");
        assert!(message.contains(expected), "{bad}: {message}");
        assert_eq!(said["reason"], "Invalid");
    }
    let wrong = MILLS.replace("served: true", "served: often");
    let (status, said) = send(&client, Method::POST, path, "application/yaml", wrong).await;
    assert_eq!(status.as_u16(), 400, "{said}");
    let (status, _) = ask(&client, Method::GET, PATH, Value::Null).await;
    assert_eq!(status.as_u16(), 404, "none of them is served");
}

#[tokio::test]
async fn an_update_names_the_version_that_it_changes() {
    let server = Server::start();
    establish(&server, "mills.example.com", MILLS);
    let client = server.client().await;
    let body = json!({"apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": "one"}, "spec": {"grain": "rye"}});
    let (status, made) = ask(&client, Method::POST, PATH, body.clone()).await;
    assert_eq!(status.as_u16(), 201, "{made}");
    let one = format!("{PATH}/one");
    let (status, said) = ask(&client, Method::PUT, &one, body).await;
    assert_eq!(status.as_u16(), 422, "{said}");
    let expected = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    assert!(
        said["message"].as_str().unwrap().contains(expected),
        "{said}"
    );
    let (status, _) = ask(&client, Method::PUT, &one, made).await;
    assert_eq!(status.as_u16(), 200);
}
