//! Archives, names, damage, holds and collection.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use sealane_image::{Origin, Prune, Reference, Source, Store, Thresholds};
use serde_json::{Value, json};
use support::{Blobs, INDEX, Layer, import, import_layers, named};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images"));
    (dir, store)
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn names(store: &Store) -> Vec<String> {
    store
        .list()
        .unwrap()
        .images
        .iter()
        .map(|image| image.reference.familiar())
        .collect()
}

/// An image with a layer of its own.
fn image(blobs: &mut Blobs, text: &str) -> Value {
    blobs.image(
        &[Layer::new().file("file", text).tar()],
        json!({"Env": [format!("TEXT={text}")]}),
    )
}

#[test]
fn an_empty_store_is_not_made_by_looking() {
    let (_dir, store) = store();
    assert!(store.list().unwrap().images.is_empty());
    assert!(store.find(&name("a")).unwrap().is_none());
    assert!(store.prune(Prune::All).unwrap().removed.is_empty());
    assert!(!store.dir().exists());
}

#[test]
fn several_images_come_in_one_archive_and_fail_one_by_one() {
    let (_dir, store) = store();
    let mut blobs = Blobs::default();
    let (good, bad, missing) = (
        image(&mut blobs, "good"),
        image(&mut blobs, "bad"),
        image(&mut blobs, "missing"),
    );
    let tar = |text: &str| Layer::new().file("file", text).tar();
    let digest = |text: &str| sealane_image::Digest::of(&tar(text));
    blobs.0.insert(digest("bad"), tar("evil"));
    blobs.0.remove(&digest("missing"));
    let manifests = [
        named(good.clone(), "docker.io/library/good:1"),
        named(good, "docker.io/library/same:1"),
        named(bad, "bad:1"),
        named(missing, "missing:1"),
    ];
    let imported = import(&store, blobs.archive(&manifests));
    assert_eq!(names(&store), ["good:1", "same:1"]);
    let failed: Vec<String> = imported
        .failed
        .iter()
        .map(|failed| format!("{}: {}", failed.name, failed.error))
        .collect();
    assert_eq!(failed.len(), 2);
    assert!(
        failed[0].starts_with("bad:1: layer sha256:")
            && failed[0].contains("damaged in the archive"),
        "{failed:?}"
    );
    assert!(
        failed[1].starts_with("missing:1: layer sha256:")
            && failed[1].contains("missing in the archive"),
        "{failed:?}"
    );
    let image = store.find(&name("same:1")).unwrap().unwrap();
    assert_eq!(image.config.env, ["TEXT=good"]);
    assert_eq!(image.names, [name("good:1"), name("same:1")]);
    assert_eq!(
        (image.origin, image.repo_digests.len()),
        (Origin::Import, 0)
    );
}

#[test]
fn names_come_from_the_archive_or_from_the_caller() {
    let (dir, store) = store();
    let mut blobs = Blobs::default();
    let unnamed = image(&mut blobs, "a");
    let layout = dir.path().join("layout");
    blobs.directory(&layout, std::slice::from_ref(&unnamed));
    let imported = store.import(Source::Path(layout.clone()), &[]).unwrap();
    assert!(imported.failed[0].error.to_string().contains("--tag NAME"));
    let imported = store
        .import(Source::Path(layout), &[name("mine"), name("r.io/other:2")])
        .unwrap();
    assert_eq!(imported.images.len(), 2);
    let other = image(&mut blobs, "b");
    let two = blobs.archive(&[named(unnamed, "x:1"), named(other, "y:1")]);
    let source = Source::Stream(Box::new(std::io::Cursor::new(two)));
    let error = store.import(source, &[name("z")]).unwrap_err().to_string();
    assert!(error.contains("it holds 2 images"), "{error}");
    assert_eq!(names(&store), ["mine:latest", "r.io/other:2"]);
}

