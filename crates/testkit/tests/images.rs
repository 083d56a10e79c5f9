//! Pods of images that are not built in: from an archive, and from a registry that asks for a password.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use sealane_testkit::pod::container_status;
use sealane_testkit::{Cluster, Container, Folder, LATER, Pod, UpOptions, binary, eventually, run};

/// The name in the archive.
const IMPORTED: &str = "local.test/tool:1";
/// The same image in the registry, which is on the node's own loopback and may so speak plain HTTP.
const PULLED: &str = "127.0.0.1:5000/team/tool:1";
const USER: &str = "reader";
const PASSWORD: &str = "correct horse";
/// `htpasswd -B` of the password.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";

/// An image of this machine's own programs, dynamically linked, with a user, as `docker save` writes it.
fn archive(folder: &Folder) -> PathBuf {
    let root = PathBuf::from(folder.join("root"));
    for program in ["sh", "cat", "id", "sleep", "ls"] {
        let path = run("sh", ["-c", &format!("command -v {program}")]).succeeds();
        copy(Path::new(path.trim()), &root.join("bin").join(program));
        let linked = run("ldd", [path.trim()]).succeeds();
        for library in linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            copy(
                Path::new(library),
                &root.join(library.trim_start_matches('/')),
            );
        }
    }
    put(
        &root,
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\ntool:x:1001:1002::/home/tool:/bin/sh\n",
    );
    put(&root, "etc/group", "root:x:0:\nhelpers:x:7:tool\n");
    put(&root, "greeting", "hello from the image\n");

    let save = PathBuf::from(folder.join("save"));
    fs::create_dir(&save).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let layer = save.join("layer.tar");
    run(
        "tar",
        [
            "--create",
            "--file",
            &text(&layer),
            "--directory",
            &text(&root),
            ".",
        ],
    )
    .succeeds();
    let digest = run("sha256sum", [text(&layer)]).succeeds();
    let digest = digest.split_whitespace().next().unwrap();
    let config = json!({
        "architecture": match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        "os": "linux",
        "config": {
            "Entrypoint": ["sh", "-c"],
            "Cmd": ["cat /greeting; id -u; id -G; echo $HOME $PWD $COLOUR; exec sleep infinity"],
            "Env": ["PATH=/bin", "COLOUR=blue"],
            "User": "tool",
            "WorkingDir": "/work",
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    put(&save, "config.json", &config.to_string());
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [IMPORTED], "Layers": ["layer.tar"]}]);
    put(&save, "manifest.json", &manifest.to_string());
    let archive = PathBuf::from(folder.join("tool.tar"));
    let files = ["manifest.json", "config.json", "layer.tar"];
    let tar = [
        "--create",
        "--file",
        &text(&archive),
        "--directory",
        &text(&save),
    ];
    run("tar", [&tar[..], &files].concat()).succeeds();
    archive
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A registry on the loopback of a node, which lets nobody in without the password.
struct Registry(Child);

impl Registry {
    #[track_caller]
    fn start(cluster: &Cluster, folder: &Folder, archive: &Path) -> Self {
        let dir = PathBuf::from(folder.join("registry"));
        put(&dir, "htpasswd", &format!("{USER}:{HASH}\n"));
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\n\
             storage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
             http: {{addr: '127.0.0.1:5000'}}\n\
             auth: {{htpasswd: {{realm: test, path: {dir}/htpasswd}}}}\n",
            dir = dir.display()
        );
        put(&dir, "config.yml", &config);
        let node = cluster.node(1);
        let mut command = node.command("docker-registry");
        let child = command
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests need docker-registry, as `apt-get install docker-registry` installs it");
        let registry = Self(child);
        eventually(LATER, "the registry listens", || {
            let reached = node.enter(|| TcpStream::connect("127.0.0.1:5000"));
            reached.map(drop).map_err(|error| error.to_string())
        });
        let login = format!("{USER}:{PASSWORD}");
        let from = format!("docker-archive:{}", archive.display());
        let to = format!("docker://{PULLED}");
        node.run(
            "skopeo",
            [
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--dest-creds",
                &login,
                &from,
                &to,
            ],
        )
        .succeeds();
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Secret with a password for the registry.
fn secret(password: &str) -> Value {
    let config = json!({"auths": {"127.0.0.1:5000": {"username": USER, "password": password}}});
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    })
}

#[track_caller]
fn waits(cluster: &Cluster, pod: &str, reason: &str) -> String {
    cluster.wait_pod(pod, &format!("says {reason}"), |object| {
        let waiting = &container_status(object, "c")?["state"]["waiting"];
        (waiting["reason"] == reason)
            .then(|| waiting["message"].as_str().unwrap_or_default().to_owned())
    })
}

fn events(cluster: &Cluster, pod: &str) -> String {
    let filter = format!("--field-selector=involvedObject.name={pod}");
    cluster.kubectl(["get", "events", &filter]).succeeds()
}

#[track_caller]
fn tells(cluster: &Cluster, pod: &str, words: &[&str]) {
    eventually(LATER, &format!("Events of {pod} say {words:?}"), || {
        let events = events(cluster, pod);
        match words.iter().all(|word| events.contains(word)) {
            true => Ok(()),
            false => Err(events),
        }
    });
}

fn of(image: &str) -> Container {
    Container::echo("c").with("image", json!(image))
}

const SAID: &str = "hello from the image\n1001\n1002 7\n/home/tool /work blue\n";

