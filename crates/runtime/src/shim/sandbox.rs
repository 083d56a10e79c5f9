//! The pod's namespaces, and what lives in them from its first moment.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, sethostname};

use super::pause;
use super::process::Birth;
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::failure::{Context, Failure};
use crate::spec::SandboxSpec;

/// As container runtimes size it.
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

/// Cgroup of the shim below that of the pod. No container can have this name,
/// and on v2 a group with groups below it cannot hold processes itself.
const SHIM_CGROUP: &str = "_shim";

/// Mount points in the pod's directory, used in the pod's mount namespace only.
#[derive(Debug)]
pub(crate) struct Places {
    /// The pod's `/dev/shm`.
    pub(crate) shm: PathBuf,
    /// The programs of `sealane.io/echo`.
    pub(crate) applets: PathBuf,
    /// Where a container makes its root file system.
    pub(crate) root: PathBuf,
}

impl Places {
    /// The mount points of the pod whose directory this is.
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            shm: dir.join("shm"),
            applets: dir.join("applets"),
            root: dir.join("root"),
        }
    }

    /// All of them, for removal.
    pub(crate) fn all(&self) -> [&Path; 3] {
        [&self.shm, &self.applets, &self.root]
    }
}

/// The pod as its shim holds it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) spec: SandboxSpec,
    pub(crate) places: Places,
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// The shim's process id, as this machine sees it.
    pub(crate) pid: u32,
    /// This machine's mount namespace, where mounts are to follow it.
    pub(crate) machine_mounts: Option<File>,
    /// The first process of the namespace that the containers share, if they do.
    pause: Option<u32>,
    /// Why the pod's limits are not in force.
    unlimited: Option<Failure>,
}

impl Sandbox {
    /// Makes the namespaces of the calling process those of the pod.
    pub(super) fn enter(spec: SandboxSpec, pid: u32) -> Result<Self, Failure> {
        let places = Places::of(&spec.dir);
        let machine_mounts = match spec.host_mounts {
            true => Some(File::open("/proc/self/ns/mnt").context(|| "keep a way out".into())?),
            false => None,
        };
        unshare(namespaces(&spec)).context(|| "make the pod's namespaces".into())?;
        chdir("/").context(|| "change to /".into())?;
        if !spec.hostname.is_empty() {
            sethostname(&spec.hostname).context(|| format!("set hostname {}", spec.hostname))?;
        }
        if !spec.host_network {
            prepare_network()?;
        }
        set_sysctls(&spec.sysctls)?;
        make_private()?;
        if !spec.host_ipc {
            mount_shm(&places.shm)?;
        }
        mount_applets(&places.applets)?;
        make_dir(&places.root)?;
        let hierarchies = cgroup::mounted().context(|| "find cgroup hierarchies".into())?;
        let pause = match spec.share_processes && !spec.host_pid {
            true => Some(pause::start(&places)?),
            false => None,
        };
        Ok(Self {
            spec,
            places,
            hierarchies,
            pid,
            machine_mounts,
            pause,
            unlimited: None,
        })
    }

    /// What is `/dev/shm` in the containers.
    pub(crate) fn shm(&self) -> &Path {
        match self.spec.host_ipc {
            true => Path::new("/dev/shm"),
            false => &self.places.shm,
        }
    }

