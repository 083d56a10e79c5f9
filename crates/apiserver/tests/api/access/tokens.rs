//! Tokens of service accounts: what they are good for, and for how long.

use serde_json::json;

use super::{good, lines, wait_for_account, with_token};
use crate::harness::Server;

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
    let review = |token: &str| {
        let spec = json!({ "token": token.trim() });
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec})
            .to_string()
    };
    let said = server.kubectl_with(
        &[
            "create",
            "-o",
            "jsonpath={.status.authenticated} {.status.user.username}",
            "-f",
            "-",
        ],
        &review(&token),
    );
    assert_eq!(
        said.out, "true system:serviceaccount:default:default",
        "{}",
        said.err
    );
    let said = server.kubectl_with(
        &["create", "-o", "jsonpath={.status.error}", "-f", "-"],
        &review(&format!("x{token}")),
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
