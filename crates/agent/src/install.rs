//! Plugin and conflist, where the container runtime looks for them.
//!
//! The plugin is this program under the name `sealane`. Both files are written
//! beside and renamed, so a runtime that reads the folders at any moment finds
//! whole files, and the conflist comes last and only when pods can be wired:
//! its presence is what makes a runtime call its node's network ready. Neither
//! is synced: what a crash of the machine tears is found to differ at the next
//! start and replaced. The conflist stays when the agent ends, since the pods'
//! network stays too, and the plugin then says "try again later".

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sealane_cni::types::{POD_ANNOTATIONS, Version};
use serde_json::{Value, json};

use crate::Settings;

/// The plugin's file name, and the `type` in the conflist.
pub const PLUGIN: &str = "sealane";
/// Before other people's files, which begin with 10- or higher by convention and mean something else.
pub const CONFLIST: &str = "10-sealane.conflist";
/// This program as a file, also when its path has been replaced meanwhile.
pub const SELF: &str = "/proc/self/exe";

/// Puts `program` into the folder of plugins. Does nothing when it is there.
///
/// A hard link where that is possible, since ten nodes on one machine then
/// share one file and its memory; else a copy.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn plugin(program: &Path, dir: &Path) -> anyhow::Result<()> {
    let target = dir.join(PLUGIN);
    let install = || -> io::Result<bool> {
        fs::create_dir_all(dir)?;
        if is_same(program, &target)? {
            return Ok(false);
        }
        let beside = dir.join(".sealane.new");
        remove(&beside)?;
        if link(program, &beside).is_err() {
            copy(program, &beside)?;
        }
        fs::rename(&beside, &target)?;
        Ok(true)
    };
    let installed =
        install().with_context(|| format!("install CNI plugin {}", target.display()))?;
    if installed {
        tracing::info!("installed CNI plugin {}", target.display());
    }
    Ok(())
}

/// The same file, or one with the same content.
fn is_same(program: &Path, target: &Path) -> io::Result<bool> {
    let (ours, theirs) = match (fs::metadata(program)?, fs::metadata(target)) {
        (ours, Ok(theirs)) => (ours, theirs),
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        (_, Err(error)) => return Err(error),
    };
    if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
        return Ok(true);
    }
    let executable = theirs.mode() & 0o111 != 0;
    Ok(executable && ours.len() == theirs.len() && same_content(program, target)?)
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    const CHUNK: usize = 1 << 16;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..n])?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
    }
}

/// Follows `/proc/self/exe` to the file itself, which `fs::hard_link` does not.
fn link(program: &Path, target: &Path) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
    nix::unistd::linkat(
        nix::fcntl::AT_FDCWD,
        path(program)?.as_c_str(),
        nix::fcntl::AT_FDCWD,
        path(target)?.as_c_str(),
        nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW,
    )?;
    Ok(())
}

fn copy(program: &Path, target: &Path) -> io::Result<()> {
    let mut from = File::open(program)?;
    let mut to = File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(target)?;
    io::copy(&mut from, &mut to)?;
    Ok(())
}

/// Puts the conflist into the folder of configurations. Does nothing when it is there.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn conflist(settings: &Settings) -> anyhow::Result<()> {
    let dir = &settings.cni_conf_dir;
    let target = dir.join(CONFLIST);
    let text = conflist_text(settings);
    let install = || -> io::Result<bool> {
        fs::create_dir_all(dir)?;
        if fs::read(&target).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(false);
        }
        // A name that no runtime takes for a configuration.
        let beside: PathBuf = dir.join(".10-sealane.new");
        fs::write(&beside, &text)?;
        fs::rename(&beside, &target)?;
        Ok(true)
    };
    let installed =
        install().with_context(|| format!("install CNI configuration {}", target.display()))?;
    if installed {
        tracing::info!("installed CNI configuration {}", target.display());
    }
    Ok(())
}

/// Refuses a chain of which the runtime would not find a plugin: it would fail every pod.
///
/// # Errors
/// The missing plugin, and where it was looked for.
pub fn check_chain(settings: &Settings) -> anyhow::Result<()> {
    let dir = &settings.cni_bin_dir;
    match settings
        .cni_chain
        .iter()
        .find(|name| !dir.join(name).is_file())
    {
        Some(missing) => bail!(
            "chain CNI plugin {missing}: no such file in {}; put it there (Debian's package \
             containernetworking-plugins has it in /usr/lib/cni), or leave it out of --cni-chain",
            dir.display()
        ),
        None => Ok(()),
    }
}

