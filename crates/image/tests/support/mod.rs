//! Images for tests, made here: no test needs the world outside.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use sealane_image::{Digest, Image, Imported, Source, Store};
use serde_json::{Value, json};

pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A layer's tar, entry by entry.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    pub fn file(self, path: &str, text: &str) -> Self {
        self.owned(path, text, 0o644, 0, 0)
    }

    pub fn owned(mut self, path: &str, text: &str, mode: u32, uid: u64, gid: u64) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, mode);
        header.set_size(text.len() as u64);
        header.set_uid(uid);
        header.set_gid(gid);
        self.add(header, path, "", text.as_bytes());
        self
    }

    pub fn dir(mut self, path: &str, mode: u32) -> Self {
        self.add(Self::header(tar::EntryType::Directory, mode), path, "", b"");
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.add(
            Self::header(tar::EntryType::Symlink, 0o777),
            path,
            target,
            b"",
        );
        self
    }

    pub fn hard_link(mut self, path: &str, target: &str) -> Self {
        self.add(Self::header(tar::EntryType::Link, 0o644), path, target, b"");
        self
    }

    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Char, 0o666);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.add(header, path, "", b"");
        self
    }

    pub fn fifo(mut self, path: &str) -> Self {
        self.add(Self::header(tar::EntryType::Fifo, 0o600), path, "", b"");
        self
    }

    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        self
    }

    /// Names are written as they are: the builder would refuse those that tests are about.
    pub fn add(&mut self, mut header: tar::Header, path: &str, link: &str, data: &[u8]) {
        assert!(path.len() <= 100 && link.len() <= 100, "{path}");
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, data).unwrap();
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Blobs of one or more images.
#[derive(Default, Clone)]
pub struct Blobs(pub BTreeMap<Digest, Vec<u8>>);

impl Blobs {
    pub fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.0.insert(digest, bytes);
        descriptor
    }

    pub fn add_json(&mut self, media_type: &str, value: &Value) -> Value {
        self.add(media_type, serde_json::to_vec(value).unwrap())
    }

    /// An image of plain layers; returns the descriptor of its manifest.
    pub fn image(&mut self, layers: &[Vec<u8>], config: Value) -> Value {
        let packed: Vec<_> = layers
            .iter()
            .map(|tar| (tar.clone(), LAYER.to_owned()))
            .collect();
        self.packed_image(layers, &packed, config)
    }

    /// An image of layers that are compressed somehow.
    pub fn packed_image(
        &mut self,
        layers: &[Vec<u8>],
        packed: &[(Vec<u8>, String)],
        config: Value,
    ) -> Value {
        let diff_ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
        let config = json!({
            "architecture": arch(), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.add_json(CONFIG, &config);
        let layers: Vec<Value> = packed
            .iter()
            .map(|(bytes, media_type)| self.add(media_type, bytes.clone()))
            .collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.add_json(MANIFEST, &manifest)
    }

    /// The blobs and `index.json` as an OCI archive.
    pub fn archive(&self, manifests: &[Value]) -> Vec<u8> {
        let mut layer = Layer::new();
        for (path, bytes) in self.files(manifests) {
            let mut header = Layer::header(tar::EntryType::Regular, 0o644);
            header.set_size(bytes.len() as u64);
            layer.add(header, &path, "", &bytes);
        }
        layer.tar()
    }

    /// The same as a directory.
    pub fn directory(&self, dir: &Path, manifests: &[Value]) {
        for (path, bytes) in self.files(manifests) {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    fn files(&self, manifests: &[Value]) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
        ];
        for (digest, bytes) in &self.0 {
            files.push((format!("blobs/sha256/{}", digest.hex()), bytes.clone()));
        }
        files
    }
}

/// A descriptor with a name.
pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"io.containerd.image.name": name});
    descriptor
}

pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub fn import(store: &Store, archive: Vec<u8>) -> Imported {
    let source = Source::Stream(Box::new(std::io::Cursor::new(archive)));
    store.import(source, &[]).expect("import an archive")
}

/// Imports layers as one image and returns it.
pub fn import_layers(store: &Store, layers: &[Vec<u8>]) -> Result<Image, String> {
    let mut blobs = Blobs::default();
    let manifest = blobs.image(layers, json!({}));
    let mut imported = import(store, blobs.archive(&[named(manifest, "test/a:1")]));
    match imported.failed.pop() {
        Some(failed) => Err(failed.error.to_string()),
        None => Ok(imported.images.remove(0)),
    }
}
