//! What roles cannot say of our agents: each sees the pods of its own node alone.
//!
//! An agent is known by its certificate (`system:sealane:agent:NODE`, group
//! `system:sealane:agents`), or by a service-account token that is bound to a pod of its node.
//! On another Kubernetes, where this code does not run, agents see the pods of all nodes.

use super::{Attributes, Object, node::NODE_OF_TOKEN};
use crate::authn::User;

const AGENTS: &str = "system:sealane:agents";
const AGENT: &str = "system:sealane:agent:";
/// The service account of `deploy/agent.yaml`.
const ACCOUNT: &str = "system:serviceaccount:kube-system:sealane-agent";

/// The node that a user is bound to, if it is one of our agents; empty if none can be told.
fn bound_node(user: &User) -> Option<&str> {
    if user.is_in(AGENTS) {
        return Some(user.name.strip_prefix(AGENT).unwrap_or(""));
    }
    (user.name == ACCOUNT).then(|| {
        let node = user
            .extra
            .get(NODE_OF_TOKEN)
            .and_then(|nodes| nodes.first());
        node.map_or("", String::as_str)
    })
}

/// Refuses an agent that asks for pods of other nodes.
pub fn check(user: &User, asked: &Attributes<'_>) -> Result<(), String> {
    let (Some(node), Object::Resource(of)) = (bound_node(user), &asked.object) else {
        return Ok(());
    };
    let own = !node.is_empty() && of.on_node.as_deref() == Some(node);
    if (of.group, of.resource) == ("", "pods") && !own {
        return Err(format!(
            "an agent can only list or watch pods with a field selector of its own node \
             (spec.nodeName={node})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Resource;

    #[test]
    fn agents_see_the_pods_of_their_node() {
        let certificate = User {
            name: "system:sealane:agent:node-1".into(),
            groups: vec![AGENTS.into()],
            ..User::default()
        };
        let mut token = User {
            name: ACCOUNT.into(),
            ..User::default()
        };
        let unbound = token.clone();
        token
            .extra
            .insert(NODE_OF_TOKEN.into(), vec!["node-1".into()]);
        let other = User {
            name: "alice".into(),
            ..User::default()
        };
        for (user, resource, on_node, expected) in [
            (&certificate, "pods", Some("node-1"), true),
            (&certificate, "pods", Some("node-2"), false),
            (&certificate, "pods", None, false),
            (&certificate, "nodes", None, true),
            (&token, "pods", Some("node-1"), true),
            (&token, "pods", Some("node-2"), false),
            (&unbound, "pods", Some(""), false),
            (&other, "pods", None, true),
        ] {
            let of = Resource {
                resource,
                on_node: on_node.map(Into::into),
                ..Resource::default()
            };
            let asked = Attributes {
                verb: "list",
                object: Object::Resource(of),
            };
            assert_eq!(
                check(user, &asked).is_ok(),
                expected,
                "{} {asked:?}",
                user.name
            );
        }
    }
}
