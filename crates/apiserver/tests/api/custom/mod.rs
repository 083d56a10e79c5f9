//! Custom resources: definitions, and the objects of the kinds that they describe.

mod clients;
mod definitions;
mod gateway;
mod going;
mod objects;
mod versions;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::{harness::Server, requests::send};

/// A kind with all that one version can have.
pub const MILLS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: mills.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: mills, singular: mill, kind: Mill, shortNames: [ml], categories: [works]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [grain]
            properties:
              grain: {type: string, enum: [rye, wheat]}
              stones: {type: integer, minimum: 1, maximum: 8, default: 2}
              color: {type: string, maxLength: 10}
              owners: {type: array, items: {type: string}}
              notes: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            properties:
              running: {type: integer}
              selector: {type: string}
              since: {type: string, format: date-time}
              conditions:
                type: array
                items:
                  type: object
                  properties: {type: {type: string}, status: {type: string}}
    additionalPrinterColumns:
    - {name: Grain, type: string, jsonPath: .spec.grain, description: What it grinds.}
    - {name: Stones, type: integer, jsonPath: .spec.stones}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Owners, type: string, jsonPath: .spec.owners, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    selectableFields:
    - {jsonPath: .spec.color}
    subresources:
      status: {}
      scale:
        specReplicasPath: .spec.stones
        statusReplicasPath: .status.running
        labelSelectorPath: .status.selector
"#;

/// Where its objects are.
pub const PATH: &str = "/apis/example.com/v1/namespaces/default/mills";

/// Makes a definition, and waits until it is served.
#[track_caller]
pub fn establish(server: &Server, name: &str, definition: &str) {
    server.apply(definition);
    wait_established(server, name);
}

#[track_caller]
pub fn wait_established(server: &Server, name: &str) {
    server.ok(&format!(
        "wait --for=condition=established crd/{name} --timeout=60s"
    ));
}

/// A mill of this name and with these members of its spec.
pub fn mill(name: &str, spec: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Mill\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// Sends JSON; the status and what the answer says.
pub async fn ask(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let media = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(client, method, path, media, body).await
}

/// The words of each line, one space between them.
pub fn lines(text: &str) -> Vec<String> {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}
