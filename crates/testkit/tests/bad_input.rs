//! Bad input gives a clear error each, and others are unharmed.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use sealane_testkit::binary::{self, sealane};
use sealane_testkit::pod::container_status;
use sealane_testkit::topology::unique;
use sealane_testkit::{
    Cluster, Container, Folder, Leftovers, Namespace, Pod, Shared, UpOptions, run,
};

/// The refusal of `sealane up` with these flags, which must leave nothing.
#[track_caller]
fn refused(flags: &[&str]) -> String {
    let name = unique();
    let fixed = ["up", "--name", &name, "--no-internet"];
    let done = sealane(fixed.iter().chain(flags));
    let text = done.fails();
    assert_eq!(
        Leftovers::snapshot().naming(&name),
        Vec::<String>::new(),
        "refused before anything is made"
    );
    text
}

#[test]
fn ranges_that_overlap_are_refused_by_name() {
    let text = refused(&[
        "--cluster-cidr",
        "10.50.0.0/16",
        "--service-cluster-ip-range",
        "10.50.128.0/20",
    ]);
    for part in [
        "--cluster-cidr",
        "10.50.0.0/16",
        "--service-cluster-ip-range",
        "10.50.128.0/20",
    ] {
        assert!(text.contains(part), "{part} is named: {text}");
    }
    let text = refused(&[
        "--cluster-cidr",
        "172.29.7.0/24",
        "--node-cidr",
        "172.29.7.128/25",
    ]);
    for part in [
        "--cluster-cidr",
        "172.29.7.0/24",
        "--node-cidr",
        "172.29.7.128/25",
    ] {
        assert!(text.contains(part), "{part} is named: {text}");
    }
}

#[test]
fn a_range_that_this_machine_routes_already_is_refused_and_a_default_gives_way() {
    let cluster = Shared::cluster();
    let taken = node_network(&cluster, 1);
    let text = refused(&["--node-cidr", &taken]);
    assert!(
        text.contains(&taken) && text.contains("--node-cidr"),
        "{text}"
    );

    // Without the flag the same cluster finds a free range beside it.
    let second = Cluster::up(UpOptions {
        nodes: 1,
        ..UpOptions::default()
    });
    assert_ne!(node_network(&second, 1), taken);
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    for (flags, wanted) in [
        (["--cluster-cidr", "10.50.0.0"], "10.50.0.0"),
        (["--cluster-cidr", "10.50.0.0/33"], "10.50.0.0/33"),
        (["--cluster-cidr", "10.50.0.7/16"], "10.50.0.7/16"),
        (["--node-cidr", "127.0.0.0/24"], "127.0.0.0/24"),
        (["--nodes", "0"], "--nodes"),
        (["--nodes", "many"], "many"),
    ] {
        let text = refused(&flags);
        assert!(text.contains(wanted), "{flags:?}: {text}");
    }
    let text = refused(&["--node-cidr", "172.29.7.0/30", "--nodes", "5"]);
    assert!(text.contains("172.29.7.0/30"), "{text}");
}

#[test]
fn without_root_it_says_so() {
    let folder = copy_for_all();
    let binary = folder.join("sealane");
    let as_nobody = |args: &[&str]| {
        let fixed = ["--reuid=65534", "--regid=65534", "--clear-groups", &binary];
        run("setpriv", fixed.iter().chain(args))
    };
    let name = unique();
    for args in [["up", "--name", &name], ["down", "--name", &name]] {
        let text = as_nobody(&args).fails();
        assert!(text.contains("root"), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
    assert_eq!(Leftovers::snapshot().naming(&name), Vec::<String>::new());
}

#[test]
fn a_manifest_that_is_wrong_is_refused_and_its_neighbours_are_not() {
    let cluster = Shared::cluster();
    let refused = |manifest: &str, wanted: &[&str]| {
        let text = cluster.apply(manifest).fails();
        for part in wanted {
            assert!(
                text.contains(part),
                "{part:?} is said about\n{manifest}\n{text}"
            );
        }
    };
    refused("kind: Pod\n  indented: [", &["yaml"]);
    refused(
        "apiVersion: v1\nkind: Sandwich\nmetadata: {name: a}",
        &["Sandwich"],
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: typo}\nspec: {containers: [{name: a, image: sealane.io/echo, imagge: b}]}",
        &["unknown field", "spec.containers[0].imagge"],
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: Upper_Case}\nspec: {containers: [{name: a, image: sealane.io/echo}]}",
        &["Invalid value", "Upper_Case", "metadata.name"],
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: empty}\nspec: {containers: []}",
        &["spec.containers", "Required value"],
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: wrong-type}\nspec: {containers: [{name: a, image: 7}]}",
        &["image"],
    );

    // One bad document among good ones: the good ones are made.
    let good = Pod::echo("good-neighbour").manifest().to_string();
    let text = cluster
        .apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: bad-neighbour}}\nspec: {{}}\n---\n{good}"
        ))
        .fails();
    assert!(text.contains("spec.containers"), "{text}");
    cluster.wait_ready("good-neighbour");
}

