//! Edge: which filter of system calls a container gets.
//!
//! As in the kubelet: the container's word goes before the pod's, a privileged container has none,
//! and where nothing is said there is none either, unless `--seccomp-default` says otherwise.
//! Profiles of the kind `Localhost` are files below the node's own folder for them, read anew for
//! each start.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec, SeccompProfile};
use sealane_runtime::seccomp::{self, ProfileError, Seccomp};

/// Why a container's filter cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The file of a profile.
    #[error("cannot load seccomp profile {path:?}: {source}", path = path.display().to_string())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in the file.
    #[error("cannot load seccomp profile {path:?}: {source}", path = path.display().to_string())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ProfileError,
    },
    /// A path that leads elsewhere.
    #[error("seccompProfile: localhostProfile {0:?}: expected a relative path without `..`")]
    Path(String),
    /// A type that does not exist.
    #[error("seccompProfile: unknown type {0:?}")]
    Type(String),
}

/// The filters of this node.
#[derive(Clone, Debug)]
pub struct Profiles {
    /// Where `localhostProfile` leads.
    pub dir: PathBuf,
    /// Containers that say nothing get `RuntimeDefault`.
    pub by_default: bool,
}

impl Profiles {
    /// The filter of a container.
    ///
    /// # Errors
    /// Each variant of [`SeccompError`].
    pub fn of(&self, pod: &PodSpec, container: &Container) -> Result<Seccomp, SeccompError> {
        let own = container.security_context.as_ref();
        if own.is_some_and(|own| own.privileged == Some(true)) {
            return Ok(Seccomp::Unconfined);
        }
        let pods = pod.security_context.as_ref();
        let asked = own.and_then(|own| own.seccomp_profile.as_ref());
        let asked = asked.or_else(|| pods.and_then(|pods| pods.seccomp_profile.as_ref()));
        match asked {
            Some(profile) => self.profile(profile),
            None if self.by_default => Ok(Seccomp::RuntimeDefault),
            None => Ok(Seccomp::Unconfined),
        }
    }

    fn profile(&self, profile: &SeccompProfile) -> Result<Seccomp, SeccompError> {
        match profile.type_.as_str() {
            "Unconfined" => Ok(Seccomp::Unconfined),
            "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
            "Localhost" => self.file(profile.localhost_profile.as_deref().unwrap_or_default()),
            other => Err(SeccompError::Type(other.to_owned())),
        }
    }

    fn file(&self, name: &str) -> Result<Seccomp, SeccompError> {
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.is_empty() || !Path::new(name).components().all(plain) {
            return Err(SeccompError::Path(name.to_owned()));
        }
        let path = self.dir.join(name);
        let text = fs::read(&path).map_err(|source| SeccompError::Read {
            path: path.clone(),
            source,
        })?;
        let program = seccomp::parse(&text);
        let program = program.map_err(|source| SeccompError::Profile { path, source })?;
        Ok(Seccomp::Custom(program))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(profiles: &Profiles, pod: &Value, container: &Value) -> Result<Seccomp, String> {
        let pod = json!({"containers": [], "securityContext": {"seccompProfile": pod}});
        let pod = serde_json::from_value(pod).unwrap();
        let container = json!({"name": "c", "securityContext": container});
        let container = serde_json::from_value(container).unwrap();
        let found = profiles.of(&pod, &container);
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn the_containers_word_goes_before_the_pods() {
        let profiles = Profiles {
            dir: "/nowhere".into(),
            by_default: false,
        };
        let strict = Profiles {
            by_default: true,
            ..profiles.clone()
        };
        let default = json!({"type": "RuntimeDefault"});
        let free = json!({"seccompProfile": {"type": "Unconfined"}});
        let (none, nothing) = (Value::Null, json!({}));
        for (profiles, pod, container, expected) in [
            (&profiles, &none, &nothing, Seccomp::Unconfined),
            (&strict, &none, &nothing, Seccomp::RuntimeDefault),
            (&profiles, &default, &nothing, Seccomp::RuntimeDefault),
            (&strict, &default, &free, Seccomp::Unconfined),
            (
                &strict,
                &default,
                &json!({"privileged": true}),
                Seccomp::Unconfined,
            ),
        ] {
            assert_eq!(
                of(profiles, pod, container).unwrap(),
                expected,
                "{pod} {container}"
            );
        }
    }

    #[test]
    fn profiles_are_files_of_the_nodes_folder() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("good.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
        write("bad.json", r#"{"defaultAction": "SCMP_ACT_SING"}"#);
        let profiles = Profiles {
            dir: dir.path().to_owned(),
            by_default: false,
        };
        let load = |name: &str| {
            let profile = json!({"type": "Localhost", "localhostProfile": name});
            of(&profiles, &profile, &json!({}))
        };
        assert!(matches!(load("good.json"), Ok(Seccomp::Custom(_))));
        for (name, words) in [
            ("absent.json", "No such file"),
            ("bad.json", "\"SCMP_ACT_SING\" is not supported"),
            ("../good.json", "expected a relative path"),
            ("/good.json", "expected a relative path"),
        ] {
            let error = load(name).unwrap_err();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }
}
