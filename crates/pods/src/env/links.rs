//! Services as variables: `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP_ADDR`, … (pure).
//!
//! Source: Kubernetes docs, "Discovering services", and the Docker links that it
//! is compatible with.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort};

/// A Service as variables tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its address.
    pub host: String,
    /// Its ports; the first one is the one that short names mean.
    pub ports: Vec<Port>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub number: i32,
}

impl Link {
    /// A Service that has an address and a port.
    pub fn of(service: Service) -> Option<Self> {
        let spec = service.spec?;
        let host = spec
            .cluster_ip
            .filter(|ip| !ip.is_empty() && ip != "None")?;
        let ports: Vec<_> = spec.ports?.into_iter().map(Port::from).collect();
        Some(Self {
            name: service.metadata.name?,
            host,
            ports,
        })
        .filter(|link| !link.ports.is_empty())
    }

    /// The API server, where pods reach it.
    pub fn api_server(host: &str, port: u16) -> Self {
        let port = Port {
            name: Some("https".to_owned()),
            protocol: "TCP".to_owned(),
            number: port.into(),
        };
        Self {
            name: "kubernetes".to_owned(),
            host: host.to_owned(),
            ports: vec![port],
        }
    }

    /// The variables, each once.
    pub fn variables(&self) -> Vec<(String, String)> {
        let name = variable_name(&self.name);
        let first = &self.ports[0];
        let mut all = vec![
            (format!("{name}_SERVICE_HOST"), self.host.clone()),
            (format!("{name}_SERVICE_PORT"), first.number.to_string()),
        ];
        for port in &self.ports {
            if let Some(of) = &port.name {
                let of = variable_name(of);
                let number = port.number.to_string();
                all.push((format!("{name}_SERVICE_PORT_{of}"), number));
            }
        }
        all.push((format!("{name}_PORT"), self.url(first)));
        for port in &self.ports {
            let of = format!("{name}_PORT_{}_{}", port.number, port.protocol);
            all.push((of.clone(), self.url(port)));
            all.push((format!("{of}_PROTO"), port.protocol.to_lowercase()));
            all.push((format!("{of}_PORT"), port.number.to_string()));
            all.push((format!("{of}_ADDR"), self.host.clone()));
        }
        all
    }

    fn url(&self, port: &Port) -> String {
        let (protocol, host) = (port.protocol.to_lowercase(), &self.host);
        match host.parse() {
            Ok(IpAddr::V6(_)) => format!("{protocol}://[{host}]:{}", port.number),
            _ => format!("{protocol}://{host}:{}", port.number),
        }
    }
}

impl From<ServicePort> for Port {
    fn from(port: ServicePort) -> Self {
        Self {
            name: port.name.filter(|name| !name.is_empty()),
            protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
            number: port.port,
        }
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The variables that a container gets of its namespace's Services and of the API server.
///
/// In `default` the API server is the Service `kubernetes` and goes before it; elsewhere a
/// Service of that name is the user's own.
pub fn variables(namespace: &str, services: &[Link], api: Option<&Link>) -> Vec<(String, String)> {
    let ours = |link: &&Link| api.is_some_and(|api| api.name == link.name);
    let own = services
        .iter()
        .filter(|link| namespace != "default" || !ours(link));
    let hidden = namespace != "default" && services.iter().any(|link| ours(&link));
    let api = api.filter(|_| !hidden);
    own.chain(api).flat_map(Link::variables).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn link(name: &str, ip: &str, ports: Value) -> Option<Link> {
        let service =
            json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": ports}});
        Link::of(serde_json::from_value(service).unwrap())
    }

    #[test]
    fn a_service_is_told_as_docker_did() {
        let ports =
            json!([{"name": "p", "port": 8081}, {"name": "q-r", "port": 8082, "protocol": "UDP"}]);
        let lines: Vec<_> = link("super-duper", "10.9.8.7", ports)
            .unwrap()
            .variables()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            lines,
            [
                "SUPER_DUPER_SERVICE_HOST=10.9.8.7",
                "SUPER_DUPER_SERVICE_PORT=8081",
                "SUPER_DUPER_SERVICE_PORT_P=8081",
                "SUPER_DUPER_SERVICE_PORT_Q_R=8082",
                "SUPER_DUPER_PORT=tcp://10.9.8.7:8081",
                "SUPER_DUPER_PORT_8081_TCP=tcp://10.9.8.7:8081",
                "SUPER_DUPER_PORT_8081_TCP_PROTO=tcp",
                "SUPER_DUPER_PORT_8081_TCP_PORT=8081",
                "SUPER_DUPER_PORT_8081_TCP_ADDR=10.9.8.7",
                "SUPER_DUPER_PORT_8082_UDP=udp://10.9.8.7:8082",
                "SUPER_DUPER_PORT_8082_UDP_PROTO=udp",
                "SUPER_DUPER_PORT_8082_UDP_PORT=8082",
                "SUPER_DUPER_PORT_8082_UDP_ADDR=10.9.8.7",
            ]
        );
        let six = link("a", "fd00::1", json!([{"port": 1}])).unwrap();
        assert!(
            six.variables()
                .contains(&("A_PORT".into(), "tcp://[fd00::1]:1".into()))
        );
    }

    #[test]
    fn services_without_an_address_are_not_told() {
        assert_eq!(link("a", "None", json!([{"port": 1}])), None);
        assert_eq!(link("a", "", json!([{"port": 1}])), None);
        assert_eq!(link("a", "10.0.0.1", json!([])), None);
    }

    #[test]
    fn the_api_server_is_where_pods_are_told() {
        let api = Link::api_server("172.29.0.1", 6443);
        let own = link("kubernetes", "10.96.0.1", json!([{"port": 443}])).unwrap();
        let host = |namespace| {
            let all = variables(namespace, std::slice::from_ref(&own), Some(&api));
            let mut hosts = all
                .into_iter()
                .filter(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
            let host = hosts.next().unwrap().1;
            assert_eq!(hosts.next(), None);
            host
        };
        assert_eq!(host("default"), "172.29.0.1");
        assert_eq!(
            host("shop"),
            "10.96.0.1",
            "somebody's own Service of this name"
        );
    }
}
