//! A real registry, Debian's `docker-registry`, on this machine's loopback; images come by `skopeo`.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sealane_image::{Digest, Keyring, Origin, Pull, Reference, Store};
use serde_json::{Value, json};
use support::{Blobs, Layer, gzip, zstd};

/// `me:secret`, made by htpasswd -B.
const HTPASSWD: &str = "me:$2b$04$q8s7JBdk6PeeuLUXb/YN8uhEtX1B6/xrLpsdBZeZtlwPFnhd7ZBqK\n";

struct Registry {
    address: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
    ca: PathBuf,
}

impl Registry {
    fn start(password: bool, tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": path("storage")}},
            "http": {"addr": address.to_string()},
        });
        if password {
            fs::write(path("htpasswd"), HTPASSWD).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": path("htpasswd")}});
        }
        if tls {
            let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            fs::write(path("ca.crt"), certified.cert.pem()).unwrap();
            fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
            config["http"]["tls"] = json!({"certificate": path("ca.crt"), "key": path("key.pem")});
        }
        // JSON is YAML.
        fs::write(path("config.yml"), config.to_string()).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("start docker-registry: `make setup` installs it");
        let ca = dir.path().join("ca.crt");
        let mut registry = Self {
            address,
            child,
            dir,
            ca,
        };
        registry.wait();
        registry
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "docker-registry does not serve: {}",
                log()
            );
            thread::yield_now();
        }
    }

    fn push(&self, layout: &Path, tag: &str, name: &str, credentials: Option<&str>) -> Digest {
        let digest = self.dir.path().join("digest");
        let mut command = Command::new("skopeo");
        command.args([
            "--insecure-policy",
            "copy",
            "--all",
            "--quiet",
            "--dest-tls-verify=false",
        ]);
        if let Some(credentials) = credentials {
            command.args(["--dest-creds", credentials]);
        }
        let output = command
            .arg("--digestfile")
            .arg(&digest)
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("start skopeo: `make setup` installs it");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // As the registry has it: skopeo writes indexes anew.
        fs::read_to_string(digest).unwrap().trim().parse().unwrap()
    }

    fn image(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A layout with the tags `one` (a single image), `many` (an index for several platforms) and
/// `gzip` (the same image in a form that Docker has too).
fn layout(dir: &Path) {
    let mut blobs = Blobs::default();
    let base = Layer::new()
        .file("etc/os-release", "NAME=Test\n")
        .file("gone", "x")
        .tar();
    let top = Layer::new()
        .file("app", "program")
        .file(".wh.gone", "")
        .tar();
    let packed = [
        (gzip(&base), format!("{}+gzip", support::LAYER)),
        (zstd(&top), format!("{}+zstd", support::LAYER)),
    ];
    let config = json!({"Cmd": ["/app"], "User": "1000"});
    let layers = [base, top.clone()];
    let one = blobs.packed_image(&layers, &packed, config.clone());
    let packed = [
        packed[0].clone(),
        (gzip(&top), format!("{}+gzip", support::LAYER)),
    ];
    let gzip = blobs.packed_image(&layers, &packed, config);
    let other = blobs.image(&[Layer::new().file("other", "x").tar()], json!({}));
    let with = |mut descriptor: Value, architecture: &str| {
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let manifests = [with(other, "s390x"), with(one.clone(), support::arch())];
    let index = json!({"schemaVersion": 2, "mediaType": support::INDEX, "manifests": manifests});
    let many = blobs.add_json(support::INDEX, &index);
    let tagged = |mut descriptor: Value, tag: &str| {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        descriptor
    };
    blobs.directory(
        dir,
        &[
            tagged(one, "one"),
            tagged(many, "many"),
            tagged(gzip, "gzip"),
        ],
    );
}

#[test]
fn images_are_pulled_by_tag_and_digest_for_this_platform() {
    let registry = Registry::start(false, false);
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("layout"));
    let one = registry.push(&dir.path().join("layout"), "one", "team/one:1", None);
    let many = registry.push(&dir.path().join("layout"), "many", "team/many:1", None);
    let store = Store::open(dir.path().join("images"));
    let how = Pull::default();
    let pull = |name: &str| store.pull(&registry.image(name), &how, &|_| ());

    let image = pull("team/one:1").unwrap();
    assert_eq!((&image.digest, &image.manifest), (&one, &one));
    assert_eq!(
        (image.config.cmd.as_slice(), image.config.user.as_str()),
        (&["/app".to_owned()][..], "1000")
    );
    assert_eq!(
        fs::read_to_string(image.layers[0].join("etc/os-release")).unwrap(),
        "NAME=Test\n"
    );
    assert!(image.layers[1].join("app").exists());
    let index = pull("team/many:1").unwrap();
    assert_eq!((&index.digest, &index.manifest), (&many, &one));
    assert_eq!(
        index.repo_digests,
        [format!("{}/team/many@{many}", registry.address)]
    );
    assert_eq!(index.layers, image.layers, "unpacked once");
    let by_digest = pull(&format!("team/many@{one}")).unwrap();
    assert_eq!(by_digest.id, image.id);
    assert!(
        store
            .find(&registry.image(&format!("team/one@{one}")))
            .unwrap()
            .is_some()
    );
    assert_eq!(store.list().unwrap().images.len(), 3);

    let missing = pull("team/one:2").unwrap_err().to_string();
    assert!(
        missing.contains("has no such image (404 Not Found, manifest unknown)"),
        "{missing}"
    );
    let missing = pull("nobody/none").unwrap_err().to_string();
    assert!(missing.contains("has no such image"), "{missing}");

    // What other tools make of the store.
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "inspect", "--config"])
        .arg(format!(
            "oci:{}:{}",
            store.dir().display(),
            registry.image("team/one:1")
        ))
        .output()
        .unwrap();
    let config: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(config["config"]["User"], "1000");
}

