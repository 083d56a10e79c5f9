//! Where an image is asked for, and in which order.

use std::net::IpAddr;

use super::config::Registries;
use crate::reference::{DEFAULT_REGISTRY, Reference};

/// The name of the default registry's server.
const DEFAULT_HOST: &str = "registry-1.docker.io";

/// A server that may have the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port, for certificates and messages.
    pub(crate) host: String,
    /// Between scheme and `/v2/`: host, port, and a mirror's own path.
    pub(crate) place: String,
    /// What its user wrote, else both are tried where plain HTTP may be spoken.
    pub(crate) scheme: Option<&'static str>,
    /// Plain HTTP may be spoken.
    pub(crate) plain: bool,
    /// Its certificate is not looked at.
    pub(crate) unverified: bool,
    /// Which registry a mirror is asked for.
    pub(crate) mirrored: Option<String>,
    /// What credentials are looked up for: `HOST/REPOSITORY`.
    pub(crate) identity: String,
}

/// All servers that may have it: mirrors, then the registry.
pub(crate) fn endpoints(
    reference: &Reference,
    registries: &Registries,
) -> Result<Vec<Endpoint>, String> {
    let registry = reference.registry();
    let said = registries.of(registry);
    let mirror = |url: &String| mirror(url, reference, registries);
    let mut endpoints: Vec<Endpoint> = said.mirrors.iter().map(mirror).collect::<Result<_, _>>()?;
    let host = match registry {
        DEFAULT_REGISTRY => DEFAULT_HOST,
        other => other,
    };
    endpoints.push(Endpoint {
        host: host.to_owned(),
        place: host.to_owned(),
        scheme: None,
        plain: said.insecure || is_loopback(host),
        unverified: said.insecure,
        mirrored: None,
        identity: reference.name(),
    });
    Ok(endpoints)
}

fn mirror(url: &str, reference: &Reference, registries: &Registries) -> Result<Endpoint, String> {
    let (scheme, place) = match url.split_once("://") {
        Some(("https", place)) => (Some("https"), place),
        Some(("http", place)) => (Some("http"), place),
        Some((other, _)) => {
            return Err(format!(
                "mirror {url:?}: scheme {other:?} is neither https nor http"
            ));
        }
        None => (None, url),
    };
    let place = place.trim_end_matches('/').trim_end_matches("/v2");
    let host = place.split('/').next().unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        return Err(format!(
            "mirror {url:?}: expected is https://HOST[:PORT][/PATH]"
        ));
    }
    let insecure = registries.of(host).insecure;
    Ok(Endpoint {
        host: host.to_owned(),
        place: place.to_owned(),
        scheme,
        plain: insecure || scheme == Some("http") || is_loopback(host),
        unverified: insecure,
        mirrored: Some(reference.registry().to_owned()),
        identity: format!("{host}/{}", reference.repository()),
    })
}

/// Whether packets to it stay on this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_plain_http_only_where_it_may() {
        let mut registries = Registries::default();
        registries.entry("docker.io").mirrors =
            vec!["https://m.local:5000/hub/".into(), "http://n".into()];
        registries.entry("r.local").insecure = true;
        let found = endpoints(&"nginx:1".parse().unwrap(), &registries).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|e| (e.place.as_str(), e.scheme, e.plain, e.identity.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "m.local:5000/hub",
                    Some("https"),
                    false,
                    "m.local:5000/library/nginx"
                ),
                ("n", Some("http"), true, "n/library/nginx"),
                (
                    "registry-1.docker.io",
                    None,
                    false,
                    "docker.io/library/nginx"
                ),
            ]
        );
        for (image, plain, unverified) in [
            ("127.0.0.1:5000/a", true, false),
            ("[::1]:5000/a", true, false),
            ("localhost/a", true, false),
            ("r.local/a", true, true),
            ("r.example/a", false, false),
            ("127.0.0.1.example/a", false, false),
        ] {
            let endpoint = endpoints(&image.parse().unwrap(), &registries)
                .unwrap()
                .remove(0);
            assert_eq!(
                (endpoint.plain, endpoint.unverified),
                (plain, unverified),
                "{image}"
            );
        }
        registries.entry("docker.io").mirrors = vec!["ftp://n".into()];
        assert!(endpoints(&"a".parse().unwrap(), &registries).is_err());
    }
}
