//! What is said of kinds and their fields: `kubectl explain`, what kubectl checks and computes by schemas, and
//! that clients need not read a document twice.

use http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use serde_json::Value;

use crate::{
    harness::{Server, wait_for, within},
    requests::send,
};

#[test]
fn kinds_and_fields_are_explained() {
    let server = Server::start();
    for (words, expected) in [
        (
            "explain pod.spec.containers",
            &[
                "KIND:       Pod\nVERSION:    v1\n",
                "FIELD: containers <[]Container>",
                "List of containers belonging to the pod",
                "\n  image\t<string>\n",
                "\n  name\t<string> -required-\n",
                "\n  ports\t<[]ContainerPort>\n",
            ][..],
        ),
        (
            "explain deployments --recursive",
            &[
                "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n",
                "\n  spec\t<DeploymentSpec>\n",
                "  maxSurge\t<IntOrString>\n",
                "  containerPort\t<integer> -required-\n",
            ],
        ),
        (
            "explain event --api-version=events.k8s.io/v1",
            &[
                "GROUP:      events.k8s.io\n",
                "\n  regarding\t<ObjectReference>\n",
            ],
        ),
        (
            "explain service.spec.ports.targetPort",
            &["FIELD: targetPort <IntOrString>"],
        ),
        (
            "explain ippool.spec.blockSizes",
            &["KIND:       IPPool\n", "\n  ipv4\t<integer>\n"],
        ),
        (
            "explain subjectaccessreview.spec",
            &[
                "FIELD: spec <SubjectAccessReviewSpec>",
                "resourceAttributes",
            ],
        ),
        (
            "explain pod.spec --output=plaintext-openapiv2",
            &[
                "RESOURCE: spec <Object>",
                "   containers\t<[]Object> -required-",
            ],
        ),
        (
            "explain ingress --recursive --output=plaintext-openapiv2",
            &[
                "KIND:     Ingress\nVERSION:  networking.k8s.io/v1\n",
                "  paths\t<[]Object>",
            ],
        ),
    ] {
        let said = server.ok(words);
        for expected in expected {
            assert!(
                said.contains(expected),
                "{words}: no {expected:?} in\n{said}"
            );
        }
    }
    let said = server.refused(&["explain", "pod.spec.nonsense"], "");
    assert!(said.contains("field \"nonsense\" does not exist"), "{said}");
}

const LIST: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, targetPort: 8081}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, creationTimestamp: null}
  spec:
    containers:
    - name: main
      image: sealane.io/echo
      resources: {limits: {cpu: 1, memory: 64Mi}}
";

/// kubectl checks lists itself, by OpenAPI v2.
#[test]
fn lists_are_checked_by_kubectl() {
    let server = Server::start();
    let created = server.kubectl_with(&["create", "--validate=true", "-f", "-"], LIST);
    assert!(created.ok, "{created:?}");
    let wrong = LIST.replace("image:", "imag:");
    let refused = server.refused(&["create", "--validate=true", "-f", "-"], &wrong);
    assert!(refused.contains("unknown field \"imag\""), "{refused}");
}

const WORKLOAD: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: sealane.io/echo
        env: [{name: A, value: '1'}, {name: B, value: '2'}]
        ports: [{containerPort: 80}]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes:
      - {name: data, emptyDir: {}}
";

/// kubectl computes what to change by the keys that the schemas name.
#[test]
fn patches_are_computed_by_the_schemas() {
    let server = Server::start();
    server.apply(WORKLOAD);
    // Somebody else's container and variable stay; of a volume only one kind is left, and of a
    // strategy, though nobody said what of the other there is.
    let said = server.kubectl_with(
        &[
            "patch",
            "deployment",
            "web",
            r#"-p={"spec":{"template":{"spec":{"containers":[{"name":"side","image":"sealane.io/echo"},{"name":"main","env":[{"name":"C","value":"3"}]}]}}}}"#,
        ],
        "",
    );
    assert!(said.ok, "{said:?}");
    let changed = WORKLOAD
        .replace("{name: B, value: '2'}", "{name: B, value: '4'}")
        .replace("replicas: 1", "strategy: {type: Recreate}")
        .replace("emptyDir: {}", "configMap: {name: settings}");
    server.apply(&changed);
    let shown = server.ok(
        "get deployment web -o jsonpath={.spec.template.spec.containers[*].name}|{.spec.template.spec.containers[?(@.name==\"main\")].env}|{.spec.strategy}|{.spec.template.spec.volumes[*].emptyDir}|{.spec.template.spec.volumes[*].configMap.name}",
    );
    let parts: Vec<&str> = shown.split('|').collect();
    let mut names: Vec<&str> = parts[0].split(' ').collect();
    names.sort_unstable();
    assert_eq!(names, ["main", "side"]);
    let env: Value = serde_json::from_str(parts[1]).unwrap();
    let mut env: Vec<String> = env
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{}={}",
                one["name"].as_str().unwrap(),
                one["value"].as_str().unwrap()
            )
        })
        .collect();
    env.sort_unstable();
    assert_eq!(env, ["A=1", "B=4", "C=3"]);
    assert_eq!(
        parts[2..],
        ["{\"type\":\"Recreate\"}", "", "settings"],
        "{shown}"
    );
}

