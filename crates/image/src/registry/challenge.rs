//! What a registry asks for with a 401: `WWW-Authenticate` (RFC 9110 §11.6.1, distribution token spec).

use std::collections::HashMap;

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which another server gives.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best that is offered.
    pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let mut parameters = parameters(rest);
                if let Some(realm) = parameters.remove("realm") {
                    return Some(Self::Bearer {
                        realm,
                        service: parameters.remove("service"),
                        scope: parameters.remove("scope"),
                    });
                }
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

/// `a="b, c",d=e`
fn parameters(mut text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.insert(key, value.trim().to_owned());
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="invalid_token""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(Challenge::parse([hub].into_iter()), Some(bearer.clone()));
        assert_eq!(
            Challenge::parse(["Basic realm=\"x\"", hub].into_iter()),
            Some(bearer)
        );
        assert_eq!(
            Challenge::parse(["basic"].into_iter()),
            Some(Challenge::Basic)
        );
        let bare = Challenge::Bearer {
            realm: "http://t".into(),
            service: None,
            scope: None,
        };
        assert_eq!(
            Challenge::parse(["bearer realm=http://t"].into_iter()),
            Some(bare)
        );
        for odd in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer service=\"a\"",
            "Bearer realm",
        ] {
            assert_eq!(Challenge::parse([odd].into_iter()), None, "{odd}");
        }
    }
}
