//! Who may do what: tokens, reviews, roles, and the identities of our own processes, asked through
//! kubectl as people ask.

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

/// What comes of a request.
#[derive(Clone, Copy)]
enum Comes {
    /// It is done.
    Good,
    /// It is refused with these words.
    No(&'static str),
}
use Comes::{Good, No};

/// Sends the requests of an identity one after the other.
#[track_caller]
fn each(ask: impl Fn(&str) -> Said, requests: &[(&str, Comes)]) {
    for (words, comes) in requests {
        let said = ask(words);
        match comes {
            Good => assert!(said.ok, "kubectl {words}: {}", said.err),
            No(why) => {
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

/// Two nodes with a pod each, and things that the first one's pod needs, and others.
const TWO_NODES: &str = "
{apiVersion: v1, kind: Node, metadata: {name: node-1}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-2}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: needed}}
---
{apiVersion: v1, kind: Secret, metadata: {name: needed}}
---
{apiVersion: v1, kind: Secret, metadata: {name: private}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: node-1
  containers: [{name: main, image: sealane.io/echo}]
  volumes: [{name: a, configMap: {name: needed}}, {name: b, secret: {secretName: needed}}]
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec: {nodeName: node-2, containers: [{name: main, image: sealane.io/echo}]}
";

/// A server with them.
fn two_nodes() -> Server {
    let server = Server::start();
    wait_for_account(&server);
    server.apply(TWO_NODES);
    server
}

#[test]
fn a_node_reads_and_writes_its_own() {
    let server = two_nodes();
    let unrelated = "no relationship found between node 'node-1' and this object";
    let uid = server.ok("get pod web -o jsonpath={.metadata.uid}");
    let bound = format!(
        "create token default --bound-object-kind=Pod --bound-object-name=web --bound-object-uid={uid}"
    );
    let ask = |words: &str| as_user(&server, "system:node:node-1", "system:nodes", words);
    each(
        ask,
        &[
            ("get node node-1", Good),
            ("get node node-2", No("only its own Node object")),
            ("get nodes", No("only its own Node object")),
            ("label node node-1 team=a", Good),
            ("label node node-2 team=a", No("only its own Node object")),
            (
                "label node node-1 node-restriction.kubernetes.io/a=b",
                No("is not allowed to modify labels: node-restriction.kubernetes.io/a"),
            ),
            (
                "taint node node-1 a=b:NoSchedule",
                No("node \"node-1\" is not allowed to modify taints"),
            ),
            ("delete node node-1", No("cannot delete resource \"nodes\"")),
            (
                r#"patch node node-1 --subresource=status -p={"status":{"phase":"x"}}"#,
                Good,
            ),
            (
                r#"patch node node-2 --subresource=status -p={"status":{"phase":"x"}}"#,
                No("only its own Node object"),
            ),
            (
                "get pods -A",
                No("can only list/watch pods with spec.nodeName field selector"),
            ),
            (
                "get pods -A --field-selector=spec.nodeName=node-2",
                No("can only list/watch pods with spec.nodeName field selector"),
            ),
            ("get pods -A --field-selector=spec.nodeName=node-1", Good),
            ("get pod web", Good),
            ("get pod other", No(unrelated)),
            ("get pod absent", No("pods \"absent\" not found")),
            ("label pod web a=b", No("cannot patch resource \"pods\"")),
            (
                r#"patch pod web --subresource=status -p={"status":{"message":"x"}}"#,
                Good,
            ),
            (
                r#"patch pod other --subresource=status -p={"status":{"message":"x"}}"#,
                No(unrelated),
            ),
            ("get configmap needed", Good),
            ("get secret needed", Good),
            ("get secret private", No(unrelated)),
            ("get secrets", No("No Object name found")),
            (
                "create configmap mine",
                No("can only read resources of this type"),
            ),
            (&bound, Good),
            (
                "create token default",
                No("node requested token not bound to a pod"),
            ),
            (
                "create token default --bound-object-kind=Pod --bound-object-name=web",
                No("without a uid"),
            ),
            ("create token robot", No(unrelated)),
            ("get services -A", Good),
            (
                "get leases -n kube-system",
                No("can only get, create, update, patch, or delete a node lease"),
            ),
            (
                "get clusterroles",
                No("cannot list resource \"clusterroles\""),
            ),
            ("exec web -- ls", No("resource \"pods/exec\"")),
            ("delete pod other --now --wait=false", No(unrelated)),
            ("delete pod web --now --wait=false", Good),
        ],
    );
}

#[test]
fn a_node_keeps_its_lease_and_tells_what_happens() {
    let server = two_nodes();
    let ask = |name: &str, manifest: String| {
        server.add(
            &server.pki.client("system:node:node-1", "system:nodes"),
            "node",
        );
        fs::write(
            server.path().join("kubeconfig-node"),
            server.kubeconfig(Some("node")),
        )
        .unwrap();
        let kubeconfig = format!("--kubeconfig={}/kubeconfig-node", server.path().display());
        let said = server.kubectl_with(&[&kubeconfig, "create", "-f", "-"], &manifest);
        (name.to_owned(), said.ok, said.err)
    };
    let lease = |name: &str, namespace: &str| {
        format!(
            "{{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{name: {name}, namespace: {namespace}}}}}"
        )
    };
    let event = "{apiVersion: v1, kind: Event, metadata: {name: e, namespace: default}, \
                 involvedObject: {kind: Pod, namespace: default, name: web}, reason: Started}";
    for (name, manifest, expected) in [
        ("own lease", lease("node-1", "kube-node-lease"), true),
        ("lease of another", lease("node-2", "kube-node-lease"), false),
        ("lease elsewhere", lease("node-1", "kube-system"), false),
        ("event", event.into(), true),
        ("pod", "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b}]}}".into(), false),
        ("another node", "{apiVersion: v1, kind: Node, metadata: {name: node-3}}".into(), false),
    ] {
        let (name, ok, error) = ask(name, manifest);
        assert_eq!(ok, expected, "{name}: {error}");
        assert!(ok || error.contains("orbidden"), "{name}: {error}");
    }
}

#[test]
fn an_agent_reads_nodes_and_the_pods_of_its_node() {
    let server = two_nodes();
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:agent:node-1",
            "system:sealane:agents",
            words,
        )
    };
    each(
        ask,
        &[
            ("get nodes", Good),
            ("get --raw /api/v1/nodes?watch=1&timeoutSeconds=1", Good),
            ("get pods -A --field-selector=spec.nodeName=node-1", Good),
            (
                "get pods -A --field-selector=spec.nodeName=node-2",
                No("of its own node (spec.nodeName=node-1)"),
            ),
            ("get pods -A", No("of its own node (spec.nodeName=node-1)")),
            ("get pod web", No("of its own node")),
            ("label node node-1 a=b", No("cannot get resource \"nodes\"")),
            ("delete node node-1", No("cannot delete resource \"nodes\"")),
            ("get secret needed", No("cannot get resource \"secrets\"")),
            ("get configmaps", No("cannot list resource \"configmaps\"")),
            ("get services", No("cannot list resource \"services\"")),
            (
                "create configmap x",
                No("cannot create resource \"configmaps\""),
            ),
            (
                "create token default",
                No("cannot create resource \"serviceaccounts/token\""),
            ),
        ],
    );
}

#[test]
fn dns_reads_what_names_are_made_of() {
    let server = two_nodes();
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:dns:node-1",
            "system:sealane:dns",
            words,
        )
    };
    each(
        ask,
        &[
            ("get services -A", Good),
            ("get endpointslices -A", Good),
            ("get namespaces", Good),
            ("get pods", No("cannot list resource \"pods\"")),
            ("get nodes", No("cannot list resource \"nodes\"")),
            ("get secrets", No("cannot list resource \"secrets\"")),
            (
                "delete service kubernetes",
                No("cannot delete resource \"services\""),
            ),
        ],
    );
}

