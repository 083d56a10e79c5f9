//! URLs as Go's `net/url` takes them apart: absolute ones, and absolute paths.

use std::fmt::Write;

/// An absolute URL, or an absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub scheme: String,
    /// Host and port as they were written.
    pub authority: String,
    pub path: String,
    /// What stands after `?`, undecoded.
    pub raw_query: String,
    text: String,
}

impl Url {
    /// Reads a URL as `url.ParseRequestURI` does; what stands after `#` is left out.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return None;
        }
        let whole = text;
        let text = text.split('#').next().unwrap_or(text);
        let (scheme, rest) = split_scheme(text)?;
        let (rest, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() || !rest.starts_with('/') => {
                rest.split_at(rest.find('/').unwrap_or(rest.len()))
            }
            _ => ("", rest),
        };
        let opaque = !scheme.is_empty() && !rest.starts_with('/');
        if scheme.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        if !valid_host(host) || (!opaque && !valid_escapes(path)) {
            return None;
        }
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: host.into(),
            path: if opaque { String::new() } else { path.into() },
            raw_query: raw_query.into(),
            text: whole.into(),
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The host without its port, and without the brackets of an IPv6 address.
    pub fn hostname(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.authority.split(':').next().unwrap_or(""),
        }
    }

    /// The port as it was written; empty if there is none.
    pub fn port(&self) -> &str {
        let after_host = match self.authority.rfind(']') {
            Some(end) => &self.authority[end + 1..],
            None => &self.authority,
        };
        after_host.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path with everything escaped that must be.
    pub fn escaped_path(&self) -> String {
        let mut escaped = String::with_capacity(self.path.len());
        for byte in self.path.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@%!'()*".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
        escaped
    }

    /// Names and values of the query, decoded, in their order.
    pub fn query(&self) -> Vec<(String, String)> {
        let pairs = self
            .raw_query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        };
        pairs.filter_map(pair).collect()
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let scheme_letter = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match text.find(|c| !scheme_letter(c)) {
        Some(0) if text.starts_with(':') => None,
        Some(end)
            if text[end..].starts_with(':')
                && text.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Some((&text[..end], &text[end + 1..]))
        }
        _ => Some(("", text)),
    }
}

fn valid_host(host: &str) -> bool {
    let port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let address = address
            .split_once("%25")
            .map_or(address, |(address, _)| address);
        let port = after.is_empty() || after.strip_prefix(':').is_some_and(port);
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port;
    }
    let (name, right_port) = match host.rsplit_once(':') {
        Some((name, number)) => (name, port(number)),
        None => (host, true),
    };
    let forbidden = |c: char| c.is_ascii_whitespace() || "\"<>\\^`{}|#/?@".contains(c);
    right_port && !name.contains(forbidden) && valid_escapes(name)
}

/// Whether each `%` is followed by two hexadecimal digits.
fn valid_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3)?;
                out.push(u8::from_str_radix(hex, 16).ok()?);
                at += 2;
            }
            byte => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("https://user@[fd00::1]:8443/a b%20c?x=1&y=a%20b&x=2").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.hostname(), url.port()),
            ("https", "fd00::1", "8443")
        );
        assert_eq!(url.authority, "[fd00::1]:8443");
        assert_eq!(url.escaped_path(), "/a%20b%20c");
        let pairs = [("x", "1"), ("y", "a b"), ("x", "2")];
        assert_eq!(url.query(), pairs.map(|(a, b)| (a.into(), b.into())));
        let path = Url::parse("/a?b=c").unwrap();
        assert_eq!((path.scheme.as_str(), path.path.as_str()), ("", "/a"));
        for wrong in [
            "",
            "a",
            "a/b",
            ":a",
            "http://[fd00/",
            "http://a:x/",
            "/%zz",
            "http://a b/",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }
}
