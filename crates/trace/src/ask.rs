//! FROM and TO, as they are typed.
//!
//! | FROM | |
//! |---|---|
//! | `default/a`, `pod/a`, `a` | a pod |
//! | `node/node-1` | a process of the node |
//! | `outside`, `outside/203.0.113.9` | a client beyond the nodes |
//!
//! | TO | |
//! |---|---|
//! | `backend:80`, `backend.other:80/udp`, `http://backend/` | a name, as a pod's resolver takes it |
//! | `svc/backend:http` | a Service's port by its name or number |
//! | `pod/b:8080`, `default/b:8080` | a pod |
//! | `node/node-1:30080` | a node's address |
//! | `10.96.0.17:80`, `[fd00::1]:80` | an address |

use std::net::IpAddr;

use sealane_net::Protocol;
use sealane_objects::ObjectName;

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// A process in a pod.
    Pod(ObjectName),
    /// A process of a node, outside of all pods.
    Node(String),
    /// A client beyond the nodes, with its address if that matters.
    Outside(Option<IpAddr>),
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Where.
    pub host: Host,
    /// A number, or the name of a Service's port; none if it is to be found out.
    pub port: Option<String>,
    /// TCP unless said.
    pub protocol: Protocol,
}

/// Where TO is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name for the resolver.
    Name(String),
    /// A Service, without the resolver.
    Service(ObjectName),
    /// A pod.
    Pod(ObjectName),
    /// A node.
    Node(String),
    /// An address.
    Address(IpAddr),
}

/// Why it cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no such form.
    #[error("read {0:?}: expected a pod such as default/a, node/NAME, outside, or outside/ADDRESS")]
    From(String),
    /// There is no such form.
    #[error(
        "read {0:?}: expected NAME:PORT, svc/NAME:PORT, pod/NAME:PORT, node/NAME:PORT, ADDRESS:PORT or a URL, and /udp or /sctp after the port"
    )]
    To(String),
    /// The word after the port.
    #[error("read {text:?}: {source}")]
    Protocol {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        source: sealane_net::UnknownProtocol,
    },
}

impl From {
    /// Reads FROM; names without a namespace are in `namespace`.
    ///
    /// # Errors
    /// When it has no known form.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, AskError> {
        let wrong = || AskError::From(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["outside"] => Ok(Self::Outside(None)),
            ["outside", address] => {
                let address = address.parse().map_err(|_| wrong())?;
                Ok(Self::Outside(Some(address)))
            }
            ["node" | "nodes" | "no", name] if !name.is_empty() => Ok(Self::Node(name.into())),
            _ => pod(&parts, namespace).map(Self::Pod).ok_or_else(wrong),
        }
    }
}

/// `a`, `pod/a`, `default/a`, `default/pod/a`
fn pod(parts: &[&str], namespace: &str) -> Option<ObjectName> {
    const KIND: [&str; 3] = ["pod", "pods", "po"];
    let (namespace, name) = match *parts {
        [name] => (namespace, name),
        [kind, name] if KIND.contains(&kind) => (namespace, name),
        [namespace, kind, name] if KIND.contains(&kind) => (namespace, name),
        [namespace, name] => (namespace, name),
        _ => return None,
    };
    (!namespace.is_empty() && !name.is_empty()).then(|| ObjectName::new(namespace, name))
}

impl To {
    /// Reads TO; Services and pods without a namespace are in `namespace`.
    ///
    /// # Errors
    /// When it has no known form.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, AskError> {
        let wrong = || AskError::To(text.to_owned());
        let (text_of_host, default_port) = without_scheme(text);
        let (rest, protocol) = protocol(text_of_host)?;
        let (host, port) = host_and_port(rest);
        let port = port.or(default_port).map(str::to_owned);
        if host.is_empty() || port.as_deref() == Some("") {
            return Err(wrong());
        }
        let parts: Vec<&str> = host.split('/').collect();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = if let Ok(address) = bare.parse() {
            Host::Address(address)
        } else {
            match parts[..] {
                [name] => Host::Name(name.to_owned()),
                ["svc" | "service" | "services", name] => {
                    Host::Service(ObjectName::new(namespace, name))
                }
                [namespace, "svc" | "service" | "services", name] => {
                    Host::Service(ObjectName::new(namespace, name))
                }
                ["node" | "nodes" | "no", name] => Host::Node(name.to_owned()),
                _ => Host::Pod(pod(&parts, namespace).ok_or_else(wrong)?),
            }
        };
        Ok(Self {
            host,
            port,
            protocol,
        })
    }
}