#[test]
fn a_password_is_asked_for_and_a_wrong_one_refused() {
    let registry = Registry::start(true, false);
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("layout"));
    registry.push(
        &dir.path().join("layout"),
        "one",
        "private/a:1",
        Some("me:secret"),
    );
    let store = Store::open(dir.path().join("images"));
    let pull = |passwords: &[&str]| {
        let mut how = Pull::default();
        for password in passwords {
            let auths = json!({"auths": {registry.address.to_string(): {"username": "me", "password": password}}});
            how.keyring.add(auths.to_string().as_bytes()).unwrap();
        }
        store.pull(&registry.image("private/a:1"), &how, &|_| ())
    };
    let error = pull(&[]).unwrap_err().to_string();
    assert!(
        error.contains("refused access without credentials (401 Unauthorized"),
        "{error}"
    );
    let error = pull(&["wrong"]).unwrap_err().to_string();
    assert!(
        error.contains("refused access with the given credentials"),
        "{error}"
    );
    assert!(!error.contains("wrong"), "{error}");
    assert!(store.list().unwrap().images.is_empty());
    assert_eq!(pull(&["wrong", "secret"]).unwrap().origin, Origin::Pull);
}

#[test]
fn a_certificate_must_be_of_an_authority_that_we_know() {
    let registry = Registry::start(false, true);
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("layout"));
    registry.push(&dir.path().join("layout"), "one", "a:1", None);
    let store = Store::open(dir.path().join("images"));
    let pull = |how: &Pull| store.pull(&registry.image("a:1"), how, &|_| ());
    let error = pull(&Pull::default()).unwrap_err().to_string();
    assert!(
        error.contains("is not trusted: its certificate is invalid"),
        "{error}"
    );
    let mut trusting = Pull {
        keyring: Keyring::default(),
        ..Pull::default()
    };
    trusting.registries.ca.push(registry.ca.clone());
    pull(&trusting).unwrap();
    let mut careless = Pull::default();
    careless
        .registries
        .entry(&registry.address.to_string())
        .insecure = true;
    store.remove(&[registry.image("a:1")]).unwrap();
    pull(&careless).unwrap();
}

#[test]
fn an_archive_of_skopeo_is_imported_whatever_its_form() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("layout"));
    let store = Store::open(dir.path().join("images"));
    for (form, file) in [("docker-archive", "docker.tar"), ("oci-archive", "oci.tar")] {
        let target = format!(
            "{form}:{}:example.com/{form}:1",
            dir.path().join(file).display()
        );
        let source = format!("oci:{}:gzip", dir.path().join("layout").display());
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", &source, &target])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let bytes = fs::read(dir.path().join(file)).unwrap();
        for packed in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
            let imported = support::import(&store, packed);
            assert!(imported.failed.is_empty(), "{:?}", imported.failed);
            assert_eq!(
                imported.images[0].reference.to_string(),
                format!("example.com/{form}:1")
            );
            assert_eq!(imported.images[0].config.user, "1000");
        }
    }
    let ids: Vec<_> = store
        .list()
        .unwrap()
        .images
        .into_iter()
        .map(|image| image.layers)
        .collect();
    assert_eq!(
        ids[0], ids[1],
        "layers are unpacked once, however they came"
    );
}