#[test]
fn of_several_platforms_this_one_is_taken() {
    let (_dir, store) = store();
    let mut blobs = Blobs::default();
    let with = |mut descriptor: Value, architecture: &str| {
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let own = with(image(&mut blobs, "own"), support::arch());
    let other = with(image(&mut blobs, "other"), "s390x");
    let index = blobs.add_json(
        INDEX,
        &json!({"schemaVersion": 2, "manifests": [other.clone(), own.clone()]}),
    );
    let foreign = blobs.add_json(
        INDEX,
        &json!({"schemaVersion": 2, "manifests": [other.clone()]}),
    );
    // Those of the other platform are mostly not in an archive.
    let imported = import(
        &store,
        blobs.archive(&[
            named(index, "many:1"),
            named(foreign, "foreign:1"),
            named(own, "flat:1"),
            named(other, "flat:1"),
        ]),
    );
    assert_eq!(names(&store), ["flat:1", "many:1"]);
    assert_eq!(imported.images[0].config.env, ["TEXT=own"]);
    let error = imported.failed[0].error.to_string();
    assert!(error.contains("there are linux/s390x"), "{error}");
}

#[test]
fn what_docker_saves_is_taken_with_its_links_and_names() {
    let (_dir, store) = store();
    let layer = Layer::new().file("file", "x").tar();
    let config = json!({"architecture": support::arch(), "os": "linux", "config": {"Cmd": ["a"]},
        "rootfs": {"type": "layers", "diff_ids": [sealane_image::Digest::of(&layer), sealane_image::Digest::of(&layer)]}}).to_string();
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["one/layer.tar", "two/layer.tar"]}]).to_string();
    let mut archive = Layer::new().dir("one/", 0o755);
    let mut header = Layer::header(tar::EntryType::Regular, 0o644);
    header.set_size(layer.len() as u64);
    archive.add(header, "one/layer.tar", "", &layer);
    let archive = archive
        .file("one/VERSION", "1.0")
        .link("two/layer.tar", "../one/layer.tar")
        .file("c.json", &config)
        .file("repositories", r#"{"team/app":{"7":"two"}}"#)
        .file("manifest.json", &manifest);
    let imported = import(&store, archive.tar());
    assert!(imported.failed.is_empty(), "{:?}", imported.failed);
    assert_eq!(names(&store), ["team/app:7"]);
    assert_eq!(
        imported.images[0].id,
        sealane_image::Digest::of(config.as_bytes()),
        "Docker's id"
    );
    assert_eq!(imported.images[0].layers.len(), 2);
}

