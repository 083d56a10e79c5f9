//! Charts of the shape that people install, rendered to YAML: installed, installed again, upgraded and
//! uninstalled by `kubectl apply --server-side` and `--prune`.

use crate::harness::{Said, Server, run_with_input, wait_for};

const WEB: &str = include_str!("web.yaml");
const OPERATOR: &str = include_str!("operator.yaml");
const NODE_AGENT: &str = include_str!("node-agent.yaml");

/// A chart with its values filled in: `{{ NAME }}` is a value, and what stands between the lines
/// `{{ if NAME }}` and `{{ end }}` is there if that value is `true`.
fn rendered(chart: &str, values: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    };
    let (mut out, mut shown) = (String::new(), true);
    for line in chart.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["{{", "if", name, "}}"] => shown = value(name) == "true",
            ["{{", "end", "}}"] => shown = true,
            _ if shown => {
                let mut line = line.to_owned();
                for (name, value) in values {
                    line = line.replace(&format!("{{{{ {name} }}}}"), value);
                }
                assert!(!line.contains("{{"), "no value: {line}");
                out += &format!("{line}\n");
            }
            _ => {}
        }
    }
    out
}

/// A release of a chart in the namespace of its name, with a Secret that tells what is in it.
struct Release<'a> {
    server: &'a Server,
    name: &'static str,
}

impl Release<'_> {
    fn try_apply(&self, manifest: &str, more: &[&str]) -> Said {
        let mut arguments = vec!["apply", "--server-side", "--prune", "--applyset=release"];
        arguments.extend(["-n", self.name]);
        arguments.extend(more);
        arguments.extend(["-f", "-"]);
        let mut command = self.server.kubectl_command(&arguments);
        command.env("KUBECTL_APPLYSET", "true");
        run_with_input(command, manifest)
    }

    #[track_caller]
    fn apply(&self, manifest: &str) -> String {
        let said = self.try_apply(manifest, &[]);
        assert!(said.ok, "{}", said.err);
        said.out
    }

    /// The version of every object of the release.
    fn versions(&self, kinds: &str) -> String {
        let selector = format!("-l app.kubernetes.io/instance={}", self.name);
        let path =
            "jsonpath={range.items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion};{end}";
        self.server.ok(&format!(
            "get {kinds} -n {} {selector} -o {path}",
            self.name
        ))
    }

    #[track_caller]
    fn uninstall(&self, manifest: &str) {
        let arguments = [
            "delete",
            "--timeout=60s",
            "-n",
            self.name,
            "--ignore-not-found",
            "-f",
            "-",
        ];
        let said = self.server.kubectl_with(&arguments, manifest);
        assert!(said.ok, "{}", said.err);
    }
}

#[test]
fn a_web_application_is_installed_upgraded_and_uninstalled() {
    let server = Server::start();
    server.ok("create namespace shop");
    let release = Release {
        server: &server,
        name: "shop",
    };
    let kinds = "configmaps,secrets,services,serviceaccounts,deployments,ingresses,networkpolicies,poddisruptionbudgets,jobs,horizontalpodautoscalers";
    let first = [
        ("name", "shop"),
        ("version", "1"),
        ("greeting", "hello"),
        ("legacy", "true"),
    ];
    let manifest = rendered(WEB, &first);
    let said = release.apply(&manifest);
    assert_eq!(said.lines().count(), 11, "{said}");
    assert!(
        said.lines()
            .all(|line| line.ends_with(" serverside-applied")),
        "{said}"
    );
    assert_eq!(release.versions(kinds).matches('=').count(), 11);
    let generation = "get deployment shop -n shop -o jsonpath={.metadata.generation}";
    let before = server.ok(generation);
    release.apply(&manifest);
    assert_eq!(server.ok(generation), before, "nothing has changed");

    // Replicas are not the chart's but the autoscaler's, and a person's variable is theirs.
    server.ok("scale deployment shop -n shop --replicas=4");
    server.ok("set env deployment/shop -n shop TUNED=1");
    let second = [
        ("name", "shop"),
        ("version", "2"),
        ("greeting", "good day"),
        ("debug", "true"),
    ];
    let manifest = rendered(WEB, &second);
    let said = release.apply(&manifest);
    assert!(said.contains("configmap/shop-legacy pruned\n"), "{said}");
    assert!(said.contains("job.batch/shop-migrate-1 pruned\n"), "{said}");
    let shown = server.ok(
        "get deployment shop -n shop -o jsonpath={.spec.replicas}|{.spec.template.spec.containers[0].image}|{.spec.template.spec.containers[0].env[*].name}",
    );
    let parts: Vec<&str> = shown.split('|').collect();
    let mut variables: Vec<&str> = parts[2].split(' ').collect();
    variables.sort_unstable();
    assert_eq!(parts[..2], ["4", "sealane.io/echo:2"], "{shown}");
    assert_eq!(variables, ["DEBUG", "POD_IP", "TUNED"]);

    // Who changes what the chart says is told of at the next upgrade.
    server.ok("set image deployment/shop -n shop web=sealane.io/echo:mine");
    let said = release.try_apply(&manifest, &[]);
    assert!(
        !said.ok && said.err.contains("conflict with \"kubectl-set\""),
        "{said:?}"
    );
    assert!(
        said.err
            .contains(".spec.template.spec.containers[name=\"web\"].image"),
        "{said:?}"
    );
    let said = release.try_apply(&manifest, &["--force-conflicts"]);
    assert!(said.ok, "{said:?}");

    release.uninstall(&manifest);
    assert_eq!(release.versions(kinds), "");
}