#[test]
fn the_controllers_keep_the_cluster_and_cannot_take_it_over() {
    let server = two_nodes();
    server.ok("run loose --image=sealane.io/echo");
    let ask = |words: &str| {
        as_user(
            &server,
            "system:sealane:controllers",
            "system:sealane",
            words,
        )
    };
    let grant = r#"patch clusterrolebinding cluster-admin --type=merge -p={"subjects":[{"kind":"User","name":"system:sealane:controllers"}]}"#;
    let rules = r#"patch clusterrole sealane-single-machine --type=merge -p={"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#;
    each(
        ask,
        &[
            ("get nodes", Good),
            (
                r#"patch node node-1 -p={"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}"#,
                Good,
            ),
            (
                r#"patch node node-1 --subresource=status -p={"status":{"phase":"x"}}"#,
                Good,
            ),
            ("get pods -A", Good),
            ("get leases -A", Good),
            (
                r#"patch pod web --subresource=status -p={"status":{"message":"x"}}"#,
                Good,
            ),
            ("run more --image=sealane.io/echo", Good),
            ("delete pod more --now", Good),
            (
                "create configmap x",
                No("cannot create resource \"configmaps\""),
            ),
            (
                "create secret generic x",
                No("cannot create resource \"secrets\""),
            ),
            (
                "create token default",
                No("cannot create resource \"serviceaccounts/token\""),
            ),
            ("exec web -- ls", No("resource \"pods/exec\"")),
            ("logs web", No("cannot get resource \"pods/log\"")),
            (
                "create clusterrolebinding x --clusterrole=cluster-admin --user=x",
                No("cannot create resource \"clusterrolebindings\""),
            ),
            (
                grant,
                No("is attempting to grant RBAC permissions not currently held"),
            ),
            (
                rules,
                No("is attempting to grant RBAC permissions not currently held"),
            ),
            (
                "get pods --as=kubernetes-admin",
                No("cannot impersonate resource \"users\""),
            ),
        ],
    );
}

#[test]
fn nobody_sees_health_and_version_alone() {
    let server = Server::start();
    let ask = |words: &str| run(&server, &server.kubeconfig(None), words);
    let forbidden = |words: &str| ask(&format!("--username=x --password=y {words}"));
    each(
        forbidden,
        &[
            ("get --raw /healthz", Good),
            ("get --raw /readyz", Good),
            ("get --raw /version", Good),
            (
                "get --raw /api",
                No("User \"system:anonymous\" cannot get path \"/api\""),
            ),
            ("get --raw /openid/v1/jwks", No("cannot get path")),
            (
                "get --raw /api/v1/pods",
                No(
                    "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
                ),
            ),
            (
                "get --raw /apis/x.io/v1/things/a",
                No("things.x.io \"a\" is forbidden"),
            ),
        ],
    );
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
    server.ok("annotate clusterrole sealane-dns rbac.authorization.kubernetes.io/autoupdate=false --overwrite");
    for role in ["sealane-dns", "sealane-agent"] {
        let patch = r#"-p={"rules":[]}"#;
        server.ok(&format!("patch clusterrole {role} --type=merge {patch}"));
    }
    server.ok("delete clusterrolebinding sealane-agent");
    server.kill_and_launch();
    let verbs = |role: &str| {
        server.ok(&format!(
            "get clusterrole {role} -o jsonpath={{.rules[*].verbs}}"
        ))
    };
    assert_eq!(verbs("sealane-dns"), "");
    assert_eq!(verbs("sealane-agent"), r#"["list","watch"]"#);
    server.ok("get clusterrolebinding sealane-agent");
}
