//! What the server tells: who it is, where it was reached, by whom, with what.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::unistd::gethostname;
use serde::Serialize;

/// Who this server is.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    namespace: Option<String>,
    node: Option<String>,
}

impl Identity {
    /// From the variables that pods are usually given, or the host name.
    pub(super) fn of_this_process() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let hostname = || gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            name: variable("POD_NAME").unwrap_or_else(|| hostname().unwrap_or_default()),
            namespace: variable("POD_NAMESPACE"),
            node: variable("NODE_NAME"),
        }
    }
}

/// The answer to one request, connection or datagram.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    /// All addresses of the server that others can reach.
    addresses: Vec<IpAddr>,
    protocol: &'static str,
    /// Where the server was reached.
    local: Endpoint,
    /// Where the request came from.
    peer: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    address: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: address.ip(),
            port: address.port(),
        }
    }
}

/// An HTTP request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Request {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    pub(super) version: &'static str,
    /// In the order and spelling of arrival; a map in JSON.
    #[serde(serialize_with = "headers_as_map")]
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// Headers of the same name are joined, as RFC 9110 §5.3 allows.
fn headers_as_map<S: serde::Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        map.entry(name)
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    serializer.collect_map(map)
}

impl<'a> Report<'a> {
    pub(super) fn new(
        identity: &'a Identity,
        protocol: &'static str,
        local: SocketAddr,
        peer: SocketAddr,
        request: Option<Request>,
    ) -> Self {
        Self {
            name: &identity.name,
            namespace: identity.namespace.as_deref(),
            node: identity.node.as_deref(),
            addresses: addresses(),
            protocol,
            local: local.into(),
            peer: peer.into(),
            request,
        }
    }

    /// One line, for protocols in which the request itself follows.
    pub(super) fn line(&self) -> String {
        format!(
            "name={} addresses={} protocol={} local={} peer={}\n",
            self.name,
            self.addresses_with(","),
            self.protocol,
            self.local.text(),
            self.peer.text(),
        )
    }

    /// Text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{name:<11}{value}");
            }
        };
        line("name", self.name);
        line("namespace", self.namespace.unwrap_or(""));
        line("node", self.node.unwrap_or(""));
        line("addresses", &self.addresses_with(" "));
        line("local", &self.local.text());
        line("peer", &self.peer.text());
        if let Some(request) = &self.request {
            request.write(&mut text);
        }
        text
    }

    /// JSON for programs.
    pub(super) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn addresses_with(&self, separator: &str) -> String {
        let texts: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        texts.join(separator)
    }
}

impl Endpoint {
    fn text(&self) -> String {
        SocketAddr::new(self.address, self.port).to_string()
    }
}

impl Request {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\n{} {} {}", self.method, self.path, self.version);
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        if !self.body.is_empty() {
            let _ = write!(text, "\n{}", self.body);
            if !self.body.ends_with('\n') {
                text.push('\n');
            }
        }
    }
}

/// Addresses by which others can reach this machine or pod.
pub(super) fn addresses() -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else {
        return Vec::new();
    };
    let reachable = all.filter(|a| !a.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    reachable
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(identity: &Identity) -> Report<'_> {
        let request = Request {
            method: "POST".into(),
            path: "/a?b=c".into(),
            version: "HTTP/1.1",
            headers: vec![
                ("Host".into(), "x".into()),
                ("A".into(), "1".into()),
                ("A".into(), "2".into()),
            ],
            body: "hi \"you\"".into(),
        };
        Report {
            addresses: vec!["10.244.1.2".parse().unwrap()],
            ..Report::new(
                identity,
                "http",
                "10.244.1.2:8080".parse().unwrap(),
                "[fd00::1]:4".parse().unwrap(),
                Some(request),
            )
        }
    }

    fn identity() -> Identity {
        Identity {
            name: "pod-a".into(),
            namespace: None,
            node: Some("node-1".into()),
        }
    }

    #[test]
    fn text_reads_like_a_form_and_a_request() {
        assert_eq!(
            report(&identity()).text(),
            "name       pod-a\nnode       node-1\naddresses  10.244.1.2\nlocal      10.244.1.2:8080\n\
             peer       [fd00::1]:4\n\nPOST /a?b=c HTTP/1.1\nHost: x\nA: 1\nA: 2\n\nhi \"you\"\n"
        );
    }

    #[test]
    fn line_has_what_fits_a_line() {
        assert_eq!(
            report(&identity()).line(),
            "name=pod-a addresses=10.244.1.2 protocol=http local=10.244.1.2:8080 peer=[fd00::1]:4\n"
        );
    }

    #[test]
    fn json_has_the_same() {
        let value: serde_json::Value = serde_json::from_str(&report(&identity()).json()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "name": "pod-a",
                "node": "node-1",
                "addresses": ["10.244.1.2"],
                "protocol": "http",
                "local": {"address": "10.244.1.2", "port": 8080},
                "peer": {"address": "fd00::1", "port": 4},
                "request": {
                    "method": "POST",
                    "path": "/a?b=c",
                    "version": "HTTP/1.1",
                    "headers": {"Host": "x", "A": "1, 2"},
                    "body": "hi \"you\"",
                },
            })
        );
    }
}