    /// Which PID namespace a container is born into.
    pub(super) fn birth(&self) -> Birth<'_> {
        match &self.pause {
            _ if self.spec.host_pid => Birth::Here,
            Some(pause) => Birth::Beside(pause),
            None => Birth::New,
        }
    }

    /// Whether the kernel kills a container's processes together with its first one.
    pub(super) fn ends_as_one(&self) -> bool {
        matches!(self.birth(), Birth::New)
    }

    /// Whether the limits of the pod are in force.
    pub(super) fn limited(&self) -> Result<(), Failure> {
        self.unlimited.clone().map_or(Ok(()), Err)
    }

    /// The cgroup of a container.
    pub(crate) fn container_cgroup(&self, container: &str) -> Cgroup<'_> {
        Cgroup::new(&self.hierarchies, self.spec.cgroup.join(container))
    }

    /// Moves the shim into its own cgroup. The kernel may take several
    /// milliseconds for that (a grace period of RCU), so it is done after the
    /// node process has been told to go on; until then, and when it fails, the
    /// shim is in the node process's group. A pod whose limits cannot be set
    /// starts no container.
    pub(super) fn join_cgroup(&mut self) {
        let cgroup = self.container_cgroup(SHIM_CGROUP);
        if let Err(error) = cgroup.create().and_then(|()| cgroup.join()) {
            eprintln!("join {error}");
        }
        let pod = Cgroup::new(&self.hierarchies, self.spec.cgroup.clone());
        let limited = pod.limit(&self.spec.limits);
        self.unlimited = limited.context(|| "limit the pod".into()).err();
    }
}

fn namespaces(spec: &SandboxSpec) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    if !spec.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    if !spec.host_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// This machine's unmounts still reach the pod, so that a shim keeps no disk
/// busy; the pod's mounts reach nobody.
fn make_private() -> Result<(), Failure> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )
    .context(|| "separate the pod's mounts".into())
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).context(|| format!("make {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn mount_tmpfs(dir: &Path, flags: MsFlags, options: &str) -> Result<(), Failure> {
    make_dir(dir)?;
    mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options))
        .context(|| format!("mount tmpfs on {}", dir.display()))
}

fn mount_shm(dir: &Path) -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_tmpfs(dir, flags, SHM_OPTIONS)
}

/// `/bin` of `sealane.io/echo`: our own program, and names for its programs.
/// Made at once and not for the first container, because an upgrade may remove
/// the file of a running program, and what has no name cannot be mounted.
fn mount_applets(dir: &Path) -> Result<(), Failure> {
    mount_tmpfs(
        dir,
        MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
        "mode=755,size=64k",
    )?;
    let program = dir.join("sealane");
    File::create(&program).context(|| format!("make {}", program.display()))?;
    mount(
        Some(&own_program()?),
        &program,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .context(|| format!("bind {}", program.display()))?;
    for name in sealane_echo::APPLETS {
        symlink("sealane", dir.join(name)).context(|| format!("make applet {name}"))?;
    }
    Ok(())
}

/// Path of the running program, or of the one that has replaced it.
fn own_program() -> Result<PathBuf, Failure> {
    let path = fs::read_link("/proc/self/exe").context(|| "read /proc/self/exe".into())?;
    if fs::metadata(&path).is_ok_and(|file| file.mode() & 0o111 != 0) {
        return Ok(path);
    }
    let text = path.to_string_lossy();
    let replaced = text.strip_suffix(" (deleted)").map(PathBuf::from);
    replaced.filter(|path| path.exists()).ok_or_else(|| {
        Failure::new(format!(
            "own program {text} has been removed: restart the node process"
        ))
    })
}

/// Brings up `lo`, and lets every user ping and bind any port, as container
/// runtimes do: the namespace is the pod's own.
fn prepare_network() -> Result<(), Failure> {
    bring_up_lo().context(|| "bring up lo".into())?;
    for (name, value) in [
        ("ping_group_range", "0 2147483647"),
        ("ip_unprivileged_port_start", "0"),
    ] {
        let _ = fs::write(Path::new("/proc/sys/net/ipv4").join(name), value);
    }
    Ok(())
}

/// A setting that the kernel refuses keeps the pod from being made: it would not be what it says.
fn set_sysctls(settings: &[(String, String)]) -> Result<(), Failure> {
    for (name, value) in settings {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value).context(|| format!("set sysctl {name}={value}"))?;
    }
    Ok(())
}

fn bring_up_lo() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads the ifreq, which lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(result)?;
    Ok(())
}