fn without_scheme(text: &str) -> (&str, Option<&'static str>) {
    for (scheme, port) in [("http://", "80"), ("https://", "443")] {
        if let Some(rest) = text.strip_prefix(scheme) {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return (host, Some(port));
        }
    }
    (text, None)
}

/// A word after the last slash is a protocol if a port is before it.
fn protocol(text: &str) -> Result<(&str, Protocol), AskError> {
    let Some((before, word)) = text.rsplit_once('/') else {
        return Ok((text, Protocol::Tcp));
    };
    let has_port = host_and_port(before).1.is_some();
    if !has_port {
        return Ok((text, Protocol::Tcp));
    }
    let protocol = word.to_uppercase().parse();
    let protocol = protocol.map_err(|source| AskError::Protocol {
        text: text.to_owned(),
        source,
    })?;
    Ok((before, protocol))
}

/// An IPv6 address has a port only behind brackets.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, name: &str) -> ObjectName {
        ObjectName::new(namespace, name)
    }

    #[test]
    fn senders_are_pods_nodes_and_outside() {
        for (text, expected) in [
            ("a", From::Pod(name("here", "a"))),
            ("pod/a", From::Pod(name("here", "a"))),
            ("default/a", From::Pod(name("default", "a"))),
            ("node/node-1", From::Node("node-1".into())),
            ("outside", From::Outside(None)),
            (
                "outside/203.0.113.9",
                From::Outside(Some([203, 0, 113, 9].into())),
            ),
        ] {
            assert_eq!(From::parse(text, "here"), Ok(expected), "{text}");
        }
        for wrong in ["", "a/b/c/d", "outside/x", "/a"] {
            assert!(From::parse(wrong, "here").is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_what_clients_type() {
        let to = |text: &str| {
            let To {
                host,
                port,
                protocol,
            } = To::parse(text, "here").unwrap();
            (host, port.unwrap_or_default(), protocol)
        };
        for (text, host, port, protocol) in [
            ("web:80", Host::Name("web".into()), "80", Protocol::Tcp),
            (
                "web.other:53/udp",
                Host::Name("web.other".into()),
                "53",
                Protocol::Udp,
            ),
            (
                "http://web/path",
                Host::Name("web".into()),
                "80",
                Protocol::Tcp,
            ),
            (
                "https://web:8443",
                Host::Name("web".into()),
                "8443",
                Protocol::Tcp,
            ),
            (
                "svc/web:http",
                Host::Service(name("here", "web")),
                "http",
                Protocol::Tcp,
            ),
            (
                "default/b:8080",
                Host::Pod(name("default", "b")),
                "8080",
                Protocol::Tcp,
            ),
            (
                "node/node-1:30080",
                Host::Node("node-1".into()),
                "30080",
                Protocol::Tcp,
            ),
            (
                "10.96.0.1:443",
                Host::Address([10, 96, 0, 1].into()),
                "443",
                Protocol::Tcp,
            ),
            (
                "[fd00::1]:443/sctp",
                Host::Address("fd00::1".parse().unwrap()),
                "443",
                Protocol::Sctp,
            ),
            (
                "fd00::1",
                Host::Address("fd00::1".parse().unwrap()),
                "",
                Protocol::Tcp,
            ),
        ] {
            assert_eq!(to(text), (host, port.to_owned(), protocol), "{text}");
        }
        for wrong in ["", ":80", "web:", "web:80/ip", "a/b/c/d:1"] {
            assert!(To::parse(wrong, "here").is_err(), "{wrong}");
        }
    }
}
