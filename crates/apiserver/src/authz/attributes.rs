//! What is asked of the authorizer: who wants to do what with which object.

use std::{borrow::Cow, fmt};

use http::Method;

use crate::{
    request::{Query, Target},
    select::FieldSelector,
};

/// A request, as far as authorization looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, …; for a path the HTTP method in small letters.
    pub verb: &'a str,
    /// Of what.
    pub object: Object<'a>,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// Objects of a kind.
    Resource(Resource<'a>),
    /// A path that is none of a kind's.
    Path(&'a str),
}

/// Objects of a kind. What is empty is not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group.
    pub group: &'a str,
    /// Plural name.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// The node that a field selector restricts a list of pods to.
    pub on_node: Option<Cow<'a, str>>,
}

/// What a path and its query say, kept for the [`Attributes`] that borrow it.
pub struct Asked<'a> {
    verb: &'static str,
    target: &'a Target,
    /// The one name, and the one node, that a field selector leaves.
    name: Option<String>,
    node: Option<String>,
}

impl<'a> Asked<'a> {
    /// Reads the request for a resource, as kube-apiserver maps methods to verbs.
    pub fn of(method: &Method, target: &'a Target, query: &Query) -> Self {
        let one = !target.name.is_empty();
        let watch = target.watch || query.flag("watch").ok().flatten().unwrap_or(false);
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if one => "delete",
            Method::DELETE => "deletecollection",
            _ if target.watch => "watch",
            _ if one => "get",
            _ if watch => "watch",
            _ => "list",
        };
        let selector = matches!(verb, "list" | "watch" | "deletecollection")
            .then(|| query.get("fieldSelector"))
            .flatten()
            .and_then(|text| FieldSelector::parse(text).ok());
        let only = |field: &str| selector.as_ref()?.only(field).map(str::to_owned);
        Self {
            verb,
            target,
            name: only("metadata.name").filter(|_| !one && verb != "deletecollection"),
            node: only("spec.nodeName"),
        }
    }

    /// What it is asked besides: who opens a stream by GET (WebSocket knows nothing else) does
    /// what POST does, and must be allowed to.
    pub fn stream(&self) -> Option<Attributes<'_>> {
        let pods = self.target.group.is_empty() && self.target.resource == "pods";
        let stream = matches!(
            self.target.subresource.as_str(),
            "attach" | "exec" | "portforward"
        );
        let create = Attributes {
            verb: "create",
            ..self.attributes()
        };
        (pods && stream && self.verb == "get").then_some(create)
    }

    /// What the authorizer is asked.
    pub fn attributes(&self) -> Attributes<'_> {
        let target = self.target;
        // A namespace is within itself, so that a role in it can let its users see it.
        let namespace = match (target.group.as_str(), target.resource.as_str()) {
            ("", "namespaces") => target.name.as_str(),
            _ => target.namespace.as_str(),
        };
        Attributes {
            verb: self.verb,
            object: Object::Resource(Resource {
                group: &target.group,
                resource: &target.resource,
                subresource: &target.subresource,
                namespace,
                name: self.name.as_deref().unwrap_or(&target.name),
                on_node: self.node.as_deref().map(Cow::Borrowed),
            }),
        }
    }
}

/// As in the messages of kube-apiserver: `cannot …`.
impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb;
        match &self.object {
            Object::Path(path) => write!(f, "{verb} path {path:?}"),
            Object::Resource(of) => {
                let part = if of.subresource.is_empty() { "" } else { "/" };
                let resource = format!("{}{part}{}", of.resource, of.subresource);
                write!(
                    f,
                    "{verb} resource {resource:?} in API group {:?} ",
                    of.group
                )?;
                match of.namespace {
                    "" => f.write_str("at the cluster scope"),
                    namespace => write!(f, "in the namespace {namespace:?}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Path;

    fn asked(method: Method, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(Path::Resource(target)) = Path::parse(path) else {
            panic!("{path} is no resource");
        };
        let query = Query::parse(Some(query));
        let asked = Asked::of(&method, &target, &query);
        let attributes = asked.attributes();
        let Object::Resource(of) = &attributes.object else {
            unreachable!()
        };
        let node = of
            .on_node
            .as_deref()
            .map(|node| format!(" on {node}"))
            .unwrap_or_default();
        format!("{attributes} {:?}{node}", of.name)
    }

    #[test]
    fn methods_become_verbs() {
        for (method, path, expected) in [
            (
                Method::GET,
                "/api/v1/namespaces/x/pods",
                r#"list resource "pods" in API group "" in the namespace "x" """#,
            ),
            (
                Method::GET,
                "/api/v1/pods?watch=1",
                r#"watch resource "pods" in API group "" at the cluster scope """#,
            ),
            (
                Method::GET,
                "/api/v1/watch/pods",
                r#"watch resource "pods" in API group "" at the cluster scope """#,
            ),
            (
                Method::GET,
                "/api/v1/namespaces/x/pods/p",
                r#"get resource "pods" in API group "" in the namespace "x" "p""#,
            ),
            (
                Method::GET,
                "/api/v1/namespaces/x/pods/p/log",
                r#"get resource "pods/log" in API group "" in the namespace "x" "p""#,
            ),
            (
                Method::POST,
                "/api/v1/namespaces/x/pods/p/exec",
                r#"create resource "pods/exec" in API group "" in the namespace "x" "p""#,
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/x/pods",
                r#"deletecollection resource "pods" in API group "" in the namespace "x" """#,
            ),
            (
                Method::DELETE,
                "/api/v1/nodes/n",
                r#"delete resource "nodes" in API group "" at the cluster scope "n""#,
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/x/deployments/d/scale",
                r#"patch resource "deployments/scale" in API group "apps" in the namespace "x" "d""#,
            ),
            (
                Method::GET,
                "/api/v1/namespaces/x",
                r#"get resource "namespaces" in API group "" in the namespace "x" "x""#,
            ),
            (
                Method::GET,
                "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Dn",
                r#"watch resource "nodes" in API group "" at the cluster scope "n""#,
            ),
            (
                Method::GET,
                "/api/v1/pods?fieldSelector=spec.nodeName%3Dn",
                r#"list resource "pods" in API group "" at the cluster scope "" on n"#,
            ),
            (
                Method::GET,
                "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn",
                r#"list resource "pods" in API group "" at the cluster scope """#,
            ),
        ] {
            assert_eq!(asked(method, path), expected, "{path}");
        }
    }
}
