//! The roles and bindings that are there from the start: Kubernetes' own, and those of our
//! processes, which stand in `deploy/` and are the same on any Kubernetes.
//!
//! They are brought up to date at each start, so that a new version has what it needs. Who wants to
//! keep a change says so as in Kubernetes, by the annotation
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` on the object.

use futures::future::try_join_all;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::aggregate;
use crate::{
    kinds::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING},
    object,
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, create_object, replace},
};

const FILES: [&str; 5] = [
    include_str!("../../roles/kubernetes.yaml"),
    include_str!("../../../../deploy/agent.yaml"),
    include_str!("../../../../deploy/controllers.yaml"),
    include_str!("../../../../deploy/dns.yaml"),
    include_str!("../../../../deploy/single-machine.yaml"),
];
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// What an update brings up to date.
const PARTS: [&str; 3] = ["rules", "aggregationRule", "subjects"];

/// Makes what is missing and brings the others up to date.
///
/// # Errors
///
/// What the store or the validation says.
pub async fn ensure(server: &Server) -> Result<(), ApiError> {
    let objects = objects()
        .into_iter()
        .map(|(kind, object)| ensure_one(server, kind, object));
    try_join_all(objects).await.map(drop)
}

async fn ensure_one(server: &Server, kind: &Kind, object: Value) -> Result<(), ApiError> {
    let namespace = object::namespace(&object).to_owned();
    let Some(current) = server
        .store
        .get(&kind.key(&namespace, object::name(&object)))
    else {
        return create_object(server, kind, &namespace, object, &Writing::ours())
            .await
            .map(drop);
    };
    let old: Value =
        serde_json::from_slice(&current.object.unpack()).map_err(ApiError::internal)?;
    // Roles of users may have been taken in, too; `aggregate` sees to that.
    let aggregates = !object["aggregationRule"].is_null();
    let ours = |part: &&str| !aggregates || *part != "rules";
    let parts: Vec<&str> = PARTS.into_iter().filter(ours).collect();
    let same = parts.iter().all(|part| old[*part] == object[*part]);
    if same || old["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Ok(());
    }
    let mut new = old;
    for part in parts {
        object::copy_part(&mut new, &object, part);
    }
    replace(server, kind, Part::Main, new, &current, &Writing::ours())
        .await
        .map(drop)
}

/// All roles and bindings, complete.
fn objects() -> Vec<(&'static Kind, Value)> {
    let documents = FILES
        .into_iter()
        .flat_map(serde_yaml_ng::Deserializer::from_str);
    let parsed: Vec<Value> = documents
        .map(|document| Value::deserialize(document).expect("the files are YAML, a test says"))
        .collect();
    let is_cluster_role = |object: &&Value| object["kind"] == CLUSTER_ROLE.kind;
    let cluster_roles: Vec<Value> = parsed.iter().filter(is_cluster_role).cloned().collect();
    let kinds: [&'static Kind; 4] = [&ROLE, &CLUSTER_ROLE, &ROLE_BINDING, &CLUSTER_ROLE_BINDING];
    parsed
        .into_iter()
        .filter_map(|mut object| {
            let kind = kinds.into_iter().find(|kind| object["kind"] == kind.kind)?;
            if !object["aggregationRule"].is_null() {
                // What they take in is shown, too, as on any Kubernetes.
                object["rules"] = json!(aggregate::rules(&object, &cluster_roles));
            }
            let metadata = object::metadata_mut(&mut object);
            metadata.insert("annotations".into(), json!({ AUTOUPDATE: "true" }));
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
            (kind.complete)(&mut object);
            Some((kind, object))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authn::User,
        authz::{Attributes, Object, Policy, Resource, Sources},
        check::Findings,
        kinds::KINDS,
    };

    fn policy() -> Policy {
        let of = |wanted: &Kind| {
            let all = objects()
                .into_iter()
                .filter(|(kind, _)| kind.kind == wanted.kind);
            all.map(|(_, object)| object).collect()
        };
        Policy::compile(&Sources {
            roles: of(&ROLE),
            cluster_roles: of(&CLUSTER_ROLE),
            role_bindings: of(&ROLE_BINDING),
            cluster_role_bindings: of(&CLUSTER_ROLE_BINDING),
        })
    }

    fn user(name: &str, group: &str) -> User {
        let groups = vec![group.to_owned(), crate::authn::AUTHENTICATED.into()];
        User {
            name: name.into(),
            groups,
            ..User::default()
        }
    }

    #[test]
    fn the_files_are_right_and_their_bindings_lead_somewhere() {
        let objects = objects();
        for (kind, object) in &objects {
            let mut findings = Findings::default();
            (kind.validate)(object, &mut findings);
            assert!(findings.is_empty(), "{}: {findings}", object::name(object));
            let decoded = (kind.decode)(object).unwrap();
            assert_eq!(
                (decoded.unknown.as_slice(), &decoded.value),
                (&[][..], object)
            );
            let role = &object["roleRef"];
            let exists = |(_, other): &(_, Value)| {
                other["kind"] == role["kind"] && other["metadata"]["name"] == role["name"]
            };
            assert!(role.is_null() || objects.iter().any(exists), "{role}");
        }
    }

    #[test]
    fn the_controllers_can_collect_every_kind_and_no_more() {
        let (policy, controllers) = (
            policy(),
            user("system:sealane:controllers", "system:sealane"),
        );
        let may = |verb, group, place: &str, namespace| {
            let (resource, subresource) = place.split_once('/').unwrap_or((place, ""));
            let of = Resource {
                group,
                resource,
                subresource,
                namespace,
                ..Resource::default()
            };
            policy
                .allows(
                    &controllers,
                    &Attributes {
                        verb,
                        object: Object::Resource(of),
                    },
                )
                .is_some()
        };
        for kind in KINDS
            .iter()
            .filter(|kind| kind.is_stored() || kind.stored_as.is_some())
        {
            for verb in ["get", "list", "watch", "patch", "update", "delete"] {
                assert!(
                    may(verb, kind.group, kind.plural, "shop"),
                    "{verb} {kind:?}: deploy/single-machine.yaml does not have it"
                );
            }
        }
        for (verb, group, place) in [
            ("create", "", "secrets"),
            ("create", "", "serviceaccounts/token"),
            ("create", "", "pods/exec"),
            ("get", "", "pods/exec"),
            ("get", "", "pods/log"),
            ("get", "", "pods/proxy"),
            ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
            ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
            ("bind", "rbac.authorization.k8s.io", "clusterroles"),
            ("impersonate", "", "users"),
        ] {
            assert!(!may(verb, group, place, "shop"), "{verb} {place}");
        }
    }

    #[test]
    fn roles_of_users_grow_from_view_to_admin() {
        let rules = |name: &str| {
            let all = objects();
            let found = all
                .into_iter()
                .find(|(kind, object)| kind.kind == "ClusterRole" && object::name(object) == name);
            crate::authz::rules_of(&found.unwrap().1)
        };
        let may = |role: &str, verb, group, resource| {
            let of = Resource {
                group,
                resource,
                namespace: "shop",
                ..Resource::default()
            };
            let asked = Attributes {
                verb,
                object: Object::Resource(of),
            };
            rules(role).iter().any(|rule| rule.allows(&asked))
        };
        for (verb, group, resource, roles) in [
            ("get", "", "pods", &["view", "edit", "admin"][..]),
            ("list", "apps", "deployments", &["view", "edit", "admin"]),
            ("get", "", "secrets", &["edit", "admin"]),
            ("create", "", "pods", &["edit", "admin"]),
            ("create", "rbac.authorization.k8s.io", "roles", &["admin"]),
            ("get", "", "nodes", &[]),
        ] {
            for role in ["view", "edit", "admin"] {
                assert_eq!(
                    may(role, verb, group, resource),
                    roles.contains(&role),
                    "{role} {verb} {resource}"
                );
            }
        }
    }
}
