//! Who may do what: tokens, reviews, roles, and the identities of our own processes, asked through
//! kubectl as people ask.

mod identities;
mod roles;
mod table;
mod tokens;

use std::fs;

use crate::harness::{Said, Server, wait_for};

/// Runs kubectl as the holder of a certificate.
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

/// What comes of a request.
#[derive(Clone, Copy)]
enum Comes {
    /// It is done.
    Good,
    /// It is refused with these words.
    No(&'static str),
}

/// Sends the requests of an identity one after the other.
#[track_caller]
fn each(ask: impl Fn(&str) -> Said, requests: &[(&str, Comes)]) {
    for (words, comes) in requests {
        let said = ask(words);
        match comes {
            Comes::Good => assert!(said.ok, "kubectl {words}: {}", said.err),
            Comes::No(why) => {
                assert!(
                    !said.ok,
                    "kubectl {words} did what should be refused: {}",
                    said.out
                );
                assert!(said.err.contains(why), "kubectl {words}: {}", said.err);
            }
        }
    }
}
