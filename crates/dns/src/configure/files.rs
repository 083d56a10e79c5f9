//! Files that a Corefile names: of this machine, or keys of the ConfigMaps that are mounted beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sealane_corefile::{Source, glob};

/// More is no file of hosts or of a Corefile.
const LARGEST_BYTES: u64 = 16 << 20;

/// Data of a ConfigMap.
pub type Keys = BTreeMap<String, String>;

/// What is at hand for one reading; it remembers what was asked for.
#[derive(Default)]
pub struct Files<'a> {
    /// Where relative paths begin.
    folder: Option<&'a Path>,
    /// `coredns`, which is mounted at `/etc/coredns`.
    beside: Option<&'a Keys>,
    /// `coredns-custom`, which is mounted at `/etc/coredns/custom`.
    custom: Option<&'a Keys>,
    /// Files of this machine are others than those of the node.
    elsewhere: bool,
    asked: RefCell<Asked>,
}

/// Which files of this machine were asked for, and all texts that were found.
#[derive(Default)]
pub struct Asked {
    pub stamps: Stamps,
    pub texts: Vec<String>,
}

/// What tells one state of a file from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

type Stamp = (u64, u64, i64, i64, u64);

impl<'a> Files<'a> {
    pub fn beside_file(corefile: &'a Path) -> Self {
        Self {
            folder: corefile.parent(),
            ..Self::default()
        }
    }

    pub fn of_config_maps(coredns: &'a Keys, custom: &'a Keys) -> Self {
        Self {
            beside: Some(coredns),
            custom: Some(custom),
            ..Self::default()
        }
    }

    /// For somebody who is not on the node: no files of this machine.
    pub fn elsewhere(self) -> Self {
        Self {
            elsewhere: true,
            ..self
        }
    }

    pub fn asked(self) -> Asked {
        self.asked.into_inner()
    }

    /// The text of a file of this machine; that it was asked for is remembered, there or not.
    pub fn read(&self, path: &Path) -> Option<String> {
        if self.elsewhere {
            return None;
        }
        self.asked.borrow_mut().stamps.add(path);
        let small =
            fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() < LARGEST_BYTES);
        let text = small.then(|| fs::read_to_string(path).ok()).flatten();
        self.found(text)
    }

    fn found(&self, text: Option<String>) -> Option<String> {
        self.asked.borrow_mut().texts.extend(text.clone());
        text
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.unwrap_or(Path::new("/")).join(path)
    }

    /// The keys that are mounted in a folder, and what is left of a path in it.
    fn mounted<'p>(&self, path: &'p str) -> Option<(&'a Keys, &'p str)> {
        let in_folder = path.strip_prefix("/etc/coredns/").unwrap_or(path);
        let (keys, name) = match in_folder.strip_prefix("custom/") {
            Some(name) => (self.custom?, name),
            None => (self.beside?, in_folder),
        };
        (!name.contains('/')).then_some((keys, name))
    }
}

impl Source for Files<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Option<String> {
        if let Some((keys, name)) = self.mounted(path) {
            return self.found(keys.get(name).cloned());
        }
        self.read(&self.path(path))
    }

    fn matching(&self, pattern: &str) -> Vec<(String, String)> {
        if let Some((keys, pattern_in_folder)) = self.mounted(pattern) {
            let matching = keys
                .iter()
                .filter(|(name, _)| glob(pattern_in_folder, name));
            let found: Vec<(String, String)> = matching
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect();
            let texts = found.iter().map(|(_, text)| text.clone());
            self.asked.borrow_mut().texts.extend(texts);
            return found;
        }
        let pattern = self.path(pattern);
        let Some(folder) = pattern.parent() else {
            return Vec::new();
        };
        if self.elsewhere {
            return Vec::new();
        }
        // A file more or less changes the folder's own time.
        self.asked.borrow_mut().stamps.add(folder);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let pattern = pattern.display().to_string();
        let read = |path: PathBuf| {
            let name = path.display().to_string();
            let text = glob(&pattern, &name).then(|| self.read(&path)).flatten()?;
            Some((name, text))
        };
        paths.into_iter().filter_map(read).collect()
    }
}

impl Stamps {
    fn add(&mut self, path: &Path) {
        self.0.insert(path.to_owned(), stamp(path));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file is another one than it was.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
    Some((file.dev(), file.ino(), seconds, nanoseconds, file.size()))
}
