//! Clients that are not kubectl, and how long it takes until they are served.

use std::time::Instant;

use http::Method;
use serde_json::json;

use super::{MILLS, PATH, ask};
use crate::harness::Server;

/// `SEALANE_BIN=target/sealane cargo test -p sealane-apiserver --test api -- --ignored --nocapture posted`
#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn from_a_definition_posted_to_an_object_served() {
    let server = Server::start();
    let client = server.client().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let written: serde_json::Value = serde_yaml_ng::from_str(MILLS).unwrap();
    let mut times = Vec::new();
    for number in 0..50 {
        let name = format!("mill{number}s");
        let mut definition = written.clone();
        definition["metadata"]["name"] = json!(format!("{name}.example.com"));
        definition["spec"]["names"] = json!({"plural": name, "kind": format!("Mill{number}")});
        let object = json!({"apiVersion": "example.com/v1", "kind": format!("Mill{number}"),
            "metadata": {"name": "one"}, "spec": {"grain": "rye"}});
        let path = PATH.replace("/mills", &format!("/{name}"));
        let begin = Instant::now();
        let (status, said) = ask(&client, Method::POST, definitions, definition).await;
        assert_eq!(status.as_u16(), 201, "{said}");
        loop {
            let (status, _) = ask(&client, Method::POST, &path, object.clone()).await;
            if status.as_u16() == 201 {
                break;
            }
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "from a definition posted to its first object stored: p50 {:.1} ms, most {:.1} ms",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    println!(
        "resident with 50 definitions: {:.1} MB",
        server.resident_mb()
    );
}
