//! Roles, and what people may do by them.

use super::{
    Comes::{Good, No},
    as_user, each, lines, wait_for_account, with_token,
};
use crate::harness::Server;

#[test]
fn kubectl_asks_who_it_is() {
    let server = Server::start();
    let said = lines(&server.ok("auth whoami"));
    assert_eq!(
        said[..3],
        [
            "ATTRIBUTE VALUE",
            "Username kubernetes-admin",
            "Groups [system:masters system:authenticated]",
        ]
    );
    assert!(said[3].starts_with("Extra: authentication.kubernetes.io/credential-id [X509SHA256="));
    let said = lines(&server.ok("auth whoami --as=bob --as-group=dev"));
    assert_eq!(
        said[1..],
        ["Username bob", "Groups [dev system:authenticated]"]
    );
}

#[test]
fn kubectl_makes_roles_and_asks_what_they_allow() {
    let server = Server::start();
    for (command, said) in [
        (
            "create role reader --verb=get,list --resource=pods,pods/log",
            "role.rbac.authorization.k8s.io/reader created\n",
        ),
        (
            "create rolebinding bob-reads --role=reader --user=bob",
            "rolebinding.rbac.authorization.k8s.io/bob-reads created\n",
        ),
        (
            "create clusterrole nodes --verb=get --resource=nodes --resource-name=n",
            "clusterrole.rbac.authorization.k8s.io/nodes created\n",
        ),
        (
            "create clusterrolebinding dev-nodes --clusterrole=nodes --group=dev",
            "clusterrolebinding.rbac.authorization.k8s.io/dev-nodes created\n",
        ),
        (
            "create clusterrole metrics --verb=get --non-resource-url=/metrics",
            "clusterrole.rbac.authorization.k8s.io/metrics created\n",
        ),
    ] {
        assert_eq!(server.ok(command), said, "{command}");
    }
    for (question, expected) in [
        ("get pods --as=bob", "yes"),
        ("get pods --subresource=log --as=bob", "yes"),
        ("delete pods --as=bob", "no"),
        ("get pods --as=bob -n kube-system", "no"),
        ("get pods --as=alice", "no"),
        ("get nodes/n --as=alice --as-group=dev", "yes"),
        ("get nodes/m --as=alice --as-group=dev", "no"),
        ("get /metrics --as=bob", "no"),
        ("delete nodes", "yes"),
    ] {
        let said = server.kubectl(&format!("auth can-i {question}"));
        assert_eq!(said.out.trim(), expected, "can-i {question}: {}", said.err);
    }
    let rules = lines(&server.ok("auth can-i --list --as=bob"));
    assert!(
        rules.contains(&"pods [] [] [get list]".to_owned()),
        "{rules:#?}"
    );
    let wide = lines(&server.ok("get rolebinding bob-reads -o wide"));
    assert!(wide[1].starts_with("bob-reads Role/reader "), "{wide:?}");
    assert!(wide[1].ends_with(" bob"), "{wide:?}");
}

#[test]
fn a_binding_keeps_its_role() {
    let server = Server::start();
    server.ok("create rolebinding b --role=one --user=bob");
    let patch = r#"-p={"roleRef":{"name":"two"}}"#;
    let said = server.refused(&["patch", "rolebinding", "b", "--type=merge", patch], "");
    assert!(said.contains("cannot change roleRef"), "{said}");
}

#[test]
fn users_do_what_their_roles_say_and_pass_on_no_more() {
    let server = Server::start();
    wait_for_account(&server);
    server.ok("create rolebinding edits --clusterrole=edit --user=edith");
    server.ok("create rolebinding administrates --clusterrole=admin --user=adam");
    server.ok("create rolebinding views --clusterrole=view --serviceaccount=default:default");
    let user = |name: &'static str| {
        let server = &server;
        move |words: &str| as_user(server, name, "staff", words)
    };
    each(
        user("edith"),
        &[
            ("run web --image=sealane.io/echo", Good),
            ("get pod web", Good),
            (
                "get pod web -n kube-system",
                No(
                    "User \"edith\" cannot get resource \"pods\" in API group \"\" in the namespace \"kube-system\"",
                ),
            ),
            ("get nodes", No("at the cluster scope")),
            (
                "create role r --verb=get --resource=pods",
                No("cannot create resource \"roles\""),
            ),
            ("auth can-i create deployments", Good),
            ("auth can-i create roles", No("")),
        ],
    );
    each(
        user("adam"),
        &[
            ("create role reader --verb=get --resource=pods", Good),
            (
                "create role nodes --verb=get --resource=nodes",
                No(
                    "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}",
                ),
            ),
            ("create rolebinding b --role=reader --user=eve", Good),
            (
                "create rolebinding c --clusterrole=cluster-admin --user=eve",
                No("not currently held"),
            ),
            (
                "create clusterrole x --verb=get --resource=pods",
                No("at the cluster scope"),
            ),
        ],
    );
    each(
        user("eve"),
        &[
            ("get pod web", Good),
            ("delete pod web", No("cannot delete resource")),
        ],
    );
    let token = server.ok("create token default");
    each(
        |words| with_token(&server, &token, words),
        &[
            ("get pods", Good),
            ("get secrets", No("cannot list resource \"secrets\"")),
            ("get --raw /openid/v1/jwks", Good),
            (
                "delete pod web",
                No(
                    "User \"system:serviceaccount:default:default\" cannot delete resource \"pods\"",
                ),
            ),
        ],
    );
    server.ok("delete rolebinding edits");
    each(
        user("edith"),
        &[("get pod web", No("cannot get resource \"pods\""))],
    );
}

#[test]
fn roles_that_were_changed_are_put_right_unless_one_says_so() {
    let mut server = Server::start();
    let verbs = |server: &Server, role: &str| {
        server.ok(&format!(
            "get clusterrole {role} -o jsonpath={{.rules[*].verbs}}"
        ))
    };
    let meant = verbs(&server, "sealane-agent");
    assert!(meant.contains("watch"), "{meant}");
    server.ok("annotate clusterrole sealane-dns rbac.authorization.kubernetes.io/autoupdate=false --overwrite");
    for role in ["sealane-dns", "sealane-agent"] {
        let patch = r#"-p={"rules":[]}"#;
        server.ok(&format!("patch clusterrole {role} --type=merge {patch}"));
    }
    server.ok("delete clusterrolebinding sealane-agent");
    server.kill_and_launch();
    assert_eq!(verbs(&server, "sealane-dns"), "");
    assert_eq!(verbs(&server, "sealane-agent"), meant);
    server.ok("get clusterrolebinding sealane-agent");
}
