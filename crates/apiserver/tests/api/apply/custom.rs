//! Custom kinds are applied as built-in ones are: how they merge, their schema says.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{apply, names, owners};
use crate::{
    harness::{Server, wait_for},
    requests::send,
};

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: mills.example.com}
spec:
  group: example.com
  names: {kind: Mill, plural: mills}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.wheels, statusReplicasPath: .status.wheels}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              wheels: {type: integer}
              tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              sacks:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name, grain]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string}
                    grain: {type: string, default: rye}
                    kilos: {type: integer}
              owners: {type: array, items: {type: string}}
              place: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: string}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            properties: {wheels: {type: integer}}
";

const MILL: &str = "/apis/example.com/v1/namespaces/default/mills/old";

fn mill(spec: Value) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Mill", "metadata": {"name": "old"}, "spec": spec,
    })
}

#[tokio::test]
async fn custom_kinds_merge_as_their_schema_says() {
    let server = Server::start();
    server.apply(DEFINITION);
    wait_for("the kind", || server.kubectl("get mills").ok.then_some(()));
    let client = server.client().await;
    let one = json!({
        "wheels": 1, "tags": ["a"], "sacks": [{"name": "x", "kilos": 1}], "owners": ["o"],
        "place": {"at": "hill"}, "free": {"deep": {"a": 1}},
    });
    let (status, made) = apply(&client, MILL, "one", &mill(one)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let sack = json!({".": {}, "f:name": {}, "f:kilos": {}});
    assert_eq!(
        owners(&made)[0].1,
        json!({"f:spec": {
            "f:wheels": {}, "f:tags": {"v:\"a\"": {}},
            "f:sacks": {"k:{\"grain\":\"rye\",\"name\":\"x\"}": sack},
            "f:owners": {}, "f:place": {}, "f:free": {"f:deep": {".": {}, "f:a": {}}},
        }})
    );
    let two = json!({
        "tags": ["b"], "sacks": [{"name": "x", "grain": "rye"}, {"name": "x", "grain": "oat"}],
        "free": {"deep": {"b": 2}},
    });
    let (status, both) = apply(&client, MILL, "two", &mill(two)).await;
    assert_eq!(status, StatusCode::OK, "{both}");
    assert_eq!(both["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(both["spec"]["sacks"].as_array().map(Vec::len), Some(2));
    assert_eq!(both["spec"]["free"], json!({"deep": {"a": 1, "b": 2}}));
    let lists = json!({"owners": ["p"], "place": {"by": "brook"}});
    let (status, refused) = apply(&client, MILL, "two", &mill(lists)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        refused["message"],
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.owners\n- .spec.place"
    );
    let (status, refused) = apply(&client, MILL, "two", &mill(json!({"sails": 4}))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        refused["message"],
        "failed to create typed patch object (default/old; example.com/v1, Kind=Mill): \
         .spec.sails: field not declared in schema"
    );
    // What is left out goes; the status and the scale have owners of their own.
    let (_, left) = apply(&client, MILL, "two", &mill(json!({}))).await;
    assert_eq!(left["spec"]["tags"], json!(["a"]));
    assert_eq!(left["spec"]["free"], json!({"deep": {"a": 1}}));
    let merge = "application/merge-patch+json";
    let scale = format!("{MILL}/scale?fieldManager=scaler");
    let (status, scaled) = send(
        &client,
        Method::PATCH,
        &scale,
        merge,
        "{\"spec\":{\"replicas\":2}}",
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{scaled}");
    let mut ready = mill(json!({}));
    ready["status"] = json!({"wheels": 2});
    let (status, ready) = apply(&client, &format!("{MILL}/status"), "runner", &ready).await;
    assert_eq!(status, StatusCode::OK, "{ready}");
    // An empty map is owned too.
    assert_eq!(
        names(&ready),
        [
            "one Apply",
            "runner Apply status",
            "scaler Update scale",
            "two Apply"
        ]
    );
    assert_eq!(owners(&ready)[2].1, json!({"f:spec": {"f:wheels": {}}}));
}
