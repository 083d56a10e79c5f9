//! `kubectl top`: what nodes say of their containers, as rates.

use serde_json::json;

use crate::{
    harness::Server,
    streams::{FakeNode, with_pod},
};

/// A node on which container `c` takes a quarter of a processor and 20 MiB.
fn busy(uid: String) -> impl Fn() -> String + Send {
    let start = jiff::Timestamp::now();
    move || {
        // Whole milliseconds, so that the rate comes out even.
        let now = jiff::Timestamp::now().as_millisecond();
        let time = jiff::Timestamp::from_millisecond(now).unwrap().to_string();
        let spent = (now - start.as_millisecond() + 1000) * 250_000;
        let cpu = json!({"time": time, "usageCoreNanoSeconds": spent});
        let memory = json!({"time": time, "workingSetBytes": 20 << 20});
        let container =
            json!({"name": "c", "startTime": start.to_string(), "cpu": cpu, "memory": memory});
        json!({
            "node": {"nodeName": "node-1", "cpu": cpu, "memory": memory},
            "pods": [{"podRef": {"name": "p", "namespace": "default", "uid": uid}, "containers": [container]}],
        })
        .to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn top_shows_rates_of_what_nodes_say() {
    let server = Server::start();
    let node = FakeNode::start(&server.pki).await;
    tokio::task::block_in_place(|| {
        with_pod(&server, &node);
        server.ok("label pod p app=busy");
        let uid = server.ok("get pod p -o jsonpath={.metadata.uid}");
        *node.summary.lock().unwrap() = Some(Box::new(busy(uid)));
        let words = |text: String| {
            let lines = text.lines().map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.join(" ")
            });
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            words(server.ok("top pods -A --containers --sort-by=cpu")),
            [
                "NAMESPACE POD NAME CPU(cores) MEMORY(bytes)",
                "default p c 250m 20Mi"
            ]
        );
        assert_eq!(
            words(server.ok("top nodes --no-headers")),
            ["node-1 250m 12% 20Mi 1%"]
        );
        assert_eq!(
            words(server.ok("top pod -l app=busy --no-headers")),
            ["p 250m 20Mi"]
        );
        let none = server.kubectl_with(&["top", "pod", "-l", "app=idle"], "");
        assert!(none.err.contains("No resources found"), "{none:?}");
        assert_eq!(
            words(server.ok("get podmetrics.metrics.k8s.io p --no-headers"))[0]
                .rsplit_once(' ')
                .unwrap()
                .0,
            "p 250m 20Mi"
        );
        for (arguments, expected) in [
            (
                &["get", "podmetrics.metrics.k8s.io", "nowhere"][..],
                "pods.metrics.k8s.io \"nowhere\" not found",
            ),
            (
                &["get", "podmetrics.metrics.k8s.io", "-w"],
                "does not allow this method on the requested resource",
            ),
            (
                &[
                    "delete",
                    "--raw",
                    "/apis/metrics.k8s.io/v1beta1/nodes/node-1",
                ],
                "does not allow this method on the requested resource",
            ),
        ] {
            let refused = server.refused(arguments, "");
            assert!(refused.contains(expected), "{arguments:?}: {refused}");
        }
    });
}