#[test]
fn what_is_no_archive_is_refused() {
    let (dir, store) = store();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"hello, world".repeat(100), "no tar archive"),
        (Layer::new().file("a", "x").tar(), "it holds no images"),
        (b"BZh9".to_vec(), "compressed with bzip2"),
        (Vec::new(), "it holds no images"),
        (
            Layer::new().file("index.json", "{").tar(),
            "index.json cannot be understood",
        ),
        (
            Layer::new().file("index.json", "{\"manifests\":[]}").tar(),
            "lists no image",
        ),
        (
            Layer::new()
                .file("manifest.json", "[{\"Config\":\"x.json\"}]")
                .tar(),
            "names \"x.json\", which is missing",
        ),
        (Layer::new().file("repositories", "{}").tar(), "before 2016"),
    ];
    for (bytes, reason) in cases {
        let path = dir.path().join("archive");
        fs::write(&path, bytes).unwrap();
        let error = store
            .import(Source::Path(path), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(
        store
            .import(Source::Path(PathBuf::from("/nowhere")), &[])
            .is_err()
    );
}

#[test]
fn damage_is_named_and_the_others_work() {
    let (_dir, store) = store();
    let mut blobs = Blobs::default();
    let (good, bad) = (image(&mut blobs, "good"), image(&mut blobs, "bad"));
    let digest = bad["digest"].as_str().unwrap().to_owned();
    let archive = blobs.archive(&[named(good, "good:1"), named(bad, "bad:1")]);
    import(&store, archive.clone());
    fs::write(store.dir().join("blobs/sha256").join(&digest[7..]), "{}").unwrap();
    let listing = store.list().unwrap();
    assert_eq!(listing.images.len(), 1);
    assert_eq!(listing.broken[0].name, "docker.io/library/bad:1");
    assert!(
        listing.broken[0].reason.contains(&digest),
        "{:?}",
        listing.broken
    );
    assert!(store.find(&name("bad:1")).is_err() && store.find(&name("good:1")).unwrap().is_some());
    // Importing it again mends it.
    fs::remove_file(store.dir().join("blobs/sha256").join(&digest[7..])).unwrap();
    import(&store, archive);
    assert!(store.find(&name("bad:1")).unwrap().is_some());
    fs::write(store.dir().join("index.json"), "{").unwrap();
    let error = store.list().unwrap_err().to_string();
    assert!(
        error.contains("index.json: it is damaged") && error.contains("move the file away"),
        "{error}"
    );
}

#[test]
fn a_layer_that_lost_power_may_have_damaged_is_unpacked_again() {
    let (_dir, store) = store();
    let image = import_layers(&store, &[Layer::new().file("file", "x").tar()]).unwrap();
    let layer = image.layers[0].parent().unwrap().to_owned();
    assert!(!layer.join("synced").exists());
    store.settle().unwrap();
    assert!(layer.join("synced").exists());
    let record = fs::read_to_string(layer.join("layer.json")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(
        layer.join("layer.json"),
        record.replace(boot.trim(), "another"),
    )
    .unwrap();
    fs::write(image.layers[0].join("file"), "").unwrap();
    store.find(&name("test/a:1")).unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(image.layers[0].join("file")).unwrap(),
        "",
        "the disk had it"
    );
    fs::remove_file(layer.join("synced")).unwrap();
    store.find(&name("test/a:1")).unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(image.layers[0].join("file")).unwrap(),
        "x"
    );
}

#[test]
fn what_a_pod_holds_stays_until_its_directory_goes() {
    let (dir, store) = store();
    let image = import_layers(&store, &[Layer::new().file("file", "x").tar()]).unwrap();
    let pod = dir.path().join("pod");
    fs::create_dir(&pod).unwrap();
    store.hold("uid", &pod, &image).unwrap();
    store.hold("uid", &pod, &image).unwrap();
    assert_eq!(
        store.in_use().unwrap().into_iter().collect::<Vec<_>>(),
        [name("test/a:1")]
    );
    assert!(store.prune(Prune::All).unwrap().removed.is_empty());
    // By force: the name goes, what runs does not.
    store.remove(&[name("test/a:1")]).unwrap();
    store.sweep().unwrap();
    assert!(image.layers[0].join("file").exists());
    fs::remove_dir(&pod).unwrap();
    assert!(store.sweep().unwrap().unwrap() > 0);
    assert!(!image.layers[0].exists());
    let error = store
        .hold("uid", dir.path(), &image)
        .unwrap_err()
        .to_string();
    assert!(error.contains("was removed meanwhile"), "{error}");
    assert!(store.release("uid").is_ok() && store.release("uid").is_ok());
    assert!(store.release("../uid").is_err());
    for left in ["blobs/sha256", "layers", "holds", "used", "ingest"] {
        let files: Vec<_> = fs::read_dir(store.dir().join(left))
            .unwrap()
            .flatten()
            .collect();
        assert!(files.is_empty(), "{left}: {files:?}");
    }
}

