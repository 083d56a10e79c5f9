//! containerd in the node's network namespace, with process and mount
//! namespaces and folders of its own: nothing of it outlives the test.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use sealane_testkit::{SOON, eventually, run};

use super::{cri::Cri, stage::Stage};

const IMAGE: &str = "sealane.test/pause:1";
/// runc and the shims keep state below /run/containerd, wherever the rest is.
const START: &str = "mkdir -p /run/containerd
mount -t tmpfs tmpfs /run/containerd
exec containerd --config \"$1\"";

pub struct Containerd {
    process: Child,
    dir: PathBuf,
    /// Of all its pods.
    cgroup: String,
}

impl Containerd {
    #[track_caller]
    pub fn start(stage: &Stage) -> Self {
        assert!(
            Path::new("/usr/bin/containerd").exists() && Path::new("/usr/sbin/runc").exists(),
            "install the packages containerd and runc (scripts/setup.sh target/tools tests)"
        );
        let dir = stage.path("containerd");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), config(stage, &dir)).unwrap();
        // containerd sets a pod's lo up by the stock plugin, in the same folder as all others.
        fs::create_dir_all(stage.path("bin")).unwrap();
        symlink("/usr/lib/cni/loopback", stage.path("bin/loopback")).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = stage
            .node
            .command("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-ec", START, "sh"])
            .arg(dir.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let cgroup = format!("sealane-{}", stage.topology.name());
        let containerd = Self {
            process,
            dir,
            cgroup,
        };
        eventually(SOON, "containerd serves CRI", || containerd.cri().version());
        containerd.import();
        containerd
    }

    pub fn cri(&self) -> Cri {
        Cri::new(self.dir.join("containerd.sock"), &self.cgroup)
    }

    /// The sandbox image, from an archive that the test makes: no registry.
    fn import(&self) {
        let archive = archive(&self.dir);
        let socket = self.dir.join("containerd.sock");
        let words = [
            "--address",
            socket.to_str().unwrap(),
            "--namespace",
            "k8s.io",
        ];
        let import = [
            "images",
            "import",
            "--snapshotter",
            "native",
            archive.to_str().unwrap(),
        ];
        run("ctr", words.iter().chain(&import)).succeeds();
        eventually(SOON, "CRI knows the image", || self.cri().has_image(IMAGE));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Its process namespace goes with it, and all shims and containers inside.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let ours = format!("*/{}*", self.cgroup);
        let remove = ["/sys/fs/cgroup", "-depth", "-type", "d", "-path", &ours];
        let removed = || {
            let line = remove.iter().chain(&["-exec", "rmdir", "{}", "+"]);
            run("find", line).status.success()
        };
        if std::thread::panicking() {
            removed();
        } else {
            eventually(SOON, "the cgroups of all pods are gone", removed);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("containerd, newest first:\n{}", tail.join("\n"));
        }
    }
}

fn config(stage: &Stage, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "{conf}"
"#,
        bin = stage.path("bin").display(),
        conf = stage.path("net.d").display(),
    )
}

/// An archive as `docker save` writes it, with one layer that holds one static program.
fn archive(dir: &Path) -> PathBuf {
    let image = dir.join("image");
    fs::create_dir_all(image.join("root")).unwrap();
    fs::copy(pause(), image.join("root/pause")).unwrap();
    let in_image = |line: &str| {
        let line = format!("cd {} && {line}", image.display());
        run("sh", ["-ec", &line]).succeeds()
    };
    in_image("tar -C root -cf layer.tar pause");
    let digest = in_image("sha256sum layer.tar");
    let digest = digest.split_whitespace().next().unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":["/pause"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    fs::write(image.join("config.json"), config).unwrap();
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{IMAGE}"],"Layers":["layer.tar"]}}]"#);
    fs::write(image.join("manifest.json"), manifest).unwrap();
    in_image("tar -cf ../pause.tar manifest.json config.json layer.tar");
    dir.join("pause.tar")
}

/// The example that cargo builds beside the tests.
fn pause() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/pause");
    assert!(
        path.exists(),
        "{} is missing: build the examples",
        path.display()
    );
    path
}
