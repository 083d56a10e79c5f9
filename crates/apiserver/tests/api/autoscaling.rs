//! HorizontalPodAutoscalers in both versions.

use serde_json::{Value, json};

use crate::harness::Server;

#[test]
fn an_autoscaler_is_one_object_in_two_versions() {
    let server = Server::start();
    server.ok("create deployment web --image=x");
    server.ok("autoscale deployment web --min=2 --max=5 --cpu-percent=50");
    let shown = server.ok("get hpa web --no-headers");
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(
        words[..6],
        ["web", "Deployment/web", "cpu:", "<unknown>/50%", "2", "5"]
    );

    let of = |version: &str| -> Value {
        let path =
            format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/web");
        serde_json::from_str(&server.ok(&format!("get --raw {path}"))).unwrap()
    };
    let (older, newer) = (of("v1"), of("v2"));
    assert_eq!(older["spec"]["targetCPUUtilizationPercentage"], 50);
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    assert_eq!(newer["spec"]["metrics"][0]["resource"]["target"], target);
    assert_eq!(older["metadata"]["uid"], newer["metadata"]["uid"]);

    let mut changed = older.clone();
    changed["spec"]["targetCPUUtilizationPercentage"] = 70.into();
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/web";
    let replace = ["replace", "--raw", path, "-f", "-"];
    let said = server.kubectl_with(&replace, &changed.to_string());
    assert!(said.ok, "{said:?}");
    let metrics = &of("v2")["spec"]["metrics"];
    assert_eq!(metrics.as_array().unwrap().len(), 1, "{metrics}");
    assert_eq!(metrics[0]["resource"]["target"]["averageUtilization"], 70);

    // Nothing at all is for those who have metrics from outside.
    let mut none = newer.clone();
    none["metadata"] = json!({"name": "none", "namespace": "default"});
    none["spec"] = json!({"scaleTargetRef": newer["spec"]["scaleTargetRef"], "minReplicas": 0, "maxReplicas": 5});
    for version in ["v1", "v2"] {
        none["apiVersion"] = format!("autoscaling/{version}").into();
        let refused = server.refused(&["create", "-f", "-"], &none.to_string());
        let expected = "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1";
        assert!(refused.contains(expected), "{refused}");
    }

    let mut wrong = newer.clone();
    wrong["metadata"] = json!({"name": "wrong", "namespace": "default"});
    wrong["spec"]["minReplicas"] = 6.into();
    let refused = server.refused(&["create", "-f", "-"], &wrong.to_string());
    let expected = "The HorizontalPodAutoscaler \"wrong\" is invalid: spec.maxReplicas: Invalid \
                    value: 5: must be greater than or equal to `minReplicas`";
    assert!(refused.contains(expected), "{refused}");
}
