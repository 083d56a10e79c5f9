//! Layers, also hostile ones, as they lie in the store; and as overlayfs shows them.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use sealane_image::Store;
use support::{Blobs, Layer, import, import_layers, named};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images"));
    (dir, store)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    let mut value = vec![0; 256];
    // SAFETY: both texts end with a zero byte, and the buffer is as long as is said.
    let n = unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(usize::try_from(n).ok()?);
    Some(value)
}

#[test]
fn everything_that_a_layer_states_is_there() {
    let (_dir, store) = store();
    let capability: &[u8] = &[
        1, 0, 0, 2, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let layer = Layer::new()
        .dir("./", 0o711)
        .dir("./bin", 0o755)
        .owned("bin/su", "program", 0o4755, 0, 12)
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.x", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"1600000000.5"),
        ])
        .owned("bin/ping", "ping", 0o755, 1000, 1000)
        .link("sbin", "bin")
        .file("sbin/through-a-link", "x")
        .hard_link("bin/pong", "./bin/ping")
        .device("dev/null", 1, 3)
        .fifo("run/pipe")
        .dir("tmp", 0o1777)
        .file("deep/er/file", "implicit directories")
        .tar();
    let image = import_layers(&store, &[layer]).unwrap();
    let root = &image.layers[0];
    let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(meta("").mode() & 0o7777, 0o711);
    assert_eq!(
        (meta("bin/su").mode() & 0o7777, meta("bin/su").gid()),
        (0o4755, 12)
    );
    assert_eq!(
        (meta("bin/ping").uid(), meta("bin/ping").gid()),
        (1000, 1000)
    );
    assert_eq!(
        (meta("bin/ping").mtime(), meta("bin/ping").mtime_nsec()),
        (1_600_000_000, 500_000_000)
    );
    assert_eq!(meta("bin/su").mtime(), 1_700_000_000);
    assert_eq!(meta("bin").mtime(), 1_700_000_000);
    assert_eq!(meta("bin/ping").ino(), meta("bin/pong").ino());
    assert_eq!(fs::read_link(root.join("sbin")).unwrap(), Path::new("bin"));
    assert!(meta("bin/through-a-link").is_file());
    assert!(meta("dev/null").file_type().is_char_device());
    assert_eq!(meta("dev/null").rdev(), libc::makedev(1, 3));
    assert!(meta("run/pipe").file_type().is_fifo());
    assert_eq!(meta("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(meta("deep/er").mode() & 0o7777, 0o755);
    assert_eq!(
        xattr(&root.join("bin/ping"), "security.capability").as_deref(),
        Some(capability)
    );
    assert_eq!(
        xattr(&root.join("bin/ping"), "trusted.overlay.redirect"),
        None
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (_dir, store) = store();
    let layer = Layer::new()
        .file("a", "first")
        .file("a", "second")
        .dir("d", 0o700)
        .file("d/inside", "x")
        .dir("d", 0o750)
        .file("e/inside", "x")
        .file("e", "a file instead")
        .link("l", "d")
        .dir("l", 0o755)
        .file("l/own", "x")
        .tar();
    let root = import_layers(&store, &[layer]).unwrap().layers.remove(0);
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "second");
    assert_eq!(fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o750);
    assert!(root.join("d/inside").exists());
    assert_eq!(
        fs::read_to_string(root.join("e")).unwrap(),
        "a file instead"
    );
    assert!(root.join("l/own").exists() && !root.join("d/own").exists());
}

#[test]
fn whiteouts_hide_what_is_below_in_overlayfs() {
    let (dir, store) = store();
    let below = Layer::new()
        .dir("./", 0o755)
        .file("gone", "x")
        .file("kept", "x")
        .file("opaque/old", "x")
        .file("again/old", "x")
        .file("stays/old", "x")
        .dir("owned", 0o700)
        .file("owned/a", "x")
        .file("replaced/old", "x")
        .tar();
    let above = Layer::new()
        .file(".wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "x")
        .file(".wh.again", "")
        .dir("again", 0o755)
        .file("again/new", "x")
        .dir("replaced", 0o755)
        .file("replaced/new", "x")
        .file(".wh.replaced", "")
        .file("stays/.wh.nothing", "")
        .file("owned/b", "x")
        .file(".wh..wh.plnk", "")
        .tar();
    let image = import_layers(&store, &[below, above]).unwrap();
    let (lower, upper) = (&image.layers[0], &image.layers[1]);
    let gone = fs::symlink_metadata(upper.join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for name in ["opaque", "again", "replaced"] {
        assert_eq!(
            xattr(&upper.join(name), "trusted.overlay.opaque").as_deref(),
            Some(&b"y"[..]),
            "{name}"
        );
    }
    assert_eq!(xattr(&upper.join("stays"), "trusted.overlay.opaque"), None);
    assert!(!upper.join(".wh..wh.plnk").exists());
    assert_eq!(
        fs::metadata(upper.join("owned")).unwrap().mode() & 0o7777,
        0o700,
        "as the layer below has it"
    );

    let shown = overlay(dir.path(), lower, upper);
    let listed = "again/new kept opaque/new owned/a owned/b replaced/new stays/old";
    let mut expected: Vec<&str> = listed.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

/// The files that a container would see.
fn overlay(dir: &Path, lower: &Path, upper: &Path) -> Vec<String> {
    let script = format!(
        "mount -t overlay overlay -o lowerdir={}:{} {} && cd {} && find . -type f | cut -c3- | LC_ALL=C sort",
        upper.display(),
        lower.display(),
        dir.join("shown").display(),
        dir.join("shown").display(),
    );
    fs::create_dir(dir.join("shown")).unwrap();
    // A mount namespace of its own, which goes with the program.
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-ec", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_layer_leads_out_of_its_directory() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, "mine").unwrap();
    let dir = outside.path().to_str().unwrap().to_owned();
    let file = target.to_str().unwrap().to_owned();
    let up = format!("{}{}", "../".repeat(20), &dir[1..]);
    let hostile: Vec<(&str, Layer, Option<&str>)> = vec![
        (
            "parent",
            Layer::new().file("../../target", "theirs"),
            Some("`..`"),
        ),
        (
            "inner parent",
            Layer::new().file("a/../../../target", "theirs"),
            Some("`..`"),
        ),
        ("absolute", Layer::new().file(&file, "theirs"), None),
        (
            "absolute link",
            Layer::new().link("out", &dir).file("out/target", "theirs"),
            Some("leads to nothing"),
        ),
        (
            "relative link",
            Layer::new().link("out", &up).file("out/target", "theirs"),
            Some("leads to nothing"),
        ),
        (
            "link to a file",
            Layer::new().link("f", &file).file("f", "theirs"),
            None,
        ),
        (
            "chain",
            Layer::new()
                .link("a", "/")
                .link("b", &format!("a{dir}"))
                .file("b/target", "theirs"),
            Some("leads to nothing"),
        ),
        (
            "loop",
            Layer::new()
                .link("a", "b")
                .link("b", "a")
                .file("a/x", "theirs"),
            Some("link"),
        ),
        (
            "hard link",
            Layer::new().hard_link("h", &file).file("h", "theirs"),
            Some("not in this layer"),
        ),
        (
            "hard link up",
            Layer::new().hard_link("h", "../../target"),
            Some("`..`"),
        ),
        (
            "hard link by link",
            Layer::new().link("out", &dir).hard_link("h", "out/target"),
            Some("not in this layer"),
        ),
        (
            "proc",
            Layer::new()
                .link("p", "/proc/self/root")
                .file("p/x", "theirs"),
            Some("leads to nothing"),
        ),
        (
            "whiteout up",
            Layer::new().file(".wh...", ""),
            Some("whiteout of nothing"),
        ),
        (
            "whiteout of itself",
            Layer::new().file("a/.wh..", ""),
            Some("whiteout of nothing"),
        ),
        (
            "file as directory",
            Layer::new().file("a", "x").file("a/b", "x"),
            Some("a file"),
        ),
        (
            "root as a file",
            Layer::new().file("./", "x"),
            Some("root directory"),
        ),
    ];
    for (name, layer, reason) in hostile {
        let (_dir, store) = store();
        let below = Layer::new().file("x", "x").tar();
        let result = import_layers(&store, &[below, layer.tar()]);
        match (result, reason) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => assert!(error.contains(reason), "{name}: {error}"),
            (result, _) => panic!("{name}: {result:?}"),
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine", "{name}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{name}");
        assert!(
            store.find(&"test/a:1".parse().unwrap()).is_ok(),
            "{name}: the store is usable"
        );
    }
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let (_dir, store) = store();
    let (a, b) = (
        Layer::new().file("a", "1").tar(),
        Layer::new().file("a", "2").tar(),
    );
    let mut blobs = Blobs::default();
    let manifest = blobs.packed_image(
        &[a],
        &[(b, support::LAYER.to_owned())],
        serde_json::json!({}),
    );
    let imported = import(&store, blobs.archive(&[named(manifest, "test/a:1")]));
    let error = imported.failed[0].error.to_string();
    assert!(error.contains("the image's configuration says"), "{error}");
    assert!(store.list().unwrap().images.is_empty());
}

#[test]
fn odd_names_are_kept() {
    let (_dir, store) = store();
    let names = [
        "new\nline",
        "tab\t",
        "ünïcode",
        " leading",
        "trailing ",
        "-rf",
        "back\\slash",
        "\u{1b}[31m",
        "a:b",
    ];
    let layer = names
        .iter()
        .fold(Layer::new(), |layer, name| layer.file(name, "x"));
    let root = import_layers(&store, &[layer.tar()])
        .unwrap()
        .layers
        .remove(0);
    for name in names {
        assert!(root.join(name).is_file(), "{name:?}");
    }
}
