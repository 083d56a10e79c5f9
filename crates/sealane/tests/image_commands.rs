//! `sealane image`, as a person and as a program use it; images are made by `umoci`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!(
            "sealane-image-commands-{name}-{}",
            std::process::id()
        ));
        fs::create_dir(&dir).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn image(&self, args: &[&str]) -> Output {
        self.image_with(args, Stdio::null())
    }

    fn image_with(&self, args: &[&str], stdin: Stdio) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sealane"))
            .arg("image")
            .args(args)
            .args(["--image-dir", &self.path("store")])
            .stdin(stdin)
            .output()
            .unwrap()
    }

    /// A layout with one image, and its archive.
    fn make_layout(&self) {
        fs::create_dir(self.dir.join("root")).unwrap();
        fs::write(self.dir.join("root/hello"), "hi").unwrap();
        let image = format!("{}:v1", self.path("layout"));
        umoci(&["init", "--layout", &self.path("layout")]);
        umoci(&["new", "--image", &image]);
        umoci(&["insert", "--image", &image, &self.path("root"), "/"]);
        umoci(&[
            "config",
            "--image",
            &image,
            "--config.cmd",
            "/bin/x",
            "--config.user",
            "1000",
        ]);
        let tar = Command::new("tar")
            .args([
                "-cf",
                &self.path("archive.tar"),
                "-C",
                &self.path("layout"),
                ".",
            ])
            .status();
        assert!(tar.unwrap().success());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn umoci(args: &[&str]) {
    let output = Command::new("umoci")
        .args(args)
        .output()
        .expect("start umoci: `make setup` installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_image_comes_is_shown_and_goes() {
    let place = Place::new("life");
    place.make_layout();
    assert!(out(&place.image(&["list"])).starts_with("There are no images here"));
    let unnamed = place.image(&["import", &place.path("layout")]);
    assert_eq!(unnamed.status.code(), Some(1));
    assert_eq!(
        err(&unnamed),
        "error: import v1: the archive gives only a tag; name it with --tag NAME\n"
    );
    let imported = out(&place.image(&["import", &place.path("layout"), "--tag", "contoso/web:1"]));
    assert!(
        imported.starts_with("imported contoso/web:1  "),
        "{imported}"
    );
    let archive = fs::File::open(place.dir.join("archive.tar")).unwrap();
    out(&place.image_with(&["import", "-", "-q", "--tag", "other"], archive.into()));
    assert_eq!(
        out(&place.image(&["ls", "-q"])),
        "contoso/web:1\nother:latest\n"
    );
    let table = out(&place.image(&["list"]));
    let line = table.lines().nth(1).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert!(
        table.starts_with("NAME")
            && cells[0] == "contoso/web:1"
            && cells[4] == "import"
            && cells[6] == "no",
        "{table}"
    );

    let json: serde_json::Value =
        serde_json::from_str(&out(&place.image(&["show", "contoso/web:1", "-o", "json"]))).unwrap();
    assert_eq!(
        (&json[0]["config"]["User"], &json[0]["config"]["Cmd"][0]),
        (&"1000".into(), &"/bin/x".into())
    );
    let layer = Path::new(json[0]["layers"][0].as_str().unwrap());
    assert_eq!(fs::read_to_string(layer.join("hello")).unwrap(), "hi");
    let id = json[0]["id"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    assert!(out(&place.image(&["show", &id[..12]])).contains("Cmd         [\"/bin/x\"]"));

    assert!(err(&place.image(&["show", "nobody"])).contains("image \"nobody\" is not here"));
    assert!(out(&place.image(&["remove", "other"])).starts_with("removed other:latest\n"));
    assert!(out(&place.image(&["prune"])).starts_with("freed "));
    assert!(out(&place.image(&["prune", "--all"])).starts_with("removed contoso/web:1\n"));
    assert!(!layer.exists());
}

#[test]
fn exit_codes_tell_what_to_do() {
    let place = Place::new("codes");
    let code = |args: &[&str]| place.image(args).status.code();
    // Nobody listens on port 1.
    assert_eq!(code(&["pull", "127.0.0.1:1/x"]), Some(4));
    assert_eq!(code(&["pull", "Not/An/Image"]), Some(2));
    assert_eq!(code(&["remove", "x"]), Some(1));
    assert_eq!(code(&["import", "/nowhere"]), Some(1));
    assert_eq!(
        code(&["pull", "x", "--registry-mirror", "docker.io"]),
        Some(2)
    );
    let garbage = place.image(&["import", "/etc/hostname"]);
    assert!(
        err(&garbage).starts_with("error: import /etc/hostname: "),
        "{}",
        err(&garbage)
    );
}
