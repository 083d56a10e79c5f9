//! Doors for fuzz targets: what reads outside bytes, and what must hold whatever they are.
//!
//! Not part of the interface. The targets are in `fuzz/`; what they began with and what they once
//! broke runs again in `tests/corpus.rs`. Each door takes any bytes and panics when something does
//! not hold.

use std::fs;
use std::io::BufReader;
use std::path::PathBuf;

use crate::compression;
use crate::model::{ConfigFile, Index, Kind, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{Challenge, Keyring};
use crate::unpack::{self, Limits};

/// What takes any bytes.
pub type Door = fn(&[u8]);

/// All doors, by name.
pub const DOORS: &[(&str, Door)] = &[
    ("names", names),
    ("documents", documents),
    ("layers", layers),
];

/// Names of images: what is understood is written in a form that means the same.
///
/// # Panics
/// When it does not.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        assert_eq!(reference.familiar().parse(), Ok(reference.clone()));
        let canonical: Result<Reference, _> = reference.canonical().parse();
        assert_eq!(
            canonical.map(|other| other.canonical()),
            Ok(reference.canonical())
        );
    }
}

/// What registries and archives send as JSON, credentials, and what a 401 asks for.
///
/// # Panics
/// When a document changes by being written and read again.
pub fn documents(bytes: &[u8]) {
    let _ = Kind::of("", bytes);
    if let Ok(index) = serde_json::from_slice::<Index>(bytes) {
        let _ = Platform::here().choose(&index);
        let text = serde_json::to_vec(&index).expect("an index can be written");
        assert_eq!(serde_json::from_slice::<Index>(&text).ok(), Some(index));
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let text = serde_json::to_vec(&manifest).expect("a manifest can be written");
        assert_eq!(
            serde_json::from_slice::<Manifest>(&text).ok(),
            Some(manifest)
        );
    }
    if let Ok(config) = serde_json::from_slice::<ConfigFile>(bytes) {
        let text = serde_json::to_vec(&config).expect("a configuration can be written");
        assert_eq!(
            serde_json::from_slice::<ConfigFile>(&text).ok(),
            Some(config)
        );
    }
    let mut keyring = Keyring::default();
    if keyring.add(bytes).is_ok() {
        let _ = keyring.lookup("docker.io/library/nginx");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Challenge::parse(text.lines());
    }
}

/// A layer, compressed or not: whatever it holds, nothing beside its directory changes. Needs root.
///
/// # Panics
/// When something does.
pub fn layers(bytes: &[u8]) {
    let place = place();
    let (root, below, beside) = (
        place.join("root"),
        place.join("below"),
        place.join("beside"),
    );
    for dir in [&root, &below] {
        fs::create_dir_all(dir).expect("make a directory");
    }
    fs::write(&beside, "untouched").expect("write a file");
    let limits = Limits {
        bytes: 1 << 20,
        entries: 200,
        spare_bytes: 0,
    };
    if let Ok(plain) = compression::plain(BufReader::new(bytes)) {
        let result = unpack::fill(
            BufReader::new(plain),
            &root,
            std::slice::from_ref(&below),
            limits,
        );
        // What is broken is refused; what is refused is no failure here.
        drop(result);
    }
    let text = fs::read_to_string(&beside).expect("read a file");
    assert_eq!(text, "untouched");
    let names = fs::read_dir(&place).expect("read a directory").count();
    assert_eq!(names, 3, "something was made beside the layer");
    assert_eq!(fs::read_dir(&below).expect("read a directory").count(), 0);
    fs::remove_dir_all(&place).expect("remove a directory");
}

/// In memory, where there is such a place.
fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let place = dir.join(format!("sealane-layers-{}", std::process::id()));
    // From a process of this number that was killed.
    let _ = fs::remove_dir_all(&place);
    place
}
