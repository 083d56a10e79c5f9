//! URLs: `[http://]HOST[:PORT][/PATH][?QUERY]`.

use super::failure::{BAD_URL, Failure, UNSUPPORTED_PROTOCOL, failure};

/// An HTTP URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as written, for the `Host` header.
    pub(super) authority: String,
    /// Path and query, at least `/`.
    pub(super) target: String,
}

/// Reads a URL as people type it.
pub(super) fn parse(text: &str) -> Result<Url, Failure> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => {
            return Err(failure(
                UNSUPPORTED_PROTOCOL,
                format!("Protocol \"{scheme}\" not supported or disabled in libcurl"),
            ));
        }
        None => text,
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(split);
    let (host, port) = split_authority(authority)?;
    if host.is_empty() {
        return Err(failure(
            BAD_URL,
            "URL using bad/illegal format or missing URL",
        ));
    }
    if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(failure(
            BAD_URL,
            "URL rejected: Malformed input to a URL function",
        ));
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Url {
        host: host.to_owned(),
        port,
        authority: authority.to_owned(),
        target: format!("{slash}{target}"),
    })
}

fn split_authority(authority: &str) -> Result<(&str, u16), Failure> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let closed = rest.split_once(']');
            closed.ok_or_else(|| failure(BAD_URL, "URL rejected: Bad IPv6 address"))?
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match port.strip_prefix(':') {
        None | Some("") => Ok((host, 80)),
        Some(port) => {
            let port = port.parse();
            port.map(|port| (host, port)).map_err(|_| {
                failure(
                    BAD_URL,
                    "URL rejected: Port number was not a decimal number between 0 and 65535",
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_type_them() {
        let cases = [
            (
                "http://10.0.0.1:8080/a?b#c",
                "10.0.0.1",
                8080,
                "10.0.0.1:8080",
                "/a?b",
            ),
            ("pod-a", "pod-a", 80, "pod-a", "/"),
            ("pod-a:81", "pod-a", 81, "pod-a:81", "/"),
            ("HTTP://a?x=y", "a", 80, "a", "/?x=y"),
            (
                "http://[fd00::1]:8080/",
                "fd00::1",
                8080,
                "[fd00::1]:8080",
                "/",
            ),
            ("[::1]", "::1", 80, "[::1]", "/"),
        ];
        for (text, host, port, authority, target) in cases {
            let url = parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(
                (
                    url.host.as_str(),
                    url.port,
                    url.authority.as_str(),
                    url.target.as_str()
                ),
                (host, port, authority, target),
                "{text}"
            );
        }
    }

    #[test]
    fn other_urls_are_refused_with_curls_codes() {
        for (text, code) in [
            ("https://a/", UNSUPPORTED_PROTOCOL),
            ("ftp://a/", UNSUPPORTED_PROTOCOL),
            ("http://", BAD_URL),
            ("http://a:99999/", BAD_URL),
            ("http://[::1/", BAD_URL),
            ("http://a/b c", BAD_URL),
        ] {
            assert_eq!(parse(text).expect_err(text).code, code, "{text}");
        }
    }
}
