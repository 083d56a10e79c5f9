//! Where a webhook is: a URL, or a Service.

use base64::Engine as _;
use http::Uri;
use serde_json::Value;

/// Where a webhook is, and whose certificate it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The way to it.
    pub way: Way,
    /// The name in its certificate.
    pub host: String,
    /// The port, also of the Service.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// The authority of its certificate, PEM; that of this machine's if it is empty.
    pub authority: Vec<u8>,
}

/// How a webhook is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// From here, by name or address.
    Url,
    /// Through the node of one of its pods.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Address {
    /// Reads a `clientConfig`.
    pub fn of(config: &Value) -> Self {
        let bundle = config["caBundle"].as_str().unwrap_or("");
        let authority = base64::engine::general_purpose::STANDARD.decode(bundle);
        let authority = authority.unwrap_or_default();
        let service = &config["service"];
        if let Some(name) = service["name"].as_str() {
            let namespace = service["namespace"].as_str().unwrap_or("");
            let port = service["port"]
                .as_u64()
                .and_then(|port| port.try_into().ok());
            let path = service["path"]
                .as_str()
                .unwrap_or("")
                .trim_start_matches('/');
            return Self {
                host: format!("{name}.{namespace}.svc"),
                port: port.unwrap_or(443),
                path: format!("/{path}"),
                way: Way::Service {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                },
                authority,
            };
        }
        let url: Uri = config["url"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .unwrap_or_default();
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Self {
            way: Way::Url,
            host: url.host().unwrap_or("").trim_matches(['[', ']']).to_owned(),
            port: url.port_u16().unwrap_or(443),
            path: path.to_owned(),
            authority,
        }
    }

    /// The whole address, with the time that the webhook has.
    pub fn url(&self, seconds: u64) -> String {
        let Self {
            host, port, path, ..
        } = self;
        let separator = if path.contains('?') { '&' } else { '?' };
        match self.way {
            Way::Url if *port == 443 => {
                format!("https://{host}{path}{separator}timeout={seconds}s")
            }
            _ => format!("https://{host}:{port}{path}{separator}timeout={seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_have_an_address() {
        let service = |port: Value| json!({"service": {"namespace": "n", "name": "s", "path": "/p", "port": port}});
        for (config, expected) in [
            (service(json!(8443)), "https://s.n.svc:8443/p?timeout=5s"),
            (service(json!(null)), "https://s.n.svc:443/p?timeout=5s"),
            (
                json!({"url": "https://a.b:1/p?x=y"}),
                "https://a.b:1/p?x=y&timeout=5s",
            ),
            (json!({"url": "https://a.b"}), "https://a.b/?timeout=5s"),
        ] {
            assert_eq!(Address::of(&config).url(5), expected);
        }
        assert_eq!(
            Address::of(&json!({"caBundle": "YQ==", "url": ""})).authority,
            b"a"
        );
    }
}