const CACHE: &str = "
apiVersion: cache.example.com/v1
kind: Cache
metadata: {name: sessions}
spec: {size: 64Mi, peers: [{name: a, weight: 1}]}
";

#[test]
fn an_operator_is_installed_upgraded_and_uninstalled() {
    let server = Server::start();
    server.ok("create namespace caching");
    let release = Release {
        server: &server,
        name: "caching",
    };
    let values = |version, eviction| {
        [
            ("name", "caching"),
            ("namespace", "caching"),
            ("group", "cache.example.com"),
            ("version", version),
            ("eviction", eviction),
        ]
    };
    let first = rendered(OPERATOR, &values("1", "false"));
    release.apply(&first);
    server.ok("wait --for=condition=Established crd/caches.cache.example.com");
    server.ok("create rolebinding edits -n caching --clusterrole=edit --user=edith");
    let apply = |manager: &str, manifest: &str| {
        let manager = format!("--field-manager={manager}");
        let arguments = [
            "apply",
            "--server-side",
            &manager,
            "-n",
            "caching",
            "--as=edith",
            "-f",
            "-",
        ];
        server.kubectl_with(&arguments, manifest)
    };
    // People with the role edit may have caches, by the chart's aggregation.
    let said = apply("person", CACHE);
    assert!(said.ok, "{said:?}");
    let table = server.ok("get caches -n caching");
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["sessions", "64Mi", "1"], "{table}");
    let said = apply("person", &CACHE.replace("64Mi", "much"));
    assert!(
        !said.ok && said.err.contains("spec.size: Invalid value"),
        "{said:?}"
    );
    let many = CACHE.replace(
        "size: 64Mi, peers: [{name: a, weight: 1}]",
        "size: 64Mi, replicas: 5",
    );
    let said = apply("person", &many.replace("sessions", "many"));
    assert!(
        !said.ok && said.err.contains("more than three need peers"),
        "{said:?}"
    );
    // The operator adds a peer of its own, and both are there.
    let peer = CACHE.replace(
        "size: 64Mi, peers: [{name: a, weight: 1}]",
        "peers: [{name: b, weight: 2}]",
    );
    let said = server.kubectl_with(
        &[
            "apply",
            "--server-side",
            "--field-manager=operator",
            "-n",
            "caching",
            "-f",
            "-",
        ],
        &peer.replace("spec: {", "spec: {size: 64Mi, "),
    );
    assert!(said.ok, "{said:?}");
    let peers = server.ok("get cache sessions -n caching -o jsonpath={.spec.peers[*].name}");
    assert_eq!(peers, "a b");
    let account = "--as=system:serviceaccount:caching:caching -n caching";
    for (question, expected) in [
        (
            "update caches.cache.example.com --subresource=status",
            "yes",
        ),
        ("create leases.coordination.k8s.io", "yes"),
        ("create caches.cache.example.com", "no"),
        ("list secrets", "no"),
    ] {
        let said = server.kubectl(&format!("auth can-i {question} {account}"));
        assert_eq!(said.out.trim(), expected, "{question}: {}", said.err);
    }

    let second = rendered(OPERATOR, &values("2", "true"));
    release.apply(&second);
    // Objects that are there get the new field's default.
    wait_for("the new default", || {
        let found = server.ok("get cache sessions -n caching -o jsonpath={.spec.eviction}");
        (found == "lru").then_some(())
    });
    let image =
        "get deployment caching -n caching -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(server.ok(image), "sealane.io/echo:2");

    // With the definition go the objects, and the kind is no longer served.
    release.uninstall(&second);
    let said = server.kubectl("get --raw /apis/cache.example.com/v1/caches");
    assert!(
        said.err.contains("could not find the requested resource"),
        "{said:?}"
    );
}

#[test]
fn an_agent_for_nodes_is_installed_upgraded_and_uninstalled() {
    let server = Server::start();
    server.ok("create namespace agents");
    let release = Release {
        server: &server,
        name: "agents",
    };
    let kinds = "services,serviceaccounts,daemonsets";
    let values = |version, journal| {
        [
            ("name", "agents"),
            ("namespace", "agents"),
            ("version", version),
            ("journal", journal),
        ]
    };
    let first = rendered(NODE_AGENT, &values("1", "true"));
    let said = release.apply(&first);
    assert_eq!(said.lines().count(), 6, "{said}");
    let before = release.versions(kinds);
    release.apply(&first);
    assert_eq!(release.versions(kinds), before, "nothing has changed");
    let spec = |path: &str| {
        server.ok(&format!(
            "get daemonset agents -n agents -o jsonpath={{.spec.template.spec.{path}}}"
        ))
    };
    assert_eq!(spec("volumes[*].name"), "root journal");
    assert_eq!(spec("hostNetwork"), "true");
    assert_eq!(
        server.ok("get service agents -n agents -o jsonpath={.spec.clusterIP}"),
        "None"
    );

    release.apply(&rendered(NODE_AGENT, &values("2", "false")));
    assert_eq!(spec("volumes[*].name"), "root");
    assert_eq!(spec("containers[0].volumeMounts[*].name"), "root");
    assert_eq!(spec("initContainers[0].image"), "sealane.io/echo:2");

    // An empty chart prunes everything but what it still has.
    let (kept, _) = first.split_once("---\n").unwrap();
    let said = release.apply(kept);
    assert_eq!(said.matches(" pruned\n").count(), 5, "{said}");
    release.uninstall(kept);
    assert_eq!(release.versions(kinds), "");
    let said = server.kubectl("get priorityclass agents");
    assert!(said.err.contains("\"agents\" not found"), "{said:?}");
}
