//! An image from a layout to directories, beside `umoci unpack` and `skopeo copy` with `tar`, in
//! turns on the same disk: `cargo bench -p sealane-image --bench unpack`, as root.
//!
//! All read the same OCI layout with one gzip layer. Ours copies the blob into the store, verifies
//! it and the plain tar, and unpacks; umoci unpacks and writes a manifest
//! of what it unpacked; `skopeo` copies and verifies the blob, and `tar` unpacks without verifying.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealane_image::{Digest, Source, Store};
use serde_json::json;

const SMALL_FILES: u32 = 6000;
const SMALL_BYTES: usize = 12 << 10;
const LARGE_FILES: u32 = 6;
const LARGE_BYTES: usize = 16 << 20;
const ROUNDS: usize = 3;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let bytes = make_layout(&layout);
    let mut samples: [(&str, Vec<Duration>); 3] = [
        ("sealane", vec![]),
        ("umoci unpack", vec![]),
        ("skopeo copy + tar", vec![]),
    ];
    for round in 0..ROUNDS {
        let place = dir.path().join(round.to_string());
        fs::create_dir(&place).unwrap();
        samples[0].1.push(timed(|| ours(&layout, &place)));
        samples[1].1.push(timed(|| umoci(&layout, &place)));
        samples[2].1.push(timed(|| skopeo(&layout, &place)));
        fs::remove_dir_all(&place).unwrap();
    }
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{megabytes:.0} MB of tar, {} files; the middle of {ROUNDS}",
        SMALL_FILES + LARGE_FILES
    );
    let ours = middle(&mut samples[0].1);
    for (name, times) in &mut samples {
        let time = middle(times);
        println!(
            "{name:20} {:8.0} ms {:8.0} MB/s {:6.2} of our time",
            time.as_secs_f64() * 1e3,
            megabytes / time.as_secs_f64(),
            time.as_secs_f64() / ours.as_secs_f64(),
        );
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    // What another has left to be written is not ours to wait for.
    nix::unistd::sync();
    let start = Instant::now();
    run();
    start.elapsed()
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ours(layout: &Path, place: &Path) {
    let store = Store::open(place.join("store"));
    let imported = store
        .import(
            Source::Path(layout.to_owned()),
            &["bench:1".parse().unwrap()],
        )
        .unwrap();
    assert!(imported.failed.is_empty(), "{:?}", imported.failed);
}

fn umoci(layout: &Path, place: &Path) {
    run(Command::new("umoci")
        .arg("unpack")
        .arg("--image")
        .arg(format!("{}:bench", layout.display()))
        .arg(place.join("bundle")));
}

fn skopeo(layout: &Path, place: &Path) {
    let copy = place.join("copy");
    run(Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet"])
        .arg(format!("oci:{}:bench", layout.display()))
        .arg(format!("dir:{}", copy.display())));
    let largest = fs::read_dir(&copy)
        .unwrap()
        .flatten()
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    let root = place.join("root");
    fs::create_dir(&root).unwrap();
    run(Command::new("tar")
        .arg("-xzf")
        .arg(largest.path())
        .arg("-C")
        .arg(&root));
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Files about as compressible as programs; returns the size of the tar.
fn make_layout(dir: &Path) -> usize {
    let mut builder = tar::Builder::new(Vec::new());
    let mut seed = 1u32;
    for (count, bytes, folder) in [
        (SMALL_FILES, SMALL_BYTES, "usr/lib"),
        (LARGE_FILES, LARGE_BYTES, "opt"),
    ] {
        for number in 0..count {
            let data = half_noise(bytes, &mut seed);
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_700_000_000);
            let name = format!("{folder}/{}/{number}", number % 97);
            builder
                .append_data(&mut header, name, data.as_slice())
                .unwrap();
        }
    }
    let tar = builder.into_inner().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&tar).unwrap();
    let layer = encoder.finish().unwrap();
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let config = json!({"architecture": arch, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar)]}});
    let config = add(
        dir,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let layer = add(dir, "application/vnd.oci.image.layer.v1.tar+gzip", &layer);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
    let mut manifest = add(
        dir,
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "bench"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    tar.len()
}

fn half_noise(bytes: usize, seed: &mut u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes + 32);
    while data.len() < bytes {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        data.extend_from_slice(&seed.to_le_bytes());
        data.extend_from_slice(&seed.to_le_bytes());
        data.extend_from_slice(b"\0\0\0\0\x48\x8b\x05\xff");
    }
    data.truncate(bytes);
    data
}

fn add(dir: &Path, media_type: &str, bytes: &[u8]) -> serde_json::Value {
    let digest = Digest::of(bytes);
    let path = dir.join("blobs/sha256");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(digest.hex()), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}
