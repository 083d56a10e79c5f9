//! The schemas of Kubernetes' own types, as the build script packed them.

use std::{collections::HashMap, io::Read as _, ops::Range};

use flate2::read::ZlibDecoder;
use serde_json::Value;

include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// The types of a package.
pub struct Package {
    /// `io.k8s.api.core.v1`.
    name: &'static str,
    /// How long its lines are.
    bytes: usize,
    /// `NAME TAB SCHEMA`, deflated.
    lines: &'static [u8],
}

/// The name of the definition of a kind.
pub fn definition_of(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    let wanted = [group, version, kind];
    let found = KINDS.binary_search_by(|(kind, _)| kind.as_slice().cmp(&wanted));
    found.ok().map(|index| KINDS[index].1)
}

/// Packages that have been unpacked, for as long as a document is being written.
#[derive(Default)]
pub struct Library {
    unpacked: HashMap<&'static str, Unpacked>,
}

impl Library {
    /// The schema of a definition; references in it are to `#/definitions/`.
    pub fn schema(&mut self, definition: &str) -> Option<Value> {
        let (package, name) = definition.rsplit_once('.')?;
        let package = PACKAGES.iter().find(|one| one.name == package)?;
        let unpacked = self.unpacked.entry(package.name);
        let unpacked = unpacked.or_insert_with(|| Unpacked::of(package));
        let schema = unpacked.schemas.get(name)?.clone();
        serde_json::from_str(&unpacked.lines[schema]).ok()
    }
}

/// The lines of a package, and where in them the schema of each type is.
struct Unpacked {
    lines: String,
    schemas: HashMap<String, Range<usize>>,
}

impl Unpacked {
    fn of(package: &Package) -> Self {
        let mut lines = String::with_capacity(package.bytes);
        let read = ZlibDecoder::new(package.lines).read_to_string(&mut lines);
        read.expect("the build script wrote it, and a test reads all of it");
        let (mut schemas, mut at) = (HashMap::new(), 0);
        for line in lines.split_inclusive('\n') {
            let end = at + line.trim_end().len();
            if let Some((name, _)) = line.split_once('\t') {
                schemas.insert(name.to_owned(), at + name.len() + 1..end);
            }
            at += line.len();
        }
        Self { lines, schemas }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_packed_is_read_again() {
        let mut library = Library::default();
        for package in PACKAGES {
            let unpacked = Unpacked::of(package);
            assert!(!unpacked.schemas.is_empty(), "{}", package.name);
            for name in unpacked.schemas.keys() {
                let name = format!("{}.{name}", package.name);
                assert!(library.schema(&name).unwrap().is_object(), "{name}");
            }
        }
        for ([group, version, kind], name) in KINDS {
            assert_eq!(definition_of(group, version, kind), Some(*name));
        }
        assert_eq!(
            definition_of("apps", "v1", "Deployment"),
            Some("io.k8s.api.apps.v1.Deployment")
        );
        assert_eq!(definition_of("apps", "v1", "Nonsense"), None);
    }
}
