//! Who may do what: tokens, reviews, roles, and the identities of our own processes, asked through
//! kubectl as people ask.

use std::fs;

use crate::harness::{Said, Server, wait_for};

/// Runs kubectl as the holder of a certificate.
#[allow(dead_code, reason = "for the tests of enforcement")]
fn as_user(server: &Server, name: &str, group: &str, words: &str) -> Said {
    let file = name.replace(':', "-");
    server.add(&server.pki.client(name, group), &file);
    run(server, &server.kubeconfig(Some(&file)), words)
}

/// Runs kubectl with a token and no certificate.
fn with_token(server: &Server, token: &str, words: &str) -> Said {
    let token = token.trim();
    run(
        server,
        &server.kubeconfig(None),
        &format!("--token={token} {words}"),
    )
}

fn run(server: &Server, kubeconfig: &str, words: &str) -> Said {
    let path = server.path().join("kubeconfig-of-somebody");
    fs::write(&path, kubeconfig).unwrap();
    server.kubectl(&format!("--kubeconfig={} {words}", path.display()))
}

#[track_caller]
fn good(said: Said) -> String {
    assert!(said.ok, "{}", said.err);
    said.out
}

/// The words of each line, one space between them.
fn lines(text: &str) -> Vec<String> {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}

/// The account `default` is made by the server, soon after its namespace.
fn wait_for_account(server: &Server) {
    wait_for("the default service account", || {
        server
            .kubectl("get serviceaccount default")
            .ok
            .then_some(())
    });
}

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
fn a_token_is_its_account() {
    let server = Server::start();
    wait_for_account(&server);
    let token = server.ok("create token default");
    let said = lines(&good(with_token(&server, &token, "auth whoami")));
    assert_eq!(said[1], "Username system:serviceaccount:default:default");
    assert!(said[2].starts_with("UID "), "{said:?}");
    assert_eq!(
        said[3],
        "Groups [system:serviceaccounts system:serviceaccounts:default system:authenticated]"
    );
    let refused = server.kubectl("create token default --duration=5m");
    assert!(
        refused
            .err
            .contains("may not specify a duration less than 10 minutes"),
        "{}",
        refused.err
    );
    let refused = server.kubectl("create token nobody");
    assert_eq!(
        refused.err,
        "error: failed to create token: serviceaccounts \"nobody\" not found\n"
    );
    let other = server.ok("create token default --audience=vault");
    let refused = with_token(&server, &other, "auth whoami");
    assert!(refused.err.contains("Unauthorized"), "{}", refused.err);
    let broken = format!("{}x", token.trim());
    let refused = with_token(&server, &broken, "get pods");
    assert_eq!(
        refused.err,
        "error: You must be logged in to the server (Unauthorized)\n"
    );
}

#[test]
fn a_token_ends_with_what_it_is_bound_to() {
    let server = Server::start();
    wait_for_account(&server);
    server.ok("create secret generic tie");
    server.ok("run web --image=sealane.io/echo");
    let of_pod = server.ok("create token default --bound-object-kind=Pod --bound-object-name=web");
    let of_secret =
        server.ok("create token default --bound-object-kind=Secret --bound-object-name=tie");
    let said = good(with_token(&server, &of_pod, "auth whoami"));
    assert!(
        said.contains("authentication.kubernetes.io/pod-name        [web]"),
        "{said}"
    );
    server.ok("delete pod web");
    server.ok("delete secret tie");
    for token in [of_pod, of_secret] {
        let said = with_token(&server, &token, "auth whoami");
        assert!(
            said.err.contains("Unauthorized"),
            "{} {}",
            said.out,
            said.err
        );
    }
    let token = server.ok("create token default");
    server.ok("delete serviceaccount default");
    wait_for_account(&server);
    let said = with_token(&server, &token, "auth whoami");
    assert!(
        said.err.contains("Unauthorized"),
        "the account is another now: {}",
        said.out
    );
}

#[test]
fn tokens_are_reviewed_and_their_key_is_published() {
    let server = Server::start();
    wait_for_account(&server);
    let token = server.ok("create token default");
    let review = format!(
        "{{apiVersion: authentication.k8s.io/v1, kind: TokenReview, spec: {{token: {}}}}}",
        token.trim()
    );
    let said = server.kubectl_with(
        &[
            "create",
            "-o",
            "jsonpath={.status.authenticated} {.status.user.username}",
            "-f",
            "-",
        ],
        &review,
    );
    assert_eq!(
        said.out, "true system:serviceaccount:default:default",
        "{}",
        said.err
    );
    let said = server.kubectl_with(
        &["create", "-o", "jsonpath={.status.error}", "-f", "-"],
        &review.replace("token: ", "token: x"),
    );
    assert!(said.out.starts_with("[invalid bearer token, "), "{said:?}");
    let keys = server.ok("get --raw /openid/v1/jwks");
    assert!(keys.contains("\"alg\":\"ES256\""), "{keys}");
    let configuration = server.ok("get --raw /.well-known/openid-configuration");
    assert!(
        configuration.contains("https://kubernetes.default.svc.cluster.local/openid/v1/jwks"),
        "{configuration}"
    );
}
