//! Paths of the Kubernetes API.
//!
//! ```text
//! /api/v1/RESOURCE[/NAME[/SUBRESOURCE[/REST]]]
//! /apis/GROUP/VERSION/RESOURCE[/NAME[/SUBRESOURCE[/REST]]]
//! /…/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE[/REST]]]
//! /…/watch/…                                                    the old form of ?watch=true
//! ```
//!
//! `namespaces/NAME/status` and `namespaces/NAME/finalize` are subresources of the Namespace, as
//! in Kubernetes, not resources within it.

use percent_encoding::percent_decode_str;

/// Parts before what a proxied request asks of its pod, which may look as it likes:
/// `api/v1/namespaces/NAMESPACE/pods/NAME/proxy`.
const PROXIED: usize = 7;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Health, version, discovery: everything that is not a resource; without empty parts.
    Other(Vec<String>),
    /// A resource.
    Resource(Target),
}

/// A resource, or one object of it, or a part of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace; empty for all, or for a cluster-scoped resource.
    pub namespace: String,
    /// Plural name.
    pub resource: String,
    /// Name of one object; empty for a collection.
    pub name: String,
    /// Subresource; empty for the object itself.
    pub subresource: String,
    /// What follows a subresource (`proxy/REST`).
    pub rest: String,
    /// Whether the path asks to watch.
    pub watch: bool,
}

impl Path {
    /// Reads a path; `None` if it cannot be one (bad percent encoding, slashes within names).
    pub fn parse(path: &str) -> Option<Self> {
        let parts: Option<Vec<String>> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .enumerate()
            .map(|(at, part)| decode(part).or_else(|| (at >= PROXIED).then(|| part.to_owned())))
            .collect();
        let parts = parts?;
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Some(Self::Other(parts)),
        };
        let mut target = target(rest);
        target.group = group.into();
        target.version = version.into();
        Some(Self::Resource(target))
    }
}

fn target(words: &[&str]) -> Target {
    let (watch, words) = match words {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        words => (false, words),
    };
    let (namespace, words) = match words {
        ["namespaces", _, "status" | "finalize"] => ("", words),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        words => ("", words),
    };
    let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
    Target {
        namespace: namespace.into(),
        resource: word(0),
        name: word(1),
        subresource: word(2),
        rest: words.get(3..).unwrap_or_default().join("/"),
        watch,
        ..Target::default()
    }
}

fn decode(part: &str) -> Option<String> {
    let decoded = percent_decode_str(part).decode_utf8().ok()?;
    (!decoded.contains(['/', '\0'])).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// group/version, then those of the rest that are not empty.
    fn shown(path: &str) -> String {
        let join = |parts: &[&str]| {
            let filled: Vec<&str> = parts
                .iter()
                .copied()
                .filter(|part| !part.is_empty())
                .collect();
            filled.join(" ")
        };
        match Path::parse(path) {
            None => "none".into(),
            Some(Path::Other(parts)) => format!("other {}", parts.join(" ")),
            Some(Path::Resource(t)) => {
                let (place, within) = (
                    format!("{}/{}", t.group, t.version),
                    format!("[{}]", t.namespace),
                );
                let watch = if t.watch { "watch" } else { "" };
                join(&[
                    &place,
                    &within,
                    &t.resource,
                    &t.name,
                    &t.subresource,
                    &t.rest,
                    watch,
                ])
            }
        }
    }

    #[test]
    fn paths_lead_where_kubernetes_has_them() {
        for (path, expected) in [
            ("/", "other "),
            ("/healthz", "other healthz"),
            ("/api", "other api"),
            ("/api/v1", "other api v1"),
            ("/apis/apps/v1/", "other apis apps v1"),
            ("/api/v1/nodes", "/v1 [] nodes"),
            ("/api/v1/nodes/n1/status", "/v1 [] nodes n1 status"),
            ("/api/v1/namespaces", "/v1 [] namespaces"),
            ("/api/v1/namespaces/x", "/v1 [] namespaces x"),
            ("/api/v1/namespaces/x/status", "/v1 [] namespaces x status"),
            (
                "/api/v1/namespaces/x/finalize",
                "/v1 [] namespaces x finalize",
            ),
            ("/api/v1/namespaces/x/pods", "/v1 [x] pods"),
            ("/api/v1/namespaces/x/pods/p/log", "/v1 [x] pods p log"),
            (
                "/api/v1/namespaces/x/pods/p/proxy/a/b",
                "/v1 [x] pods p proxy a/b",
            ),
            (
                "/apis/apps/v1/namespaces/x/deployments/d",
                "apps/v1 [x] deployments d",
            ),
            ("/api/v1/watch/pods", "/v1 [] pods watch"),
            ("/api/v1/watch/namespaces/x/pods/p", "/v1 [x] pods p watch"),
            ("/api/v1/namespaces/x/pods/a%20b", "/v1 [x] pods a b"),
            (
                "/api/v1/namespaces/x/pods/p/proxy/a%2Fb",
                "/v1 [x] pods p proxy a%2Fb",
            ),
            ("/api/v1/namespaces/x/pods/a%2Fb", "none"),
            ("/api/v1/pods/%ff", "none"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }
}
