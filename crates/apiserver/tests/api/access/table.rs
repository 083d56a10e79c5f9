//! A table of questions about access. Each is asked twice: of the server's SubjectAccessReview, and by
//! doing it in that user's name; both must come to the same.

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::{
    Comes::{Good, No},
    as_user, each, lines,
};
use crate::{
    harness::{Server, wait_for, within},
    requests::send,
};

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: mills.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Mill, plural: mills}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods, namespace: shop}
rules:
- {apiGroups: [''], resources: [pods, pods/log], verbs: [get, list, watch]}
- {apiGroups: [''], resources: [configmaps], resourceNames: [settings], verbs: [get, update, list]}
- {apiGroups: [apps], resources: ['*/scale'], verbs: ['*']}
- {apiGroups: ['*'], resources: [statefulsets], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pods, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}
- {kind: ServiceAccount, name: robot, namespace: factory}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: everything}
rules:
- {apiGroups: ['*'], resources: ['*'], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: owners, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: owners}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum}
aggregationRule:
  clusterRoleSelectors: [{matchLabels: {part-of: sum}}, {matchExpressions: [{key: part, operator: Exists}]}]
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum-nodes, labels: {part-of: sum}}
rules: [{apiGroups: [''], resources: [nodes], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum-paths, labels: {part: '1'}}
rules:
- {nonResourceURLs: [/metrics, /debug/*], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sum}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sum}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: ops}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: mills-edit, labels: {rbac.authorization.k8s.io/aggregate-to-edit: 'true'}}
rules: [{apiGroups: [example.com], resources: [mills], verbs: [create, get, list, delete, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edits, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edith}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: views, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: vic}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: acts}
rules:
- {apiGroups: [''], resources: [users], resourceNames: [ann], verbs: [impersonate]}
- {apiGroups: [''], resources: [groups], resourceNames: [ops], verbs: [impersonate]}
- {apiGroups: [authentication.k8s.io], resources: [userextras/team], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: acts}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: acts}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: boss}]
";

/// `WHO VERB WHAT [NAMESPACE[/NAME]]`; WHO is a user, or a group after `@`; WHAT is `GROUP:RESOURCE`,
/// with a subresource maybe, or a path. First those that are allowed, then those that are not.
const ALLOWED: &str = "
ann get :pods shop/web
ann list :pods shop
ann watch :pods shop
ann get :pods/log shop/web
ann get :configmaps shop/settings
ann update :configmaps shop/settings
ann patch apps:deployments/scale shop/web
ann get apps:statefulsets shop/db
system:serviceaccount:factory:robot list :pods shop
@owners create apps:deployments shop
@owners deletecollection :secrets shop
@owners delete example.com:mills shop/old
@owners create rbac.authorization.k8s.io:rolebindings shop
@owners get :namespaces shop/shop
@owners delete :namespaces shop/shop
@ops list :nodes
@ops get :nodes /node-1
@ops get /metrics
@ops get /debug/pprof/heap
edith create example.com:mills shop
edith delete example.com:mills shop/old
edith get :secrets shop/pass
edith create batch:jobs shop
edith delete batch:cronjobs shop/nightly
edith create policy:poddisruptionbudgets shop
edith create :pods/eviction shop/web
edith create :pods/exec shop/web
vic get batch:jobs shop/once
vic list policy:poddisruptionbudgets shop
vic list networking.k8s.io:ingresses shop
vic get apps:deployments/scale shop/web
vic get :namespaces shop/shop
@system:authenticated get /api
@system:authenticated get /openapi/v3
@system:authenticated create authorization.k8s.io:selfsubjectaccessreviews
@system:masters delete :nodes /node-1
@system:masters get /anything
";
const REFUSED: &str = "
ann get :pods default/web
ann list :pods
ann delete :pods shop/web
ann create :pods/exec shop/web
ann get :configmaps shop/others
ann list :configmaps shop
ann create :configmaps shop
ann delete :configmaps shop/settings
ann get apps:deployments shop/web
ann update apps:deployments/status shop/web
ann get :namespaces shop/shop
system:serviceaccount:shop:robot list :pods shop
robot list :pods shop
@owners list :pods
@owners create :namespaces
@owners get :nodes /node-1
@owners create rbac.authorization.k8s.io:clusterroles
@owners get /metrics
@ops delete :nodes /node-1
@ops get /metrics/cadvisor
@ops get /debug
@ops post /metrics
edith update example.com:mills/status shop/old
edith create rbac.authorization.k8s.io:roles shop
edith get :nodes /node-1
edith create :namespaces
vic get :secrets shop/pass
vic get example.com:mills shop/old
vic create :pods shop
vic create :pods/exec shop/web
nobody get :pods shop/web
nobody create authorization.k8s.io:subjectaccessreviews
";

/// A question.
#[derive(Debug)]
struct Question<'a> {
    who: &'a str,
    verb: &'a str,
    what: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Question<'a> {
    fn read(line: &'a str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let place = words.get(3).copied().unwrap_or("");
        let (namespace, name) = place.split_once('/').unwrap_or((place, ""));
        Self {
            who: words[0],
            verb: words[1],
            what: words[2],
            namespace,
            name,
        }
    }

    fn resource(&self) -> Option<(&str, &str, &str)> {
        let (group, resource) = self.what.split_once(':')?;
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        Some((group, resource, part))
    }

    fn review(&self) -> Value {
        let mut spec = match self.resource() {
            None => json!({ "nonResourceAttributes": { "path": self.what, "verb": self.verb } }),
            Some((group, resource, subresource)) => json!({ "resourceAttributes": {
                "group": group, "resource": resource, "subresource": subresource,
                "verb": self.verb, "namespace": self.namespace, "name": self.name,
            }}),
        };
        match self.who.strip_prefix('@') {
            Some(group) => spec["groups"] = json!([group]),
            None => spec["user"] = self.who.into(),
        }
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        })
    }

    /// The same done, as that user.
    fn request(&self) -> Request<Body> {
        let method = match self.verb {
            "create" | "post" => Method::POST,
            "update" => Method::PUT,
            "patch" => Method::PATCH,
            "delete" | "deletecollection" => Method::DELETE,
            _ => Method::GET,
        };
        // What is sent is nonsense, and nothing is done; whether one may is asked first.
        let (user, group) = match self.who.strip_prefix('@') {
            Some(group) => ("somebody", group),
            None => (self.who, "some-group"),
        };
        Request::builder()
            .method(method)
            .uri(self.path())
            .header("content-type", "application/json")
            .header("impersonate-user", user)
            .header("impersonate-group", group)
            .body(Body::from(b"nonsense".to_vec()))
            .unwrap()
    }

    fn path(&self) -> String {
        let Some((group, resource, part)) = self.resource() else {
            return self.what.into();
        };
        let mut path = match group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        if !self.namespace.is_empty() && resource != "namespaces" {
            path += &format!("/namespaces/{}", self.namespace);
        }
        for word in [resource, self.name, part] {
            if !word.is_empty() {
                path += &format!("/{word}");
            }
        }
        if self.verb == "watch" {
            path += "?watch=true&timeoutSeconds=1";
        }
        path
    }
}

#[tokio::test]
async fn roles_allow_what_they_say() {
    let server = Server::start();
    server.apply(OBJECTS);
    let client = server.client().await;
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    for (expected, line) in [(true, ALLOWED), (false, REFUSED)]
        .into_iter()
        .flat_map(|(expected, lines)| lines.trim().lines().map(move |line| (expected, line)))
    {
        let question = Question::read(line);
        let body = question.review().to_string();
        let (_, answer) = send(&client, Method::POST, reviews, "application/json", body).await;
        assert_eq!(answer["status"]["allowed"], expected, "{line}: {answer}");
        let answer = client.send(question.request());
        let code = within("an answer", answer).await.unwrap().status();
        assert_eq!(code != StatusCode::FORBIDDEN, expected, "{line}: {code}");
    }
}

#[test]
fn who_acts_as_another_must_be_allowed_to() {
    let server = Server::start();
    server.apply(OBJECTS);
    each(
        |words| as_user(&server, "boss", "staff", words),
        &[
            ("get pods -n shop --as=ann", Good),
            (
                "get pods -n shop",
                No("User \"boss\" cannot list resource \"pods\""),
            ),
            (
                "get pods -n shop --as=edith",
                No("users \"edith\" is forbidden"),
            ),
            ("get nodes --as=ann --as-group=ops", Good),
            (
                "get nodes --as=ann --as-group=system:masters",
                No("groups \"system:masters\" is forbidden"),
            ),
            (
                "get pods -n shop --as=ann --as-uid=1",
                No("uids.authentication.k8s.io \"1\" is forbidden"),
            ),
            (
                "get pods -n shop --as=system:serviceaccount:factory:robot",
                No("serviceaccounts \"robot\" is forbidden"),
            ),
        ],
    );
}

/// Rights that are passed on are held, or the role says that one need not.
#[test]
fn nobody_gives_more_than_they_hold() {
    let server = Server::start();
    server.apply(OBJECTS);
    for command in [
        "create clusterrole writes-roles --verb=create,update,patch,get --resource=clusterroles,clusterrolebindings",
        "create clusterrolebinding writes --clusterrole=writes-roles --user=walt",
        "create clusterrolebinding wanda-writes --clusterrole=writes-roles --user=wanda",
        "create clusterrole trusted --verb=escalate,bind --resource=clusterroles",
        "create clusterrolebinding trusts --clusterrole=trusted --user=wanda",
    ] {
        server.ok(command);
    }
    each(
        |words| as_user(&server, "walt", "staff", words),
        &[
            (
                "create clusterrole same --verb=get --resource=clusterroles",
                Good,
            ),
            (
                "create clusterrole more --verb=get,list --resource=nodes,pods",
                No(
                    "user \"walt\" (groups=[\"staff\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\"]}",
                ),
            ),
            (
                "create clusterrole gathers --aggregation-rule=a=b",
                No("must have cluster-admin privileges to use the aggregationRule"),
            ),
            (
                "create clusterrolebinding b --clusterrole=sum --user=walt",
                No("Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]"),
            ),
            (
                "create clusterrolebinding b --clusterrole=absent --user=walt",
                No("clusterroles.rbac.authorization.k8s.io \"absent\" not found"),
            ),
            (
                "create clusterrolebinding b --clusterrole=writes-roles --user=wim",
                Good,
            ),
        ],
    );
    each(
        |words| as_user(&server, "wanda", "staff", words),
        &[
            ("create clusterrole more --verb=get --resource=nodes", Good),
            (
                "create clusterrolebinding c --clusterrole=sum --user=wanda",
                Good,
            ),
            ("get nodes", Good),
        ],
    );
}

const RECONCILED: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum-nodes, labels: {part-of: sum}}
rules: [{apiGroups: [''], resources: [nodes], verbs: [get, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pods, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ben}]
";

#[test]
fn kubectl_reconciles_and_lists() {
    let server = Server::start();
    server.apply(OBJECTS);
    let said = server.kubectl_with(&["auth", "reconcile", "-f", "-"], RECONCILED);
    assert!(
        said.ok
            && said
                .out
                .contains("clusterrole.rbac.authorization.k8s.io/sum-nodes reconciled"),
        "{said:?}"
    );
    // What was there stays, what is missing is added; and the sum says so.
    let list = |who: &str| lines(&server.ok(&format!("auth can-i --list -n shop {who}")));
    let all = list("--as=x --as-group=ops");
    assert!(
        all.contains(&"nodes [] [] [get list watch]".to_owned()),
        "{all:#?}"
    );
    assert!(all.contains(&"[/debug/*] [] [get]".to_owned()), "{all:#?}");
    for who in ["ann", "ben"] {
        let all = list(&format!("--as={who}"));
        assert!(
            all.contains(&"configmaps [] [settings] [get update list]".to_owned()),
            "{all:#?}"
        );
        assert!(
            all.contains(&"*.apps/scale [] [] [*]".to_owned())
                || all.contains(&"*/scale.apps [] [] [*]".to_owned()),
            "{all:#?}"
        );
    }
    let all = list("");
    assert!(all.contains(&"*.* [] [] [*]".to_owned()), "{all:#?}");
    let all = list("--as=edith");
    assert!(
        all.contains(&"mills.example.com [] [] [create get list delete patch]".to_owned()),
        "{all:#?}"
    );

    // A role that takes in others shows what it has by them.
    let rules = |role: &str| {
        server.ok(&format!(
            "get clusterrole {role} -o jsonpath={{.rules[*].resources}}"
        ))
    };
    wait_for("the rules of the sum", || {
        rules("sum").contains("nodes").then_some(())
    });
    wait_for("the rules of edit", || {
        rules("edit").contains("mills").then_some(())
    });
    server.ok("label clusterrole mills-edit rbac.authorization.k8s.io/aggregate-to-edit-");
    wait_for("the rules of edit without mills", || {
        (!rules("edit").contains("mills")).then_some(())
    });
    let said = server.kubectl("auth can-i create mills.example.com -n shop --as=edith");
    assert_eq!(said.out, "no\n", "{said:?}");
}