/// `cniVersion` is one that old runtimes know; newer ones take the highest of `cniVersions`.
fn conflist_text(settings: &Settings) -> String {
    let ours = json!({
        "type": PLUGIN,
        "socket": settings.cni_socket(),
        "spool": settings.spool_dir(),
        "capabilities": {"ips": true, "mac": true, "dns": true, "bandwidth": settings.limits_bandwidth(),
            "portMappings": settings.serves_host_ports(), POD_ANNOTATIONS: true},
    });
    // A runtime calls every plugin of a chain in the version that it chose, and stock plugins
    // before 1.4 refuse 1.1.0, so a chain goes without its GC and STATUS.
    let newest = match settings.cni_chain.is_empty() {
        true => Version::LATEST,
        false => Version::V1_0_0,
    };
    let versions = Version::ALL
        .into_iter()
        .filter(|version| *version <= newest);
    let behind = settings.cni_chain.iter().map(|name| chained(name));
    let conflist = json!({
        "cniVersion": Version::V1_0_0.as_str(),
        "cniVersions": versions.map(Version::as_str).collect::<Vec<_>>(),
        "name": PLUGIN,
        "plugins": std::iter::once(ours).chain(behind).collect::<Vec<_>>(),
    });
    format!("{conflist:#}\n")
}

/// A plugin behind ours, with the capability that it is there for.
fn chained(name: &str) -> Value {
    match name {
        "portmap" => json!({"type": name, "capabilities": {"portMappings": true}}),
        "bandwidth" => json!({"type": name, "capabilities": {"bandwidth": true}}),
        _ => json!({"type": name}),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sealane_cni::invoke::load_conflist;

    use super::*;
    use crate::Options;

    #[test]
    fn the_plugin_is_a_link_to_the_program_and_is_replaced_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("cni/bin");
        let old = dir.path().join("old");
        let new = dir.path().join("new");
        fs::write(&old, "old").unwrap();
        fs::write(&new, "new").unwrap();
        plugin(&old, &bin).unwrap();
        plugin(&old, &bin).unwrap();
        plugin(&new, &bin).unwrap();
        let target = bin.join(PLUGIN);
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(
            fs::metadata(&target).unwrap().ino(),
            fs::metadata(&new).unwrap().ino()
        );
        assert_eq!(
            fs::read_dir(&bin).unwrap().count(),
            1,
            "something was left behind"
        );
    }

    #[test]
    fn follows_the_running_program() {
        let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        plugin(Path::new(SELF), dir.path()).unwrap();
        let target = dir.path().join(PLUGIN);
        assert!(!target.is_symlink());
        assert!(is_same(Path::new(SELF), &target).unwrap());
    }

    #[test]
    fn a_copy_is_executable_and_is_not_made_twice() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let target = dir.path().join(PLUGIN);
        fs::write(&program, "text").unwrap();
        copy(&program, &target).unwrap();
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o111,
            0o111
        );
        let before = fs::metadata(&target).unwrap().ino();
        plugin(&program, dir.path()).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().ino(), before);
        fs::write(&program, "tXxt").unwrap();
        plugin(&program, dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "tXxt");
    }

    #[test]
    fn the_conflist_is_one_that_a_runtime_loads_and_is_left_alone_when_right() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Options {
            node_name: Some("a".into()),
            cni_conf_dir: Some(dir.path().into()),
            ..Options::default()
        };
        let settings = settings.resolve().unwrap();
        conflist(&settings).unwrap();
        let network = load_conflist(dir.path()).unwrap();
        assert_eq!(
            (network.name(), network.plugins()[0].kind()),
            ("sealane", "sealane")
        );
        assert_eq!(network.version(), Version::LATEST);
        let before = fs::metadata(dir.path().join(CONFLIST)).unwrap().ino();
        conflist(&settings).unwrap();
        assert_eq!(
            fs::metadata(dir.path().join(CONFLIST)).unwrap().ino(),
            before
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_chain_is_written_behind_ours_and_refused_while_a_plugin_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Options {
            node_name: Some("a".into()),
            cni_conf_dir: Some(dir.path().into()),
            cni_bin_dir: Some(dir.path().into()),
            cni_chain: Some(vec!["portmap".into(), "tuning".into()]),
            ..Options::default()
        };
        let settings = settings.resolve().unwrap();
        fs::write(dir.path().join("portmap"), "").unwrap();
        let error = check_chain(&settings).unwrap_err().to_string();
        assert!(error.contains("tuning: no such file"), "{error}");
        fs::write(dir.path().join("tuning"), "").unwrap();
        check_chain(&settings).unwrap();
        conflist(&settings).unwrap();
        let network = load_conflist(dir.path()).unwrap();
        let kinds: Vec<&str> = network.plugins().iter().map(|p| p.kind()).collect();
        assert_eq!(kinds, ["sealane", "portmap", "tuning"]);
        assert_eq!(network.version(), Version::V1_0_0);
        // Of both, the one that was asked for.
        let text = conflist_text(&settings);
        assert_eq!(text.matches("\"portMappings\": true").count(), 1, "{text}");
        assert_eq!(text.matches("\"portMappings\": false").count(), 1, "{text}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = plugin(Path::new(SELF), Path::new("/proc/nowhere")).unwrap_err();
        assert!(format!("{error:#}").contains("/proc/nowhere"), "{error:#}");
    }
}
