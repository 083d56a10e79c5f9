//! LimitRanges and ResourceQuotas, as kubectl and twenty hurried clients meet them.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::harness::{Server, wait_for};

fn pod(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    })
}

#[test]
fn a_quota_is_made_shown_and_kept() {
    let server = Server::start();
    server.ok("create quota q --hard=pods=2,secrets=1,services.nodeports=1,limits.cpu=1");
    server.ok("create quota best --hard=pods=1 --scopes=BestEffort");
    let used = || server.ok("get quota q -o jsonpath={.status.used}");
    wait_for("the quota is counted", || {
        used().contains("\"pods\":\"0\"").then_some(())
    });
    let refused = server.refused(&["create", "-f", "-"], &pod("bare").to_string());
    assert!(
        refused.ends_with(
            "pods \"bare\" is forbidden: failed quota: q: must specify limits.cpu for: c\n"
        ),
        "{refused}"
    );
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "400m"}, "max": {"cpu": "500m"}}]},
    });
    server.apply(&range.to_string());
    server.apply(&pod("a").to_string());
    assert_eq!(
        server.ok("get pod a -o jsonpath={.spec.containers[0].resources}{.status.qosClass}"),
        "{\"limits\":{\"cpu\":\"400m\"},\"requests\":{\"cpu\":\"400m\"}}Burstable"
    );
    let mut greedy = pod("greedy");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let refused = server.refused(&["create", "-f", "-"], &greedy.to_string());
    let expected = "pods \"greedy\" is forbidden: maximum cpu usage per Container is 500m, but \
                    limit is 2";
    assert!(refused.contains(expected), "{refused}");
    server.apply(&pod("b").to_string());
    let tried = ["create", "-f", "-", "--dry-run=server"];
    for arguments in [&tried[..3], &tried] {
        let refused = server.refused(arguments, &pod("c").to_string());
        let expected = "pods \"c\" is forbidden: exceeded quota: q, requested: \
                        limits.cpu=400m,pods=1, used: limits.cpu=800m,pods=2, limited: \
                        limits.cpu=1,pods=2";
        assert!(refused.contains(expected), "{refused}");
    }
    let described = server.ok("describe quota q");
    for line in ["limits.cpu          800m  1", "pods                2     2"] {
        assert!(described.contains(line), "{described}");
    }
    let shown = server.ok("get quota q --no-headers");
    assert!(
        shown.contains("pods: 2/2, secrets: 0/1, services.nodeports: 0/1"),
        "{shown}"
    );
    assert!(shown.contains("limits.cpu: 800m/1"), "{shown}");

    server.ok("delete pod a --now");
    wait_for("the pod is given back", || {
        used().contains("\"pods\":\"1\"").then_some(())
    });
    server.ok("create secret generic s");
    let refused = server.refused(&["create", "secret", "generic", "t"], "");
    assert!(
        refused.contains("exceeded quota: q, requested: secrets=1"),
        "{refused}"
    );
    server.ok("create service clusterip web --tcp=80:80 --tcp=81:81");
    let patch = [
        "patch",
        "service",
        "web",
        "-p",
        "{\"spec\":{\"type\":\"NodePort\"}}",
    ];
    let refused = server.refused(&patch, "");
    let expected = "services \"web\" is forbidden: exceeded quota: q, requested: \
                    services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1";
    assert!(refused.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_twenty_at_once_only_so_many_succeed_as_may() {
    let server = Server::start();
    tokio::task::block_in_place(|| {
        server.ok("create quota q --hard=count/configmaps=7,pods=3");
        wait_for("what every namespace has is there", || {
            let said = server.kubectl_with(&["get", "cm/kube-root-ca.crt", "sa/default"], "");
            said.ok.then_some(())
        });
    });
    let client = server.client().await;
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let pods = Api::<Pod>::default_namespaced(client);
    let (params, template) = (PostParams::default(), pod(""));
    let made = join_all((0..20).map(|number| {
        let (maps, pods, params, template) = (&maps, &pods, &params, &template);
        async move {
            let map = json!({"metadata": {"name": format!("m{number}")}});
            let map = maps
                .create(params, &serde_json::from_value(map).unwrap())
                .await;
            let mut pod = template.clone();
            pod["metadata"] = json!({"generateName": "p-"});
            let pod = pods
                .create(params, &serde_json::from_value(pod).unwrap())
                .await;
            (map.is_ok(), pod.is_ok())
        }
    }))
    .await;
    // One ConfigMap is there in every namespace.
    assert_eq!(made.iter().filter(|(map, _)| *map).count(), 6);
    assert_eq!(made.iter().filter(|(_, pod)| *pod).count(), 3);
    tokio::task::block_in_place(|| {
        let used = server.ok("get quota q -o jsonpath={.status.used}");
        assert_eq!(used, "{\"count/configmaps\":\"7\",\"pods\":\"3\"}");
    });
}