#[test]
fn an_image_that_cannot_be_had_is_named_and_other_containers_run() {
    let cluster = Shared::cluster();
    let unknown = Container::echo("unknown").with("image", json!("registry.invalid/nothing:v9"));
    cluster.create(&[Pod::of("no-image", [unknown, Container::echo("fine")])]);

    let waiting = |reason: &'static str| {
        cluster.wait_pod("no-image", &format!("says {reason}"), |pod| {
            let waiting = &container_status(pod, "unknown")?["state"]["waiting"];
            (waiting["reason"] == reason)
                .then(|| waiting["message"].as_str().unwrap_or_default().to_owned())
        })
    };
    // Its name cannot be resolved.
    let message = waiting("RegistryUnavailable");
    assert!(message.contains("registry.invalid"), "{message}");
    let message = waiting("ImagePullBackOff");
    assert!(message.contains("registry.invalid/nothing:v9"), "{message}");
    cluster.wait_pod("no-image", "runs its other container", |pod| {
        container_status(pod, "fine")?["state"]["running"]
            .is_object()
            .then_some(())
    });
    let events = cluster
        .kubectl([
            "get",
            "events",
            "--field-selector=involvedObject.name=no-image",
        ])
        .succeeds();
    assert!(events.contains("Failed"), "{events}");
}

#[test]
fn a_subnet_that_is_used_up_is_told_and_an_address_given_back_is_used() {
    // One node with a /29: six addresses, of which one is the node's.
    let options = UpOptions {
        nodes: 1,
        ..UpOptions::default()
    };
    let options = options
        .flag("--cluster-cidr", "10.77.0.0/24")
        .flag("--node-cidr-mask-size-ipv4", "29");
    let cluster = Cluster::up(options);
    let fitting: Vec<Pod> = (1..=5)
        .map(|number| Pod::echo(&format!("fits-{number}")))
        .collect();
    cluster.start(&fitting);

    let subnet = cluster.api().get("/api/v1/nodes/node-1").unwrap()["spec"]["podCIDR"]
        .as_str()
        .unwrap()
        .to_owned();
    // A node says how many pods its subnet has addresses for; the agent's own words, for a runtime
    // that does not know, are tested with the agent.
    assert!(subnet.ends_with("/29"), "{subnet}");
    cluster.create(&[
        Pod::echo("too-many"),
        Pod::echo("by-hand").with("nodeName", json!("node-1")),
    ]);
    let event = told(
        &cluster,
        "too-many",
        "0/1 nodes are available: 1 Too many pods.",
    );
    eprintln!("told: {event}");
    assert_eq!(
        cluster.pod("too-many").unwrap()["status"]["phase"],
        "Pending"
    );
    told(&cluster, "by-hand", "requested: 1, used: 5, capacity: 5");
    let by_hand = &cluster.pod("by-hand").unwrap()["status"];
    assert_eq!(by_hand["reason"], "OutOfpods", "{by_hand}");
    assert_eq!(by_hand["phase"], "Failed", "{by_hand}");
    let url = format!("http://{}:8080/hostname", cluster.pod_ip("fits-5"));
    assert_eq!(
        cluster
            .exec("fits-1", ["curl", "-s", &url])
            .succeeds()
            .trim(),
        "fits-5",
        "others are unharmed"
    );

    let freed = cluster.pod_ip("fits-3");
    cluster.delete(["fits-3"]);
    cluster.wait_ready("too-many");
    assert_eq!(cluster.pod_ip("too-many"), freed, "the only free address");
}

/// Waits for an event of a pod that says so.
fn told(cluster: &Cluster, pod: &str, words: &str) -> String {
    let of_pod = format!("--field-selector=involvedObject.name={pod}");
    sealane_testkit::eventually(
        sealane_testkit::LATER,
        "an event tells why the pod does not start",
        || {
            let events = cluster
                .kubectl(["get", "events", &of_pod, "--output=json"])
                .json();
            let events = events["items"].as_array().unwrap();
            let messages: Vec<String> = events
                .iter()
                .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
                .collect();
            let said = messages.iter().find(|message| message.contains(words));
            said.cloned().ok_or_else(|| format!("{messages:?}"))
        },
    )
}

#[test]
fn wrong_usage_exits_with_2_and_shows_the_way() {
    for args in [
        &["up", "--frobnicate"][..],
        &["sideways"],
        &["up", "--nodes"],
    ] {
        let done = sealane(args);
        assert_eq!(done.code(), Some(2), "{done}");
        let text = done.fails();
        assert!(text.contains("--help"), "{text}");
    }
}

/// The network of a node's eth0, as a range.
fn node_network(cluster: &Cluster, number: u32) -> String {
    let node: Namespace = cluster.node(number);
    let routes = node
        .run(
            "ip",
            [
                "-json", "-4", "route", "show", "dev", "eth0", "scope", "link",
            ],
        )
        .json();
    routes[0]["dst"].as_str().unwrap().to_owned()
}

/// A folder that anybody may enter, with a copy of the binary that anybody may run.
fn copy_for_all() -> Folder {
    let folder = Folder::new();
    let path = folder.join("sealane");
    fs::copy(binary::path(), &path).unwrap();
    for path in [folder.path(), Path::new(&path)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}
