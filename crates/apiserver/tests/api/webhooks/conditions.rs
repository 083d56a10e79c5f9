//! `matchConditions`: what must be true before a webhook is asked.

use serde_json::{Value, json};

use super::{Judge, trusted};
use crate::harness::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_choose_requests() {
    let server = Server::start();
    let judge = Judge::start(&server.pki).await;
    let only = |expressions: &[&str], policy: &str| {
        let named = expressions.iter().enumerate();
        let named = named.map(|(at, text)| json!({"name": format!("c{at}"), "expression": text}));
        let mut change = json!({"failurePolicy": policy});
        change["matchConditions"] = named.collect::<Vec<Value>>().into();
        judge.configuration("Validating", "/no", trusted(&server, change))
    };
    tokio::task::block_in_place(|| {
        let create = |name: &str, color: &str| {
            let literal = format!("--from-literal=color={color}");
            let args = ["create", "configmap", name, &literal];
            server.kubectl_with(&args, "")
        };
        let red = [
            "request.operation == 'CREATE' && request.resource.resource == 'configmaps'",
            "object.data.color == 'red' && oldObject == null",
            "'system:masters' in request.userInfo.groups",
        ];
        server.apply(&only(&red, "Fail"));
        assert!(create("a", "blue").ok, "not asked about it");
        assert_eq!(judge.count(), 0);
        let refused = create("b", "red");
        assert!(
            refused.err.contains("denied the request: not on a Sunday"),
            "{refused:?}"
        );

        // What cannot be decided refuses, or is not asked about; what is false decides all the same.
        let broken = "object.data.shade == 'dark'";
        server.apply(&only(&[broken], "Fail"));
        let refused = create("b", "red");
        let expected = format!(
            "configmaps \"b\" is forbidden: expression '{broken}' resulted in error: no such key: shade"
        );
        assert!(refused.err.contains(&expected), "{refused:?}");
        server.apply(&only(&[broken], "Ignore"));
        assert!(create("b", "red").ok);
        server.apply(&only(&[broken, "false"], "Fail"));
        assert!(create("c", "red").ok);
        assert_eq!(judge.count(), 1);

        let refused = server.refused(&["apply", "-f", "-"], &only(&["object.x ="], "Fail"));
        let expected = "webhooks[0].matchConditions[0].expression: Invalid value: \"object.x =\": \
                        compilation failed: ERROR: <input>:1:10: Syntax error";
        assert!(refused.contains(expected), "{refused}");
    });
}