#[test]
fn an_archive_is_imported_and_run_and_an_image_is_pulled_with_a_secret() {
    let folder = Folder::new();
    let state = folder.join("state");
    let cluster = Cluster::up(UpOptions::default().flag("--state-dir", &state));
    let archive = archive(&folder);

    an_imported_image_runs(&cluster, &archive);
    what_cannot_be_pulled_is_said(&cluster);
    let registry = Registry::start(&cluster, &folder, &archive);
    a_wrong_password_is_mended(&cluster);
    an_image_is_pulled_once(&cluster);
    drop(registry);
    what_is_here_needs_no_registry(&cluster);
}

fn an_imported_image_runs(cluster: &Cluster, archive: &Path) {
    let name = cluster.name();
    let archive = archive.to_str().unwrap();
    binary::sealane(["image", "import", "--name", name, archive]).succeeds();
    cluster.start(&[Pod::of("imported", [of(IMPORTED)])]);
    let said = cluster.kubectl(["logs", "imported"]).succeeds();
    assert_eq!(said, SAID);
    let seen = cluster.exec("imported", ["id", "-G"]).succeeds();
    assert_eq!(seen, "1002 7\n", "a command has the image's groups");
    let hosts = cluster.exec("imported", ["cat", "/etc/hosts", "/etc/hostname"]);
    let hosts = hosts.succeeds();
    assert!(hosts.contains("# Kubernetes-managed hosts file"), "{hosts}");
    assert!(hosts.ends_with("imported\n"), "{hosts}");
    let pod = cluster.pod("imported").unwrap();
    let status = container_status(&pod, "c").unwrap();
    assert_eq!(status["image"], IMPORTED);
    let id = status["imageID"].as_str().unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    tells(cluster, "imported", &["already present on machine"]);
    eventually(LATER, "the node lists the image", || {
        let node = cluster.api().get("/api/v1/nodes/node-1")?;
        let images = node["status"]["images"].to_string();
        match images.contains(IMPORTED) {
            true => Ok(()),
            false => Err(images),
        }
    });
    // The image asks for SIGKILL, so that a shell that minds no SIGTERM does not use up the grace period.
    cluster.delete(["imported"]);
}

fn what_cannot_be_pulled_is_said(cluster: &Cluster) {
    let never = of("local.test/none:1").with("imagePullPolicy", json!("Never"));
    cluster.create(&[
        Pod::of("never", [never]),
        Pod::of("misspelt", [of("local.test/Tool")]),
    ]);
    let message = waits(cluster, "never", "ErrImageNeverPull");
    assert_eq!(
        message,
        "Container image \"local.test/none:1\" is not present with pull policy of Never"
    );
    let message = waits(cluster, "misspelt", "InvalidImageName");
    assert!(message.contains("must be lowercase"), "{message}");
    cluster.delete(["never", "misspelt"]);
}

fn a_wrong_password_is_mended(cluster: &Cluster) {
    cluster
        .apply(&secret("battery staple").to_string())
        .succeeds();
    let pod = Pod::of("pulled", [of(PULLED)]).on_node(1);
    let pod = pod.with("imagePullSecrets", json!([{"name": "login"}]));
    cluster.create(&[pod]);
    let message = waits(cluster, "pulled", "ErrImagePull");
    assert!(message.contains("127.0.0.1:5000/team/tool"), "{message}");
    let words = ["401", "unauthorized", "authentication", "denied"];
    let lower = message.to_lowercase();
    assert!(words.iter().any(|word| lower.contains(word)), "{message}");
    waits(cluster, "pulled", "ImagePullBackOff");
    // Nobody waits out a back-off when the secret has been mended.
    cluster.apply(&secret(PASSWORD).to_string()).succeeds();
    cluster.wait_ready("pulled");
    assert_eq!(cluster.kubectl(["logs", "pulled"]).succeeds(), SAID);
    let object = cluster.pod("pulled").unwrap();
    let id = container_status(&object, "c").unwrap()["imageID"].clone();
    let id = id.as_str().unwrap();
    assert!(id.starts_with("127.0.0.1:5000/team/tool@sha256:"), "{id}");
    let pulling = format!("Pulling image \"{PULLED}\"");
    let pulled = format!("Successfully pulled image \"{PULLED}\" in ");
    let failed = format!("Failed to pull image \"{PULLED}\": ");
    let back_off = format!("Back-off pulling image \"{PULLED}\"");
    tells(cluster, "pulled", &[&pulling, &pulled, &failed, &back_off]);
}

/// Without credentials, since it is here; always asking, it needs them.
fn an_image_is_pulled_once(cluster: &Cluster) {
    cluster.start(&[Pod::of("again", [of(PULLED)]).on_node(2)]);
    tells(cluster, "again", &["already present on machine"]);
    let always = of(PULLED).with("imagePullPolicy", json!("Always"));
    cluster.create(&[Pod::of("always", [always]).on_node(1)]);
    waits(cluster, "always", "ErrImagePull");
    let account = json!({"imagePullSecrets": [{"name": "login"}]}).to_string();
    let patch = ["patch", "serviceaccount", "default", "--patch", &account];
    cluster.kubectl(patch).succeeds();
    let always = of(PULLED).with("imagePullPolicy", json!("Always"));
    cluster.start(&[Pod::of("by-account", [always]).on_node(1)]);
    let pulled = format!("Successfully pulled image \"{PULLED}\" in ");
    tells(cluster, "by-account", &[&pulled]);
    cluster.delete(["again", "always", "by-account", "pulled"]);
}

fn what_is_here_needs_no_registry(cluster: &Cluster) {
    cluster.start(&[Pod::of("still", [of(PULLED)]).on_node(1)]);
    let always = of(PULLED).with("imagePullPolicy", json!("Always"));
    cluster.create(&[Pod::of("gone", [always]).on_node(1)]);
    let message = waits(cluster, "gone", "RegistryUnavailable");
    assert!(message.contains("127.0.0.1:5000"), "{message}");
    cluster.delete(["still", "gone"]);
}
