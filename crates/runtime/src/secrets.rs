//! What a container must not see of this machine's settings.
//!
//! `sealane.io/host` shows `/etc`, where private keys and passwords lie beside
//! harmless settings. A container's root may read every file, whatever its mode,
//! so the files themselves must be absent. Hidden are
//!
//! - what not everybody on this machine may read: its administrator has said
//!   that it is not for all;
//! - what holds a private key, or is named like a store of such keys, or is a
//!   client's credentials for Kubernetes;
//! - what is mounted there: an overlay would show what lies below the mount.
//!
//! `/usr` is taken to hold published packages (among them test keys that are
//! anything but private), apart from the places in it where administrators put
//! settings of their own, which are searched as well.
//!
//! The search looks at each file's metadata every time, at its content only when
//! that changed: 2 to 4 ms for an `/etc` of a thousand files, some 40 the first
//! time, so that each container gets the truth of its start.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Where secrets are looked for.
const SEARCHED: [&str; 4] = [
    "/etc",
    "/usr/etc",
    "/usr/local/etc",
    "/usr/local/share/ca-certificates",
];

/// Text that gives away a private key or credentials.
const TELLING: [&[u8]; 3] = [b"PRIVATE KEY", b"PuTTY-User-Key-File", b"client-key-data:"];

/// File names that give away a store of private keys in binary form.
const TELLING_EXTENSIONS: [&str; 6] = ["key", "p12", "pfx", "jks", "keystore", "ppk"];

/// What must be hidden now.
///
/// # Errors
/// When a directory cannot be read: then nobody knows what is in it.
pub(crate) fn find() -> io::Result<Vec<PathBuf>> {
    static LAST: Mutex<Option<(Instant, Search)>> = Mutex::new(None);
    let asked = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match last.take() {
        // Of those who waited here, one searches for all.
        Some((begun, search)) if begun >= asked => {
            let found = search.hidden.clone();
            *last = Some((begun, search));
            return Ok(found);
        }
        Some((_, search)) => search,
        None => Search::default(),
    };
    let begun = Instant::now();
    let mut search = Search::default();
    for root in SEARCHED.map(Path::new) {
        search.search(root, &before)?;
    }
    let found = search.hidden.clone();
    *last = Some((begun, search));
    Ok(found)
}

/// One search: what it found, and what it knows about each file's content.
#[derive(Debug, Default)]
struct Search {
    hidden: Vec<PathBuf>,
    contents: HashMap<PathBuf, (Fingerprint, bool)>,
}

/// A file with the same fingerprint has the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint([i64; 6]);

impl Fingerprint {
    fn of(file: &Metadata) -> Self {
        Self([
            file.ino().cast_signed(),
            file.size().cast_signed(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ])
    }
}

impl Search {
    fn search(&mut self, root: &Path, before: &Self) -> io::Result<()> {
        match fs::symlink_metadata(root) {
            Ok(file) if file.is_dir() => self.search_dir(root, file.dev(), before),
            _ => Ok(()),
        }
    }

    fn search_dir(&mut self, dir: &Path, device: u64, before: &Self) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let file = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if file.is_symlink() {
                // It leads to what is seen, or not seen, in its own right.
                continue;
            }
            if file.dev() != device || !everybody_may_read(&file) {
                self.hidden.push(path);
            } else if file.is_dir() {
                self.search_dir(&path, device, before)?;
            } else if self.is_telling(&path, &file, before) {
                self.hidden.push(path);
            }
        }
        Ok(())
    }

    fn is_telling(&mut self, path: &Path, file: &Metadata, before: &Self) -> bool {
        if has_telling_name(path) {
            return true;
        }
        if !file.is_file() {
            // Sockets, pipes and devices are of no use in a container.
            return true;
        }
        let fingerprint = Fingerprint::of(file);
        let telling = match before.contents.get(path) {
            Some((known, telling)) if *known == fingerprint => *telling,
            // What cannot be read cannot be shown to be harmless.
            _ => holds_secret(path).unwrap_or(true),
        };
        self.contents
            .insert(path.to_owned(), (fingerprint, telling));
        telling
    }
}

fn everybody_may_read(file: &Metadata) -> bool {
    let needed = if file.is_dir() { 0o005 } else { 0o004 };
    file.mode() & needed == needed
}

fn has_telling_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    TELLING_EXTENSIONS.contains(&extension)
}

/// Reads in pieces that overlap, so that nothing falls between two of them.
fn holds_secret(path: &Path) -> io::Result<bool> {
    const OVERLAP: usize = 32;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    loop {
        let length = file.read(&mut buffer[kept..])?;
        if length == 0 {
            return Ok(false);
        }
        let end = kept + length;
        if contains_telling(&buffer[..end]) {
            return Ok(true);
        }
        kept = end.min(OVERLAP);
        buffer.copy_within(end - kept..end, 0);
    }
}

fn contains_telling(bytes: &[u8]) -> bool {
    TELLING.iter().any(|text| contains(bytes, text))
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(dir: &Path, name: &str, text: &[u8], mode: u32) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn names(search: &Search, dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = search
            .hidden
            .iter()
            .map(|p| p.strip_prefix(dir).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn secrets_are_found_and_settings_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, "passwd", b"root:x:0:0", 0o644);
        write(dir, "shadow", b"root:$y$", 0o640);
        write(
            dir,
            "app/server.pem",
            b"-----BEGIN RSA PRIVATE KEY-----",
            0o644,
        );
        write(dir, "app/server.crt", b"-----BEGIN CERTIFICATE-----", 0o644);
        write(dir, "app/store.p12", b"\x30\x82", 0o644);
        write(dir, "kube/admin.conf", b"client-key-data: TFMwdA==", 0o644);
        write(dir, "private/notes", b"", 0o644);
        fs::set_permissions(dir.join("private"), fs::Permissions::from_mode(0o710)).unwrap();
        let mut late = vec![b'x'; (64 << 10) - 5];
        late.extend(b"OPENSSH PRIVATE KEY");
        write(dir, "late", &late, 0o644);
        symlink("shadow", dir.join("link")).unwrap();

        let mut search = Search::default();
        search.search(dir, &Search::default()).unwrap();
        assert_eq!(
            names(&search, dir),
            [
                "app/server.pem",
                "app/store.p12",
                "kube/admin.conf",
                "late",
                "private",
                "shadow"
            ]
        );
    }

    #[test]
    fn a_second_search_sees_changes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, "a", b"harmless", 0o644);
        write(dir, "b", b"harmless", 0o644);
        let mut first = Search::default();
        first.search(dir, &Search::default()).unwrap();
        assert!(first.hidden.is_empty());

        write(dir, "a", b"PRIVATE KEY of the same file", 0o644);
        write(dir, "b", b"harmless", 0o600);
        let mut second = Search::default();
        second.search(dir, &first).unwrap();
        assert_eq!(names(&second, dir), ["a", "b"]);
    }

    #[test]
    fn known_content_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(dir.path(), "a", b"harmless", 0o644);
        let file = fs::symlink_metadata(&path).unwrap();
        let mut before = Search::default();
        before
            .contents
            .insert(path.clone(), (Fingerprint::of(&file), true));
        let mut search = Search::default();
        search.search(dir.path(), &before).unwrap();
        assert_eq!(search.hidden, [path]);
    }
}
