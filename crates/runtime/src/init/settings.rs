//! What a container's processes have in common: kept by the shim while the
//! container runs, so that commands get the same as the container's own.

use std::env;
use std::path::PathBuf;

use super::privileges;
use crate::failure::{Context, Failure};
use crate::image::Image;
use crate::seccomp::Seccomp;
use crate::spec::ContainerSpec;

/// As container images and Debian set it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Environment, user and privileges of a container.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
    /// Bit N is capability N.
    pub(super) capabilities: u64,
    pub(super) no_new_privs: bool,
    pub(super) seccomp: Seccomp,
    working_dir: PathBuf,
}

impl Settings {
    /// The settings that a container asks for, in a pod with this host name.
    pub(crate) fn of(spec: &ContainerSpec, hostname: &str) -> Result<Self, Failure> {
        let user = spec.user.unwrap_or(0);
        Ok(Self {
            argv: argv(spec),
            env: environment(&spec.env, user, hostname, spec.tty),
            user,
            group: spec.group.unwrap_or(0),
            groups: spec.groups.clone(),
            capabilities: if spec.privileged {
                privileges::ALL
            } else {
                privileges::set_of(&spec.capabilities)?
            },
            no_new_privs: !(spec.allow_privilege_escalation || spec.privileged),
            seccomp: spec.seccomp.clone(),
            working_dir: spec.working_dir.clone().unwrap_or_else(|| "/".into()),
        })
    }

    /// The same for a command with a few more variables.
    pub(crate) fn with_env(&self, more: &[(String, String)]) -> Self {
        let mut settings = self.clone();
        for (name, value) in more {
            set(&mut settings.env, name, value);
        }
        settings
    }

    /// The container's own command.
    pub(super) fn argv(&self) -> &[String] {
        &self.argv
    }

    /// Goes to the working directory; makes it for the container's own command.
    pub(super) fn change_dir(&self, make: bool) -> Result<(), Failure> {
        let dir = &self.working_dir;
        if make && !dir.exists() {
            super::make_dirs(dir)?;
        }
        env::set_current_dir(dir)
            .context(|| format!("change to working directory {}", dir.display()))
    }
}

/// As an OCI image's entry point and default arguments combine with a pod's
/// `command` and `args`.
fn argv(spec: &ContainerSpec) -> Vec<String> {
    let (entry_point, default_args): (&[&str], &[&str]) = match spec.image {
        Image::Echo => (&["/bin/echo-server"], &[]),
        // Like a distribution's base image it has no purpose of its own; but
        // it stays, so that one can look around in it.
        Image::Host { .. } => (&[], &["sleep", "infinity"]),
    };
    let mut argv = spec.command.clone();
    if argv.is_empty() {
        argv.extend(entry_point.iter().map(ToString::to_string));
        if spec.args.is_empty() {
            argv.extend(default_args.iter().map(ToString::to_string));
        }
    }
    argv.extend(spec.args.iter().cloned());
    argv
}

fn environment(
    wanted: &[(String, String)],
    user: u32,
    hostname: &str,
    tty: bool,
) -> Vec<(String, String)> {
    let home = if user == 0 { "/root" } else { "/" };
    let mut env = Vec::with_capacity(wanted.len() + 3);
    set(&mut env, "PATH", DEFAULT_PATH);
    set(&mut env, "HOSTNAME", hostname);
    set(&mut env, "HOME", home);
    if tty {
        set(&mut env, "TERM", "xterm");
    }
    for (name, value) in wanted {
        set(&mut env, name, value);
    }
    env
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => entry.1 = value.into(),
        None => env.push((name.into(), value.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv_of(image: Image, command: &[&str], args: &[&str]) -> Vec<String> {
        let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let mut spec = ContainerSpec::new("c", 0, image);
        (spec.command, spec.args) = (strings(command), strings(args));
        argv(&spec)
    }

    #[test]
    fn command_and_args_replace_as_in_kubernetes() {
        let host = || Image::Host { hide: vec![] };
        assert_eq!(argv_of(Image::Echo, &[], &[]), ["/bin/echo-server"]);
        assert_eq!(
            argv_of(Image::Echo, &[], &["--port", "80"]),
            ["/bin/echo-server", "--port", "80"]
        );
        assert_eq!(argv_of(Image::Echo, &["curl"], &["-s"]), ["curl", "-s"]);
        assert_eq!(argv_of(host(), &[], &[]), ["sleep", "infinity"]);
        assert_eq!(argv_of(host(), &["ls"], &[]), ["ls"]);
    }

    #[test]
    fn later_variables_win() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = environment(
            &[pair("A", "1"), pair("HOME", "/x"), pair("A", "2")],
            0,
            "h",
            false,
        );
        assert_eq!(
            env,
            [
                pair("PATH", DEFAULT_PATH),
                pair("HOSTNAME", "h"),
                pair("HOME", "/x"),
                pair("A", "2")
            ]
        );
    }
}
