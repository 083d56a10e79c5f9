//! Headers of a request on its way to a pod, and of the answer on its way back.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;

use crate::status::ApiError;

/// Headers that are about one connection (RFC 9110 §7.6.1), besides those that `Connection` names.
const OF_ONE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether the client wants to speak something else than HTTP.
pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && named_by_connection(headers).any(|name| name == "upgrade")
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let words = values.flat_map(|value| value.split(','));
    words.map(|word| word.trim().to_ascii_lowercase())
}

/// Takes out what is about the connection; an upgrade stays if it is asked for or agreed to.
fn strip(headers: &mut HeaderMap, keep_upgrade: bool) {
    let named: Vec<String> = named_by_connection(headers).collect();
    let upgrade = headers.get(header::UPGRADE).cloned();
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade.filter(|_| keep_upgrade) {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

/// The request as the pod gets it: at its own path, and without what is meant for us.
///
/// # Errors
///
/// 500 for a path that is none.
pub fn outgoing(
    request: Request<Incoming>,
    own: &str,
    rest: &str,
) -> Result<Request<Incoming>, ApiError> {
    let (parts, body) = request.into_parts();
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let path = if rest.is_empty() { "/" } else { rest };
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = format!("{path}{query}")
        .parse()
        .map_err(ApiError::internal)?;
    let mut headers = parts.headers;
    let upgrades = asks_for_upgrade(&headers);
    strip(&mut headers, upgrades);
    headers.remove(header::AUTHORIZATION);
    // HTTP/2 has it in the URI.
    if !headers.contains_key(header::HOST)
        && let Some(authority) = parts.uri.authority()
    {
        set(&mut headers, header::HOST, authority.as_str());
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert("x-forwarded-host", host);
    }
    set(
        &mut headers,
        HeaderName::from_static("x-forwarded-proto"),
        "https",
    );
    set(
        &mut headers,
        HeaderName::from_static("x-forwarded-uri"),
        &format!("{own}{path}"),
    );
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The answer as the client gets it. A redirect within the pod leads to the same place below the
/// proxy.
pub fn incoming<B>(response: &mut Response<B>, own: &str, host: Option<&HeaderValue>) {
    let switches = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    strip(headers, switches);
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let host = host.and_then(|host| host.to_str().ok());
    if let Some(below) = location.and_then(|location| below(location, own, host)) {
        set(headers, header::LOCATION, &below);
    }
}

/// Where a redirect leads, if it stays in the pod.
fn below(location: &str, own: &str, host: Option<&str>) -> Option<String> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{own}{location}"));
    }
    let uri: Uri = location.parse().ok()?;
    let same = uri.host().is_some() && uri.authority().map(|a| a.as_str()) == host;
    same.then(|| {
        format!(
            "{own}{}",
            uri.path_and_query().map_or("/", |path| path.as_str())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "text/html"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        assert!(
            !asks_for_upgrade(&headers),
            "the connection does not name it"
        );
        strip(&mut headers, false);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["accept"]
        );
        headers.insert(header::CONNECTION, "Upgrade".parse().unwrap());
        headers.insert(header::UPGRADE, "websocket".parse().unwrap());
        assert!(asks_for_upgrade(&headers));
        strip(&mut headers, true);
        assert_eq!(headers[header::UPGRADE], "websocket");
        assert_eq!(headers[header::CONNECTION], "Upgrade");
    }

    #[test]
    fn redirects_stay_below_the_proxy() {
        let own = "/api/v1/namespaces/n/pods/p/proxy";
        let lead = |location: &str| below(location, own, Some("api:6443"));
        assert_eq!(lead("/login?x=1"), Some(format!("{own}/login?x=1")));
        assert_eq!(lead("https://api:6443/a"), Some(format!("{own}/a")));
        for elsewhere in ["//other/a", "https://other/a", "a/b", "?x"] {
            assert_eq!(lead(elsewhere), None, "{elsewhere}");
        }
    }
}
