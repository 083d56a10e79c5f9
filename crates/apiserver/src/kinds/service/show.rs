//! What kubectl prints of a Service.

use serde_json::Value;

use crate::kinds::column::NONE;

pub fn external(service: &Value) -> String {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let mut addresses = texts(&service["spec"]["externalIPs"]);
    match service["spec"]["type"].as_str() {
        Some("ExternalName") => {
            return service["spec"]["externalName"]
                .as_str()
                .unwrap_or(NONE)
                .into();
        }
        Some("LoadBalancer") => {
            let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
            for one in ingress.into_iter().flatten() {
                let shown = one["ip"].as_str().or(one["hostname"].as_str());
                addresses.extend(shown.map(str::to_owned));
            }
            if addresses.is_empty() {
                return "<pending>".into();
            }
        }
        _ => {}
    }
    if addresses.is_empty() {
        NONE.into()
    } else {
        addresses.join(",")
    }
}

pub fn ports(service: &Value) -> String {
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let (number, protocol) = (&port["port"], port["protocol"].as_str().unwrap_or("TCP"));
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    if ports.is_empty() {
        NONE.into()
    } else {
        ports.join(",")
    }
}

pub fn selector(service: &Value) -> String {
    let labels = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    if labels.is_empty() {
        NONE.into()
    } else {
        labels.join(",")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_in_words() {
        let service = json!({"spec": {
            "type": "LoadBalancer", "selector": {"a": "b", "c": "d"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        }});
        assert_eq!(external(&service), "<pending>");
        assert_eq!(ports(&service), "80:30080/TCP,53/UDP");
        assert_eq!(selector(&service), "a=b,c=d");
    }
}