async fn get(client: &kube::Client, path: &str, known: &str) -> Response<Body> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::IF_NONE_MATCH, known)
        .body(Body::empty())
        .unwrap();
    within("an answer", client.send(request)).await.unwrap()
}

fn said(response: &Response<Body>, name: header::HeaderName) -> String {
    let value = response.headers().get(&name);
    value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_a_client_has_it_need_not_read_again() {
    let server = Server::start();
    let client = server.client().await;
    let (code, root) = send(&client, Method::GET, "/openapi/v3", "", "").await;
    assert_eq!(code, StatusCode::OK);
    let address = root["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let (path, hash) = address.split_once("?hash=").unwrap();
    assert_eq!(path, "/openapi/v3/apis/apps/v1");

    let first = get(&client, address, "").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(said(&first, header::CACHE_CONTROL), "public, immutable");
    assert!(said(&first, header::EXPIRES).ends_with(" GMT"));
    let etag = said(&first, header::ETAG);
    assert_eq!(etag, format!("\"{hash}\""));
    let again = get(&client, path, &etag).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(said(&again, header::CACHE_CONTROL), "no-cache, private");
    let old = get(&client, &format!("{path}?hash=0"), "").await;
    assert_eq!(old.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(said(&old, header::LOCATION), address);

    let v2 = get(&client, "/openapi/v2", "").await;
    let etag = said(&v2, header::ETAG);
    let again = get(&client, "/openapi/v2", &format!("W/\"x\", {etag}")).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(
        get(&client, "/openapi/v2", &etag.replace('"', ""))
            .await
            .status(),
        StatusCode::OK
    );
    let (code, _) = send(&client, Method::GET, "/openapi/v3/apis/none/v1", "", "").await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: mills.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Mill, plural: mills}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        description: A mill by the water.
        required: [spec]
        properties:
          spec:
            type: object
            description: What it is to be.
            required: [wheels]
            properties:
              wheels: {type: integer, minimum: 1, description: How many wheels turn.}
              sacks:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

/// A custom kind is explained as soon as it is served, and anew when its schema changes.
#[test]
fn custom_kinds_are_explained_as_they_are_now() {
    let server = Server::start();
    server.apply(DEFINITION);
    server.ok("wait --for=condition=Established crd/mills.example.com");
    for form in ["", " --output=plaintext-openapiv2"] {
        let said = server.ok(&format!("explain mill.spec{form}"));
        for expected in [
            "What it is to be.",
            "  wheels\t<integer> -required-\n",
            "  sacks\t<[]Object>\n",
        ] {
            assert!(
                said.contains(expected),
                "{form}: no {expected:?} in\n{said}"
            );
        }
    }
    let said = server.ok("explain mill");
    assert!(
        said.contains("A mill by the water.") && said.contains("  metadata\t<ObjectMeta>\n"),
        "{said}"
    );

    server.apply(&DEFINITION.replace("How many wheels turn", "How many wheels there are"));
    let said = wait_for("the new description", || {
        let said = server.ok("explain mill.spec.wheels");
        said.contains("How many wheels there are").then_some(said)
    });
    assert!(said.contains("FIELD: wheels <integer>"), "{said}");

    let mill = "apiVersion: example.com/v1\nkind: Mill\nmetadata: {name: a}\nspec: {wheels: 2}\n";
    let item = mill.trim_end().replace('\n', "\n  ");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {item}\n");
    let created = server.kubectl_with(&["create", "-f", "-"], &list);
    assert!(created.ok, "{created:?}");
    let wrong = list.replace("wheels: 2", "whels: 2");
    let refused = server.refused(&["create", "-f", "-"], &wrong);
    assert!(refused.contains("unknown field \"whels\""), "{refused}");
    server.apply(mill);
    assert_eq!(
        server.apply(&mill.replace("wheels: 2", "wheels: 3")),
        "mill.example.com/a configured\n"
    );
}
