//! Volumes of a pod: what they are (pure), and making them on disk.
//!
//! Types that we do not have were refused before (`review`). An `emptyDir` lives in
//! the pod's folder, so it survives restarts of containers, of `sealane node` and
//! of the sandbox, and goes with the pod; in memory it is a tmpfs mounted there,
//! which the shim's mount namespace inherits, so it is mounted before the shim starts.
//!
//! The files of ConfigMaps are in the pod's folder; Secrets and tokens are below the
//! node's run folder, which is in memory on any ordinary machine. The kubelet
//! mounts a tmpfs for each such volume instead; here every mount would be in the
//! namespaces of all pods of this machine, whose number it would multiply.

pub mod atomic;
pub mod files;

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    HostPathVolumeSource, PodSpec, ProjectedVolumeSource, SecretVolumeSource, VolumeMount,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sealane_runtime::{Mount, Propagation};

use crate::env::Variables;
use crate::quantity;
use files::FilesError;

/// One volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A folder of the pod's own, empty at first.
    Folder,
    /// The same in memory, with a limit in bytes.
    Memory(Option<u64>),
    /// A path of the node.
    Host {
        /// The path.
        path: PathBuf,
        /// What must be there, `spec.volumes[].hostPath.type`.
        expected: String,
    },
    /// Files that show what the API says, and follow it.
    Files(Box<Content>),
}

/// What the files of a volume show.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A ConfigMap.
    ConfigMap(ConfigMapVolumeSource),
    /// A Secret.
    Secret(SecretVolumeSource),
    /// The pod itself.
    Downward(DownwardAPIVolumeSource),
    /// Several of these, and tokens.
    Projected(ProjectedVolumeSource),
}

/// Where volumes are.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// On disk.
    pub disk: &'a Path,
    /// In memory.
    pub memory: &'a Path,
}

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The kernel refused.
    #[error("volume {volume}: make {path}: {source}", path = path.display())]
    Make {
        /// The volume.
        volume: String,
        /// The folder in question.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A host path is not what its type says.
    #[error("volume {volume}: hostPath type check failed: {path} is not a {expected}", path = path.display())]
    NotA {
        /// The volume.
        volume: String,
        /// The node's path.
        path: PathBuf,
        /// What it should be.
        expected: String,
    },
    /// Its files cannot be had, or written.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Files {
        /// The volume.
        volume: String,
        /// Why not.
        source: FilesError,
    },
    /// A path within a volume that refers to a variable that is not defined.
    #[error("volumeMount {mount}: subPathExpr: variable {variable} is not defined")]
    Variable {
        /// The name in the container.
        mount: String,
        /// The variable.
        variable: String,
    },
    /// A path within a volume that would leave it.
    #[error("volumeMount {mount}: subPath {path:?}: expected a relative path without `..`")]
    SubPath {
        /// The name in the container.
        mount: String,
        /// The path.
        path: String,
    },
    /// A container mounts a volume that the pod does not have.
    #[error("volumeMount {mount}: the pod has no volume of this name")]
    Unknown {
        /// The name in the container.
        mount: String,
    },
}

/// The volumes of a pod.
pub fn plan(spec: &PodSpec) -> Vec<Volume> {
    let known = |volume: &k8s_openapi::api::core::v1::Volume| {
        let kind = match (&volume.empty_dir, &volume.host_path) {
            (Some(empty), _) => kind_of_empty(empty),
            (None, Some(host)) => kind_of_host(host),
            (None, None) => Kind::Files(Box::new(content(volume)?)),
        };
        Some(Volume {
            name: volume.name.clone(),
            kind,
        })
    };
    spec.volumes.iter().flatten().filter_map(known).collect()
}

fn content(volume: &k8s_openapi::api::core::v1::Volume) -> Option<Content> {
    let map = volume.config_map.clone().map(Content::ConfigMap);
    let secret = || volume.secret.clone().map(Content::Secret);
    let downward = || volume.downward_api.clone().map(Content::Downward);
    let projected = || volume.projected.clone().map(Content::Projected);
    map.or_else(secret).or_else(downward).or_else(projected)
}

