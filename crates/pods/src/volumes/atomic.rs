//! Edge: a folder of files that changes as a whole.
//!
//! ```text
//! VOLUME/key        -> ..data/key
//! VOLUME/..data     -> ..2026_11_21_03_30_00.123456789
//! VOLUME/..2026_11_21_03_30_00.123456789/key
//! ```
//!
//! A new generation is written beside the old one and `..data` is renamed over, so a
//! reader finds all files of one or all of the other: the layout of the kubelet's
//! AtomicWriter, which programs that watch their settings know.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use jiff::Timestamp;

use super::files::{File, Files};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Brings the folder to hold these files; whether something had to be changed.
///
/// # Errors
/// When the kernel refuses; the old files are then still whole.
pub fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && holds(&dir.join(current), files)?
    {
        return Ok(false);
    }
    let generation = name_generation(Timestamp::now());
    write_generation(&dir.join(&generation), files, group)?;
    symlink(&generation, dir.join(DATA_NEW)).or_else(replace_if_there(dir, &generation))?;
    fs::rename(dir.join(DATA_NEW), dir.join(DATA))?;
    link(dir, files)?;
    remove_others(dir, &generation)?;
    Ok(true)
}

/// A link that a former process of ours has left is made anew.
fn replace_if_there(dir: &Path, generation: &str) -> impl FnOnce(io::Error) -> io::Result<()> {
    move |error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        fs::remove_file(dir.join(DATA_NEW))?;
        symlink(generation, dir.join(DATA_NEW))
    }
}

fn name_generation(now: Timestamp) -> String {
    let nanos = now.subsec_nanosecond();
    format!("..{}.{nanos:09}", now.strftime("%Y_%m_%d_%H_%M_%S"))
}

/// Whether a generation holds these files and no others.
fn holds(generation: &Path, files: &Files) -> io::Result<bool> {
    let mut paths = BTreeSet::new();
    collect(generation, Path::new(""), &mut paths)?;
    let same = |(path, file): (&String, &File)| {
        fs::read(generation.join(path)).is_ok_and(|data| data == file.data)
    };
    Ok(paths.iter().eq(files.keys()) && files.iter().all(same))
}

fn collect(root: &Path, below: &Path, paths: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in super::entries(&root.join(below))? {
        let path = below.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            collect(root, &path, paths)?;
        } else {
            paths.insert(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn write_generation(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    make_dir(dir, group)?;
    for (path, file) in files {
        let mut parent = dir.to_owned();
        for part in Path::new(path).parent().into_iter().flatten() {
            parent.push(part);
            make_dir(&parent, group)?;
        }
        write_file(&dir.join(path), file, group)?;
    }
    Ok(())
}

/// Readable by all; with an fsGroup, what is made in it would belong to that group.
fn make_dir(dir: &Path, group: Option<u32>) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    chown(dir, None, group)?;
    let mode = if group.is_some() { 0o2755 } else { 0o755 };
    fs::set_permissions(dir, Permissions::from_mode(mode))
}

/// An fsGroup may read all of the pod's files.
fn write_file(path: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    let mode = if group.is_some() {
        file.mode | 0o440
    } else {
        file.mode
    };
    fs::write(path, [])?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    fs::write(path, &file.data)?;
    chown(path, file.owner, group)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The names that people see: those of the files, or of the folders that they are in.
fn tops(files: &Files) -> BTreeSet<&str> {
    let paths = files.keys();
    paths.filter_map(|path| path.split('/').next()).collect()
}

fn link(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted = tops(files);
    for name in &wanted {
        match symlink(Path::new(DATA).join(name), dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    for entry in super::entries(dir)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(&*name) {
            fs::remove_file(&entry)?;
        }
    }
    Ok(())
}

fn remove_others(dir: &Path, generation: &str) -> io::Result<()> {
    for entry in super::entries(dir)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.starts_with("..") && name != DATA && name != generation;
        if ours && entry.is_dir() {
            fs::remove_dir_all(&entry)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let file = |data: &str| File {
            data: data.as_bytes().to_vec(),
            mode: 0o400,
            owner: None,
        };
        let pairs = pairs.iter();
        pairs
            .map(|(path, data)| ((*path).to_owned(), file(data)))
            .collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = super::super::entries(dir)
            .unwrap()
            .iter()
            .map(|entry| entry.file_name().unwrap().to_string_lossy().into_owned())
            .map(|name| {
                if name.starts_with("..2") {
                    "..TIME".into()
                } else {
                    name
                }
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_change_together() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(write(dir, &files(&[("a", "1"), ("d/e", "2")]), None).unwrap());
        assert_eq!(names(dir), ["..TIME", "..data", "a", "d"]);
        assert_eq!(fs::read_to_string(dir.join("d/e")).unwrap(), "2");
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        let mode = fs::metadata(dir.join("a")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o400);

        let held = fs::canonicalize(dir.join("..data")).unwrap();
        assert!(!write(dir, &files(&[("a", "1"), ("d/e", "2")]), None).unwrap());
        assert_eq!(fs::canonicalize(dir.join("..data")).unwrap(), held);

        assert!(write(dir, &files(&[("a", "3"), ("b", "4")]), None).unwrap());
        assert_eq!(names(dir), ["..TIME", "..data", "a", "b"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!held.exists(), "the old generation is gone");
    }

    #[test]
    fn what_an_interrupted_write_has_left_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("..2020_01_01_00_00_00.000000000")).unwrap();
        symlink("..2020_01_01_00_00_00.000000000", dir.join(DATA_NEW)).unwrap();
        assert!(write(dir, &files(&[("a", "1")]), None).unwrap());
        assert_eq!(names(dir), ["..TIME", "..data", "a"]);
        assert!(write(dir, &Files::new(), None).unwrap());
        assert_eq!(names(dir), ["..TIME", "..data"]);
    }

    #[test]
    fn an_fs_group_may_read() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &files(&[("d/a", "1")]), Some(3000)).unwrap();
        let file = fs::metadata(dir.path().join("d/a")).unwrap();
        assert_eq!((file.mode() & 0o777, file.gid()), (0o440, 3000));
        let folder = fs::metadata(dir.path().join("d")).unwrap();
        assert_eq!((folder.mode() & 0o7777, folder.gid()), (0o2755, 3000));
    }
}
