//! What a container's processes have in common: kept by the shim while the
//! container runs, so that commands get the same as the container's own.

use std::env;
use std::path::PathBuf;

use super::{privileges, user};
use crate::failure::{Context, Failure};
use crate::image::{Image, Layers};
use crate::seccomp::Seccomp;
use crate::spec::ContainerSpec;
use user::Identity;

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
    /// To be looked up in the image, once its root is the root.
    wanted: Option<user::Wanted>,
}

impl Settings {
    /// The settings that a container asks for, in a pod with this host name.
    pub(crate) fn of(spec: &ContainerSpec, hostname: &str) -> Result<Self, Failure> {
        let user = spec.user.unwrap_or(0);
        let working_dir = spec.working_dir.clone();
        let (home, image_env, wanted) = match &spec.image {
            Image::Layers(image) => (None, &image.env[..], Some(wanted(spec, image))),
            _ if user == 0 => (Some("/root"), &[][..], None),
            _ => (Some("/"), &[][..], None),
        };
        Ok(Self {
            argv: argv(spec),
            env: environment(image_env, &spec.env, home, hostname, spec.tty),
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
            working_dir: working_dir
                .or_else(|| match &spec.image {
                    Image::Layers(image) => image.working_dir.clone(),
                    _ => None,
                })
                .unwrap_or_else(|| "/".into()),
            wanted,
        })
    }

    /// Who the container's processes are, where the image has to be asked.
    pub(super) fn look_up(&self) -> Result<Option<Identity>, Failure> {
        self.wanted.as_ref().map(user::Wanted::look_up).transpose()
    }

    /// The same for whom the image has told.
    pub(crate) fn identified(&self, who: &Identity) -> Self {
        let mut settings = self.clone();
        settings.user = who.user;
        settings.group = who.group;
        settings.groups.clone_from(&who.groups);
        settings.wanted = None;
        if !settings.env.iter().any(|(name, _)| name == "HOME") {
            settings.env.push(("HOME".into(), who.home.clone()));
        }
        settings
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

    /// Makes the working directory, for the container's own command.
    pub(super) fn make_dir(&self) -> Result<(), Failure> {
        match self.working_dir.exists() {
            true => Ok(()),
            false => super::make_dirs(&self.working_dir),
        }
    }

    /// Goes to the working directory.
    pub(super) fn change_dir(&self) -> Result<(), Failure> {
        let dir = &self.working_dir;
        env::set_current_dir(dir)
            .context(|| format!("change to working directory {}", dir.display()))
    }
}

/// As an OCI image's entry point and default arguments combine with a pod's
/// `command` and `args`.
fn argv(spec: &ContainerSpec) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let (entry_point, default_args): (Vec<String>, Vec<String>) = match &spec.image {
        Image::Echo => (words(&["/bin/echo-server"]), Vec::new()),
        // Like a distribution's base image it has no purpose of its own; but
        // it stays, so that one can look around in it.
        Image::Host { .. } => (Vec::new(), words(&["sleep", "infinity"])),
        Image::Layers(image) => (image.entrypoint.clone(), image.cmd.clone()),
    };
    let mut argv = spec.command.clone();
    if argv.is_empty() {
        argv.extend(entry_point);
        if spec.args.is_empty() {
            argv.extend(default_args);
        }
    }
    argv.extend(spec.args.iter().cloned());
    argv
}

fn wanted(spec: &ContainerSpec, image: &Layers) -> user::Wanted {
    user::Wanted {
        image: image.user.clone(),
        user: spec.user,
        group: spec.group,
        groups: spec.groups.clone(),
        strict: spec.strict_groups,
    }
}

/// The image's variables, then the container's; of two equal names the later counts.
fn environment(
    image: &[(String, String)],
    wanted: &[(String, String)],
    home: Option<&str>,
    hostname: &str,
    tty: bool,
) -> Vec<(String, String)> {
    let mut env = Vec::with_capacity(image.len() + wanted.len() + 4);
    set(&mut env, "PATH", DEFAULT_PATH);
    set(&mut env, "HOSTNAME", hostname);
    if let Some(home) = home {
        set(&mut env, "HOME", home);
    }
    if tty {
        set(&mut env, "TERM", "xterm");
    }
    for (name, value) in image.iter().chain(wanted) {
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
        let layers = || {
            Image::Layers(Box::new(Layers {
                entrypoint: vec!["/entry".into(), "-e".into()],
                cmd: vec!["default".into()],
                ..Layers::default()
            }))
        };
        for (command, args, expected) in [
            (&[][..], &[][..], &["/entry", "-e", "default"][..]),
            (&[], &["mine"], &["/entry", "-e", "mine"]),
            (&["sh"], &[], &["sh"]),
            (&["sh"], &["-c"], &["sh", "-c"]),
        ] {
            assert_eq!(argv_of(layers(), command, args), expected);
        }
    }

    #[test]
    fn an_image_names_its_user_and_where_it_is_at_home() {
        let mut spec = ContainerSpec::new("c", 0, Image::Layers(Box::default()));
        spec.env = vec![("A".into(), "1".into())];
        let settings = Settings::of(&spec, "h").unwrap();
        assert!(!settings.env.iter().any(|(name, _)| name == "HOME"));
        let who = Identity {
            user: 33,
            group: 34,
            groups: vec![4],
            home: "/var/www".into(),
        };
        let settings = settings.identified(&who);
        assert_eq!((settings.user, settings.group), (33, 34));
        let home = ("HOME".to_owned(), "/var/www".to_owned());
        assert!(settings.env.contains(&home));
    }

    #[test]
    fn later_variables_win() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = environment(
            &[pair("A", "0"), pair("B", "0")],
            &[pair("A", "1"), pair("HOME", "/x"), pair("A", "2")],
            Some("/root"),
            "h",
            false,
        );
        assert_eq!(
            env,
            [
                pair("PATH", DEFAULT_PATH),
                pair("HOSTNAME", "h"),
                pair("HOME", "/x"),
                pair("A", "2"),
                pair("B", "0"),
            ]
        );
    }
}
