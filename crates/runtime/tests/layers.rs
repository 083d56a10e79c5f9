//! Containers of an image of unpacked layers, made of this machine's own programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pod;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use pod::{Pod, words};
use sealane_runtime::{ContainerSpec, Image, Layers};

/// Layers in a directory, as an image store unpacks them.
struct Store(PathBuf);

impl Store {
    fn layer(&self, name: &str) -> PathBuf {
        let layer = self.0.join("layers").join(name).join("fs");
        fs::create_dir_all(&layer).unwrap();
        layer
    }

    /// A layer with programs of this machine and the libraries that they are linked with.
    fn programs(&self, name: &str, programs: &[&str]) -> PathBuf {
        let layer = self.layer(name);
        for program in programs {
            let found = Command::new("sh")
                .args(["-c", &format!("command -v {program}")])
                .output()
                .unwrap();
            let path = String::from_utf8(found.stdout).unwrap();
            let path = Path::new(path.trim());
            assert!(path.is_absolute(), "{program} is not on this machine");
            copy(path, &layer.join("bin").join(program));
            let linked = Command::new("ldd").arg(path).output().unwrap();
            let linked = String::from_utf8(linked.stdout).unwrap();
            for library in linked
                .split_whitespace()
                .filter(|word| word.starts_with('/'))
            {
                let library = Path::new(library);
                copy(library, &layer.join(library.strip_prefix("/").unwrap()));
            }
        }
        layer
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

fn put(layer: &Path, name: &str, text: &str) {
    let path = layer.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A container that runs a script in an image with a shell.
fn script(name: &str, image: Layers, script: &str) -> ContainerSpec {
    ContainerSpec {
        command: words(&["sh", "-c", script]),
        ..ContainerSpec::new(name, 0, Image::Layers(Box::new(image)))
    }
}

fn base(pod: &Pod) -> (Store, Layers) {
    let store = Store(pod.outside("store"));
    let programs = store.programs("base", &["sh", "cat", "id", "ls", "stat"]);
    put(
        &programs,
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n",
    );
    put(&programs, "etc/group", "root:x:0:\nlogs:x:4:web\n");
    let image = Layers {
        dirs: vec![programs],
        env: vec![("PATH".into(), "/bin".into())],
        ..Layers::default()
    };
    (store, image)
}

#[tokio::test]
async fn layers_are_stacked_shared_and_never_written() {
    let mut pod = Pod::new().await;
    let (store, mut image) = base(&pod);
    let upper = store.layer("upper");
    put(&upper, "greeting", "from above\n");
    put(&image.dirs[0], "greeting", "from below\n");
    put(&image.dirs[0], "gone", "x");
    nix::sys::stat::mknod(
        &upper.join("gone"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::empty(),
        0,
    )
    .unwrap();
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o751)).unwrap();
    image.dirs.push(upper.clone());
    let text =
        "cat greeting; ls gone 2>/dev/null || echo gone; stat -c %a /; echo mine > own; cat own";
    let exit = pod.run(&script("one", image.clone(), text)).await;
    let log = pod.log("one", 0);
    assert_eq!(
        (exit.code, log.as_str()),
        (0, "from above\ngone\n751\nmine\n")
    );
    // What one has written neither another sees, nor its own next attempt, nor the layers.
    let again = ContainerSpec {
        attempt: 1,
        ..script("one", image.clone(), "ls own")
    };
    assert_ne!(pod.run(&again).await.code, 0);
    assert_ne!(pod.run(&script("two", image, "ls own")).await.code, 0);
    assert!(!upper.join("own").exists());
    // Removed with the attempt that came after it.
    let kept = fs::read_dir(pod.spec.dir.join("writable/one"))
        .unwrap()
        .count();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn the_images_words_are_followed() {
    let mut pod = Pod::new().await;
    let (_store, image) = base(&pod);
    let image = Layers {
        entrypoint: words(&["sh", "-c"]),
        cmd: words(&["id -u; id -g; id -G; pwd; echo $HOME $COLOUR $PATH"]),
        env: vec![
            ("PATH".into(), "/nowhere:/bin".into()),
            ("COLOUR".into(), "blue".into()),
        ],
        user: "web".into(),
        working_dir: Some("/srv/work".into()),
        ..image
    };
    let layers = |image: &Layers| Image::Layers(Box::new(image.clone()));
    pod.run(&ContainerSpec::new("plain", 0, layers(&image)))
        .await;
    assert_eq!(
        pod.log("plain", 0),
        "33\n34\n34 4\n/srv/work\n/srv/web blue /nowhere:/bin\n"
    );
    let changed = ContainerSpec {
        user: Some(1000),
        groups: vec![7],
        env: vec![("COLOUR".into(), "red".into())],
        working_dir: Some("/".into()),
        ..ContainerSpec::new("changed", 0, layers(&image))
    };
    pod.run(&changed).await;
    assert_eq!(
        pod.log("changed", 0),
        "1000\n0\n0 7\n/\n/ red /nowhere:/bin\n"
    );
    let waits = ContainerSpec {
        args: words(&["echo up; cat"]),
        stdin: true,
        ..ContainerSpec::new("waits", 0, layers(&image))
    };
    pod.start(&waits).await;
    pod.wait_for_log("waits", "up").await;
    let (code, output) = pod.exec("waits", &["id", "-G"]).await;
    assert_eq!((code, output.as_str()), (0, "34 4\n"));
    let nobody = Layers {
        user: "ghost".into(),
        ..image
    };
    let failed = pod.shim.start(&script("ghost", nobody, "true")).await;
    let text = failed.unwrap_err().to_string();
    assert!(text.contains("unable to find user ghost"), "{text}");
}

#[tokio::test]
async fn links_in_an_image_lead_nowhere_else() {
    let mut pod = Pod::new().await;
    let (store, mut image) = base(&pod);
    let bad = store.layer("links");
    let outside = pod.outside("outside");
    fs::create_dir_all(bad.join("etc")).unwrap();
    symlink(outside.join("hosts"), bad.join("etc/hosts")).unwrap();
    symlink("../run/nothing", bad.join("etc/resolv.conf")).unwrap();
    symlink(&outside, bad.join("data")).unwrap();
    image.dirs.push(bad);
    let exit = pod
        .run(&script(
            "links",
            image.clone(),
            "ls -l /etc/hosts; echo x > /data/file",
        ))
        .await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{exit:?}");
    let worse = store.layer("worse");
    symlink("/tmp", worse.join("proc")).unwrap();
    image.dirs.push(worse);
    let failed = pod.shim.start(&script("worse", image, "true")).await;
    let text = failed.unwrap_err().to_string();
    assert!(text.contains("the image's /proc is no directory"), "{text}");
}

#[tokio::test]
async fn a_read_only_root_leaves_the_images_volumes() {
    let mut pod = Pod::new().await;
    let (_store, image) = base(&pod);
    put(&image.dirs[0], "data/old", "old\n");
    let image = Layers {
        volumes: vec!["/data".into()],
        working_dir: Some("/work".into()),
        ..image
    };
    let text = "cat /data/old; echo new > /data/new && cat /data/new; \
                { echo x > /file; } 2>/dev/null || echo read-only; pwd";
    let spec = ContainerSpec {
        read_only_root: true,
        ..script("c", image, text)
    };
    pod.run(&spec).await;
    assert_eq!(pod.log("c", 0), "old\nnew\nread-only\n/work\n");
}

#[tokio::test]
async fn many_layers_are_mounted() {
    let mut pod = Pod::new().await;
    let (store, mut image) = base(&pod);
    for number in 0..120 {
        let layer = store.layer(&format!("{number:024x}"));
        put(&layer, &format!("layers/{number}"), "");
        image.dirs.push(layer);
    }
    let spec = script("many", image, "set -- /layers/*; echo $#");
    pod.run(&spec).await;
    assert_eq!(pod.log("many", 0), "120\n");
}