#[test]
fn what_was_imported_goes_only_when_all_is_asked_for() {
    let (_dir, store) = store();
    let mut blobs = Blobs::default();
    let shared = image(&mut blobs, "a");
    import(&store, blobs.archive(&[named(shared, "a:1")]));
    let full = Thresholds {
        high_percent: 0,
        low_percent: 0,
        min_age: Duration::ZERO,
    };
    assert!(store.is_full(&full));
    assert!(store.collect(&full).unwrap().removed.is_empty());
    assert!(store.prune(Prune::Pulled).unwrap().removed.is_empty());
    // As if it had been pulled.
    let index = store.dir().join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("\"import\"", "\"pull\"")).unwrap();
    let young = Thresholds {
        min_age: Duration::from_secs(3600),
        ..full
    };
    assert!(store.collect(&young).unwrap().removed.is_empty());
    let empty = Thresholds {
        high_percent: 101,
        ..full
    };
    assert!(!store.is_full(&empty) && store.collect(&empty).unwrap().removed.is_empty());
    let collected = store.collect(&full).unwrap();
    assert_eq!(collected.removed, [name("a:1")]);
    assert!(collected.freed_bytes > 0 && !collected.postponed);
    import(
        &store,
        blobs.archive(&[named(image(&mut Blobs::default(), "a"), "a:1")]),
    );
    assert_eq!(store.prune(Prune::All).unwrap().removed, [name("a:1")]);
}

#[test]
fn many_write_at_once() {
    let (_dir, store) = store();
    let mut blobs = Blobs::default();
    let shared = blobs.image(
        &[Layer::new().file("file", &"x".repeat(100_000)).tar()],
        json!({}),
    );
    let archives: Vec<Vec<u8>> = (0..8)
        .map(|n| blobs.archive(&[named(shared.clone(), &format!("a:{n}"))]))
        .collect();
    std::thread::scope(|scope| {
        for archive in archives {
            let store = store.clone();
            scope.spawn(move || {
                assert!(import(&store, archive).failed.is_empty());
                assert!(store.sweep().is_ok());
            });
        }
    });
    assert_eq!(names(&store).len(), 8);
}

/// Set for the process that is to be killed.
const VICTIM: &str = "SEALANE_IMAGE_TEST_VICTIM";

#[test]
fn a_kill_at_any_moment_leaves_a_store_that_works() {
    let (dir, store) = store();
    let mut blobs = Blobs::default();
    let layers: Vec<Vec<u8>> = (0..3)
        .map(|n| {
            (0..40)
                .fold(Layer::new(), |layer, file| {
                    layer.file(&format!("{n}/{file}"), &"x".repeat(20_000))
                })
                .tar()
        })
        .collect();
    let big = blobs.image(&layers, json!({}));
    let kept = image(&mut blobs, "kept");
    import(&store, blobs.archive(&[named(kept, "kept:1")]));
    let archive = dir.path().join("archive.tar");
    fs::write(&archive, blobs.archive(&[named(big, "big:1")])).unwrap();
    for round in 0..12u32 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--ignored", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Another moment each time, counted in what the store has on disk rather than in time.
        let ingested =
            || fs::read_dir(store.dir().join("ingest")).map_or(0, Iterator::count) as u32;
        let mut seen = 0;
        while seen < round * 40 && victim.try_wait().unwrap().is_none() {
            seen += ingested();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let listing = store.list().unwrap();
        assert!(listing.broken.is_empty(), "{listing:?}");
        assert!(
            listing
                .images
                .iter()
                .any(|image| image.reference == name("kept:1"))
        );
    }
    let imported = store.import(Source::Path(archive), &[]).unwrap();
    let root = &imported.images[0].layers[2];
    assert_eq!(fs::read_to_string(root.join("2/39")).unwrap().len(), 20_000);
    store.remove(&[name("big:1"), name("kept:1")]).unwrap();
    store.sweep().unwrap();
    // What was being unpacked goes, what was being fetched may be continued.
    let rests = fs::read_dir(store.dir().join("ingest")).unwrap().flatten();
    assert!(
        rests
            .map(|rest| rest.file_name().into_string().unwrap())
            .all(|name| name.starts_with("sha256-"))
    );
    assert_eq!(fs::read_dir(store.dir().join("layers")).unwrap().count(), 0);
}

#[test]
#[ignore = "it is the process that another test kills"]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM).map(PathBuf::from) else {
        return;
    };
    let store = Store::open(dir.join("images"));
    loop {
        store
            .import(Source::Path(dir.join("archive.tar")), &[])
            .unwrap();
        store.remove(&[name("big:1")]).unwrap();
        store.sweep().unwrap();
    }
}
