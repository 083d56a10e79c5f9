//! Where a pod is reached.

use std::net::IpAddr;

use sealane_store::Entry;
use serde_json::Value;

use super::reference::Reference;
use crate::status::ApiError;

/// A port of a pod, and the node that can connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Namespace and name of the pod.
    pub pod: (String, String),
    /// The pod's node.
    pub node: String,
    /// An address of the pod.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// TLS is spoken.
    pub https: bool,
}

/// A stored pod.
///
/// # Errors
///
/// 500 for one that cannot be read.
pub fn read(entry: &Entry) -> Result<Value, ApiError> {
    serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)
}

impl Location {
    /// The port that is asked for; without one the first that a container declares, or that of
    /// the scheme.
    ///
    /// # Errors
    ///
    /// 400 for a pod without address, and for a port that it does not have.
    pub fn of_pod(pod: &Value, asked: &Reference) -> Result<Self, ApiError> {
        let name = crate::object::name(pod);
        let address = pod["status"]["podIP"].as_str().unwrap_or_default();
        let address = address.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "address not allowed: pod {name:?} has no IP address yet"
            ))
        })?;
        let port = port(pod, asked).ok_or_else(|| {
            ApiError::bad_request(format!(
                "pod {name:?} has no port {:?}: expected a number from 1 to 65535, or the name of \
                 a port of its containers",
                asked.port
            ))
        })?;
        Self::new(pod, address, port, asked.https)
    }

    /// A port at an address of this pod.
    ///
    /// # Errors
    ///
    /// 400 for a pod without node.
    pub fn new(pod: &Value, address: IpAddr, port: u16, https: bool) -> Result<Self, ApiError> {
        let (namespace, name) = (crate::object::namespace(pod), crate::object::name(pod));
        match pod["spec"]["nodeName"].as_str() {
            Some(node) if !node.is_empty() => Ok(Self {
                pod: (namespace.into(), name.into()),
                node: node.into(),
                address,
                port,
                https,
            }),
            _ => Err(ApiError::bad_request(format!(
                "pod {name} does not have a host assigned"
            ))),
        }
    }
}

fn port(pod: &Value, asked: &Reference) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports =
        containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let number = |port: &Value| u16::try_from(port["containerPort"].as_u64()?).ok();
    if asked.port.is_empty() {
        let standard = if asked.https { 443 } else { 80 };
        return ports.next().map_or(Some(standard), number);
    }
    match asked.port.parse::<u16>() {
        Ok(0) => None,
        Ok(port) => Some(port),
        Err(_) => ports
            .find(|port| port["name"] == asked.port.as_str())
            .and_then(number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_port_is_the_one_that_is_asked_for() {
        let pod = |ports: Value| {
            json!({
                "metadata": {"namespace": "n", "name": "p"},
                "spec": {"nodeName": "node-1", "containers": [{"name": "a"}, {"ports": ports}]},
                "status": {"podIP": "10.244.1.2"},
            })
        };
        let declared = pod(json!([{"containerPort": 8080}, {"name": "web", "containerPort": 81}]));
        let bare = pod(json!(null));
        for (pod, asked, expected) in [
            (&declared, "p", Ok(8080)),
            (&declared, "p:9", Ok(9)),
            (&declared, "p:web", Ok(81)),
            (&declared, "p:http", Err("pod \"p\" has no port \"http\"")),
            (&declared, "p:0", Err("pod \"p\" has no port \"0\"")),
            (&bare, "p", Ok(80)),
            (&bare, "https:p:", Ok(443)),
        ] {
            let found = Location::of_pod(pod, &Reference::parse(asked).unwrap());
            match (found, expected) {
                (Ok(location), Ok(port)) => assert_eq!(location.port, port, "{asked}"),
                (Err(error), Err(text)) => assert!(error.message.contains(text), "{error:?}"),
                (found, _) => panic!("{asked}: {found:?}"),
            }
        }
        let mut waiting = bare;
        waiting["status"] = json!({});
        let error = Location::of_pod(&waiting, &Reference::parse("p").unwrap()).unwrap_err();
        assert_eq!(
            error.message,
            "address not allowed: pod \"p\" has no IP address yet"
        );
    }
}
