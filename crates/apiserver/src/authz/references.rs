//! To which objects of its namespace a pod refers.

use serde_json::Value;

/// Whether a pod refers to an object of its namespace.
pub fn references(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    let among = |list: &Value, path: &[&str]| {
        list.as_array()
            .into_iter()
            .flatten()
            .any(|item| *at(item, path) == name)
    };
    match resource {
        "serviceaccounts" => spec["serviceAccountName"] == name,
        "persistentvolumeclaims" => {
            among(&spec["volumes"], &["persistentVolumeClaim", "claimName"])
        }
        "configmaps" => {
            among(&spec["volumes"], &["configMap", "name"])
                || projected(spec).any(|source| source["configMap"]["name"] == name)
                || environment(spec, "configMapRef", "configMapKeyRef", name)
        }
        "secrets" => {
            among(&spec["volumes"], &["secret", "secretName"])
                || projected(spec).any(|source| source["secret"]["name"] == name)
                || among(&spec["imagePullSecrets"], &["name"])
                || environment(spec, "secretRef", "secretKeyRef", name)
        }
        _ => false,
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, part| &value[*part])
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn projected(spec: &Value) -> impl Iterator<Item = &Value> {
    items(&spec["volumes"]).flat_map(|volume| items(&volume["projected"]["sources"]))
}

fn environment(spec: &Value, whole: &str, key: &str, name: &str) -> bool {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|part| items(&spec[part]))
        .any(|container| {
            items(&container["envFrom"]).any(|source| source[whole]["name"] == name)
                || items(&container["env"]).any(|env| env["valueFrom"][key]["name"] == name)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "serviceAccountName": "robot",
                "imagePullSecrets": [{"name": "pull"}],
                "volumes": [
                    {"configMap": {"name": "site"}},
                    {"secret": {"secretName": "tls"}},
                    {"projected": {"sources": [
                        {"configMap": {"name": "ca"}}, {"secret": {"name": "extra"}},
                    ]}},
                    {"persistentVolumeClaim": {"claimName": "disk"}},
                ],
                "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
                "containers": [{
                    "env": [{"valueFrom": {"configMapKeyRef": {"name": "env"}}}],
                    "envFrom": [{"configMapRef": {"name": "all"}}],
                }],
            },
        })
    }

    #[test]
    fn what_a_pod_refers_to_is_found_everywhere() {
        for (resource, names) in [
            ("configmaps", &["site", "ca", "env", "all"][..]),
            ("secrets", &["tls", "extra", "pull", "init"]),
            ("persistentvolumeclaims", &["disk"]),
            ("serviceaccounts", &["robot"]),
        ] {
            for name in names {
                assert!(references(&pod(), resource, name), "{resource} {name}");
            }
            assert!(!references(&pod(), resource, "web"), "{resource}");
        }
    }
}
