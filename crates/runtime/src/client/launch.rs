//! Starting a shim.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Shim, leftovers};
use crate::error::{Error, Result};
use crate::shim::{READY, SPEC_FILE};
use crate::spec::SandboxSpec;

/// A shim needs milliseconds; a machine that needs longer is in trouble.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest path of a unix socket (unix(7), `sun_path`, less the final zero).
const MAX_SOCKET_PATH: usize = 107;

/// Which program is started as a shim, as `PROGRAM shim …`.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Path of the program.
    pub program: PathBuf,
}

/// [`Launcher::create`] with the running program.
///
/// # Errors
/// [`Error::Create`], with the shim's own words.
pub async fn create(spec: &SandboxSpec) -> Result<Shim> {
    Launcher::current().create(spec).await
}

impl Launcher {
    /// The running program itself.
    pub fn current() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
        }
    }

    /// Makes the sandbox: starts a detached shim, and returns when its
    /// namespaces exist and its socket answers. Leftovers of a dead shim of
    /// the same pod are removed first, logs and exit records kept.
    ///
    /// # Errors
    /// [`Error::Create`], with the shim's own words.
    pub async fn create(&self, spec: &SandboxSpec) -> Result<Shim> {
        match self.try_create(spec).await {
            Ok(shim) => Ok(shim),
            Err(Trouble::Occupied) => Err(failed(spec, "its socket is served already: adopt it")),
            Err(Trouble::Other(reason)) => {
                if let Err(error) = leftovers::reset_async(spec.clone()).await {
                    tracing::warn!("{error}");
                }
                Err(failed(spec, reason))
            }
        }
    }

    async fn try_create(&self, spec: &SandboxSpec) -> Result<Shim, Trouble> {
        check(spec)?;
        if Shim::connect(&spec.socket).await.is_ok() {
            return Err(Trouble::Occupied);
        }
        let leftovers = leftovers::reset_async(spec.clone()).await;
        leftovers.map_err(|error| Trouble::Other(error.to_string()))?;
        prepare(spec).map_err(|e| Trouble::Other(e.to_string()))?;
        let report = timeout(PATIENCE, self.launch(spec)).await;
        let report = report.map_err(|_| Trouble::Other("the shim gave no sign of life".into()))?;
        let report = report.map_err(|e| Trouble::Other(format!("start its shim: {e}")))?;
        if !report.starts_with(READY) {
            return Err(Trouble::Other(report));
        }
        let shim = Shim::connect(&spec.socket).await;
        shim.map_err(|e| Trouble::Other(format!("reach its shim: {e}")))
    }

    /// Starts the shim and returns its report.
    async fn launch(&self, spec: &SandboxSpec) -> io::Result<String> {
        let log = File::options()
            .append(true)
            .create(true)
            .open(spec.dir.join("shim.log"))?;
        let mut launcher = Command::new(&self.program)
            .arg0("sealane")
            .arg("shim")
            .arg(spec.pod())
            .arg(&spec.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut report = String::new();
        if let Some(mut stdout) = launcher.stdout.take() {
            stdout.read_to_string(&mut report).await?;
        }
        let status = launcher.wait().await?;
        if report.is_empty() {
            return Err(io::Error::other(format!(
                "{} ended without a word ({status})",
                self.program.display()
            )));
        }
        Ok(report.trim_end().to_owned())
    }
}

enum Trouble {
    /// A living shim is there, which must not be touched.
    Occupied,
    Other(String),
}

fn failed(spec: &SandboxSpec, reason: impl Into<String>) -> Error {
    Error::Create {
        pod: spec.pod(),
        reason: reason.into(),
    }
}

fn check(spec: &SandboxSpec) -> Result<(), Trouble> {
    let length = spec.socket.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(Trouble::Other(format!(
            "socket path {} has {length} bytes, the limit is {MAX_SOCKET_PATH}: use a shorter run directory",
            spec.socket.display()
        )));
    }
    if !spec.dir.is_absolute() || !spec.socket.is_absolute() {
        return Err(Trouble::Other("its paths are not absolute".into()));
    }
    if spec.cgroup.is_absolute() {
        return Err(Trouble::Other("its cgroup is not relative".into()));
    }
    Ok(())
}

/// Puts the files in place that the shim starts from.
fn prepare(spec: &SandboxSpec) -> io::Result<()> {
    make_parents(&spec.dir)?;
    make_private(&spec.dir)?;
    make_parents(&spec.socket)?;
    let text = serde_json::to_vec_pretty(spec)?;
    let file = spec.dir.join(SPEC_FILE);
    fs::write(&file, text).map_err(|e| about("write", &file, &e))
}

/// Logs and volumes of a pod concern nobody else on this machine.
fn make_private(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(about("make directory", dir, &error))
        }
        _ => Ok(()),
    }
}

fn make_parents(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(dir) => fs::create_dir_all(dir).map_err(|e| about("make directory", dir, &e)),
        None => Ok(()),
    }
}

fn about(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{verb} {}: {error}", path.display()))
}