/// The group that volumes of a pod belong to.
pub fn group(spec: &PodSpec) -> Option<u32> {
    let group = spec.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn kind_of_empty(empty: &EmptyDirVolumeSource) -> Kind {
    match empty.medium.as_deref() {
        Some("Memory") => Kind::Memory(empty.size_limit.as_ref().and_then(quantity::units)),
        _ => Kind::Folder,
    }
}

fn kind_of_host(host: &HostPathVolumeSource) -> Kind {
    Kind::Host {
        path: PathBuf::from(&host.path),
        expected: host.type_.clone().unwrap_or_default(),
    }
}

/// Where a container sees its volumes.
///
/// # Errors
/// [`VolumeError::Unknown`], [`VolumeError::Variable`], [`VolumeError::SubPath`].
pub fn mounts(
    container: &Container,
    variables: &Variables,
    volumes: &[Volume],
    places: Places<'_>,
) -> Result<Vec<Mount>, VolumeError> {
    let wanted = container.volume_mounts.iter().flatten();
    wanted
        .map(|mount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| VolumeError::Unknown {
                mount: mount.name.clone(),
            })?;
            let files = matches!(volume.kind, Kind::Files(_));
            Ok(Mount {
                source: volume.path(places),
                sub_path: sub_path(mount, variables)?,
                target: PathBuf::from(&mount.mount_path),
                read_only: files || mount.read_only.unwrap_or(false),
                propagation: propagation(mount),
            })
        })
        .collect()
}

fn propagation(mount: &VolumeMount) -> Propagation {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => Propagation::FromHost,
        Some("Bidirectional") => Propagation::Both,
        _ => Propagation::None,
    }
}

/// Whether a volume of the pod is to show what is mounted in it later.
pub fn any_follows_the_node(spec: &PodSpec) -> bool {
    let init = spec.init_containers.iter().flatten();
    let mut mounts = init
        .chain(&spec.containers)
        .flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.any(|mount| propagation(mount) != Propagation::None)
}

/// The part of the volume that is mounted, if not all of it.
fn sub_path(mount: &VolumeMount, variables: &Variables) -> Result<Option<PathBuf>, VolumeError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let path = match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (Some(path), _) => path,
        (None, Some(expression)) => {
            let path = variables.expand_strictly(&expression);
            path.map_err(|variable| VolumeError::Variable {
                mount: mount.name.clone(),
                variable,
            })?
        }
        (None, None) => return Ok(None),
    };
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.is_empty() || !Path::new(&path).components().all(plain) {
        let mount = mount.name.clone();
        return Err(VolumeError::SubPath { mount, path });
    }
    Ok(Some(PathBuf::from(path)))
}

/// Makes what does not exist yet, without the files that show what the API says.
///
/// # Errors
/// The first volume that cannot be had.
pub fn make(volumes: &[Volume], places: Places<'_>, group: Option<u32>) -> Result<(), VolumeError> {
    for volume in volumes {
        let path = volume.path(places);
        match &volume.kind {
            Kind::Host { expected, .. } => volume.check_host(&path, expected)?,
            kind => volume
                .make_own(kind, &path, group)
                .map_err(volume.cannot_make(&path))?,
        }
    }
    Ok(())
}

/// Brings the files of volumes up to date; whether something had to be changed.
///
/// # Errors
/// The first volume that cannot be had; the others are up to date all the same.
pub fn refresh(
    volumes: &[Volume],
    places: Places<'_>,
    group: Option<u32>,
    origin: files::Origin<'_>,
) -> Result<bool, VolumeError> {
    let mut result = Ok(false);
    for volume in volumes {
        let Kind::Files(content) = &volume.kind else {
            continue;
        };
        let refreshed = volume.refresh(content, places, group, origin);
        result = match (result, refreshed) {
            (Ok(before), Ok(now)) => Ok(before || now),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        };
    }
    result
}

/// Unmounts what is mounted below a pod's volumes, so that the folder can be removed.
///
/// # Errors
/// What the kernel refused; the rest is unmounted.
pub fn unmount(root: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in entries(root)? {
        // EINVAL: not a mount point.
        match umount2(&entry, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => result = Err(error.into()),
        }
    }
    result
}

fn entries(root: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(root) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Volume {
    fn path(&self, places: Places<'_>) -> PathBuf {
        match &self.kind {
            Kind::Host { path, .. } => path.clone(),
            Kind::Folder | Kind::Memory(_) => places.disk.join(&self.name),
            Kind::Files(content) => match **content {
                Content::ConfigMap(_) => places.disk.join(&self.name),
                _ => places.memory.join(&self.name),
            },
        }
    }

    fn refresh(
        &self,
        content: &Content,
        places: Places<'_>,
        group: Option<u32>,
        origin: files::Origin<'_>,
    ) -> Result<bool, VolumeError> {
        let path = self.path(places);
        let files = files::compile(content, origin).map_err(|source| VolumeError::Files {
            volume: self.name.clone(),
            source,
        })?;
        self.make_own(&self.kind, &path, group)
            .and_then(|()| atomic::write(&path, &files, group))
            .map_err(self.cannot_make(&path))
    }

    fn cannot_make(&self, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
        let (volume, path) = (self.name.clone(), path.to_owned());
        move |source| VolumeError::Make {
            volume,
            path,
            source,
        }
    }

    fn make_own(&self, kind: &Kind, path: &Path, group: Option<u32>) -> io::Result<()> {
        if !path.exists() {
            // Beside and renamed: a folder that exists is complete.
            let beside = path.with_file_name(format!(".{}", self.name));
            fs::create_dir_all(&beside)?;
            give_to(&beside, group)?;
            fs::rename(&beside, path)?;
        }
        match kind {
            Kind::Memory(limit) if !is_mount_point(path)? => mount_memory(path, *limit, group),
            _ => Ok(()),
        }
    }

    fn check_host(&self, path: &Path, expected: &str) -> Result<(), VolumeError> {
        let make = |source| self.cannot_make(path)(source);
        let exists = path.exists();
        match expected {
            "DirectoryOrCreate" if !exists => return fs::create_dir_all(path).map_err(make),
            "FileOrCreate" if !exists => return fs::write(path, "").map_err(make),
            _ => {}
        }
        let is = |kind: fn(&fs::FileType) -> bool| {
            fs::metadata(path).is_ok_and(|metadata| kind(&metadata.file_type()))
        };
        let fits = match expected {
            "Directory" | "DirectoryOrCreate" => is(fs::FileType::is_dir),
            "File" | "FileOrCreate" => is(fs::FileType::is_file),
            "Socket" => is(|kind| kind.is_socket()),
            "CharDevice" => is(|kind| kind.is_char_device()),
            "BlockDevice" => is(|kind| kind.is_block_device()),
            // No type: whatever is there; container runtimes make a folder.
            _ if exists => true,
            _ => return fs::create_dir_all(path).map_err(make),
        };
        if fits {
            return Ok(());
        }
        Err(VolumeError::NotA {
            volume: self.name.clone(),
            path: path.to_owned(),
            expected: expected.trim_end_matches("OrCreate").to_owned(),
        })
    }
}

fn mount_memory(path: &Path, limit: Option<u64>, group: Option<u32>) -> io::Result<()> {
    let size = limit.map_or(String::new(), |bytes| format!(",size={bytes}"));
    let options = format!("mode=0777{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?;
    give_to(path, group)
}

/// A file system that is mounted here has another device than the folder around it.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let around = fs::metadata(path.join(".."))?;
    Ok(fs::metadata(path)?.dev() != around.dev())
}

/// An emptyDir is everybody's; with an fsGroup its files belong to that group.
fn give_to(path: &Path, group: Option<u32>) -> io::Result<()> {
    if let Some(group) = group {
        chown(path, None, Some(group))?;
        return fs::set_permissions(path, fs::Permissions::from_mode(0o2777));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn places<P: AsRef<Path> + ?Sized>(path: &P) -> Places<'_> {
        let (disk, memory) = (path.as_ref(), Path::new("/run/pod"));
        Places { disk, memory }
    }

    fn spec(volumes: Value) -> PodSpec {
        serde_json::from_value(json!({"volumes": volumes, "containers": []})).unwrap()
    }

    #[test]
    fn volumes_are_read_from_the_spec() {
        let planned = plan(&spec(json!([
            {"name": "a", "emptyDir": {}},
            {"name": "b", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "c", "hostPath": {"path": "/srv", "type": "Directory"}},
        ])));
        let kinds: Vec<_> = planned.into_iter().map(|volume| volume.kind).collect();
        let host = Kind::Host {
            path: "/srv".into(),
            expected: "Directory".into(),
        };
        assert_eq!(kinds, [Kind::Folder, Kind::Memory(Some(1 << 20)), host]);
    }

    #[test]
    fn containers_see_volumes_where_they_ask() {
        let volumes = plan(&spec(json!([
            {"name": "a", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/srv"}},
        ])));
        let container = serde_json::from_value(json!({"name": "c", "volumeMounts": [
            {"name": "a", "mountPath": "/data", "readOnly": true}, {"name": "h", "mountPath": "/host"},
        ]}))
        .unwrap();
        let seen = mounts(
            &container,
            &Variables::default(),
            &volumes,
            places("/pod/volumes"),
        );
        let seen = seen.unwrap();
        let pairs: Vec<_> = seen
            .iter()
            .map(|mount| {
                (
                    mount.source.to_str().unwrap(),
                    mount.target.to_str().unwrap(),
                    mount.read_only,
                )
            })
            .collect();
        assert_eq!(
            pairs,
            [("/pod/volumes/a", "/data", true), ("/srv", "/host", false)]
        );
        let error = mounts(&container, &Variables::default(), &[], places("/")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "volumeMount a: the pod has no volume of this name"
        );
    }

    #[test]
    fn files_are_read_only_and_a_part_of_a_volume_stays_within() {
        let volumes = plan(&spec(json!([
            {"name": "m", "configMap": {"name": "m"}}, {"name": "s", "secret": {"secretName": "s"}},
        ])));
        let mount = |more: Value| {
            let mut mount = json!({"name": "m", "mountPath": "/m"});
            mount
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let container = serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]}));
            let found = mounts(
                &container.unwrap(),
                &Variables::default(),
                &volumes,
                places("/d"),
            );
            found
                .map(|mut all| all.remove(0))
                .map_err(|error| error.to_string())
        };
        let plain = mount(json!({"subPath": "a/b"})).unwrap();
        assert_eq!(plain.source, Path::new("/d/m"));
        assert_eq!(plain.sub_path.as_deref(), Some(Path::new("a/b")));
        assert!(plain.read_only);
        let secret = mount(json!({"name": "s"})).unwrap();
        assert_eq!(secret.source, Path::new("/run/pod/s"));
        let error = mount(json!({"subPath": "../x"})).unwrap_err();
        assert!(
            error.contains("subPath \"../x\": expected a relative path"),
            "{error}"
        );
        let error = mount(json!({"subPathExpr": "$(NONE)"})).unwrap_err();
        assert!(error.ends_with("variable NONE is not defined"), "{error}");
    }

    #[test]
    fn a_folder_is_made_once_and_keeps_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let volumes = plan(&spec(json!([{"name": "a", "emptyDir": {}}])));
        make(&volumes, places(root.path()), None).unwrap();
        let mode = fs::metadata(root.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o777);
        fs::write(root.path().join("a/kept"), "x").unwrap();
        make(&volumes, places(root.path()), None).unwrap();
        assert!(root.path().join("a/kept").exists());
        unmount(root.path()).unwrap();
    }

    #[test]
    fn host_paths_are_checked_by_type() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "").unwrap();
        let attempt = |name: &str, type_: &str| {
            let host = json!({"path": path(name), "type": type_});
            make(
                &plan(&spec(json!([{"name": "h", "hostPath": host}]))),
                places(dir.path()),
                None,
            )
        };
        attempt("file", "File").unwrap();
        attempt("file", "").unwrap();
        attempt("new/dir", "DirectoryOrCreate").unwrap();
        assert!(path("new/dir").is_dir());
        let error = attempt("file", "Directory").unwrap_err().to_string();
        assert!(error.ends_with("file is not a Directory"), "{error}");
        let error = attempt("absent", "Socket").unwrap_err().to_string();
        assert!(error.ends_with("absent is not a Socket"), "{error}");
    }

    #[test]
    fn a_volume_in_memory_is_limited_and_leaves_no_mount() {
        let root = tempfile::tempdir().unwrap();
        let volumes = plan(&spec(json!([
            {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}},
        ])));
        make(&volumes, places(root.path()), None).unwrap();
        make(&volumes, places(root.path()), None).unwrap();
        let path = root.path().join("m");
        let kind = nix::sys::statfs::statfs(&path).unwrap().filesystem_type();
        let full = fs::write(path.join("big"), vec![0; 128 << 10]);
        unmount(root.path()).unwrap();
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
        assert!(full.is_err(), "a file of 128 KiB must not fit in 64 KiB");
        assert!(!mounted.contains(path.to_str().unwrap()));
    }
}
