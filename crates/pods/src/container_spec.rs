//! From a container of the API to what the shim is asked to start: pure.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;
use sealane_runtime::{Capabilities, ContainerSpec, Limits, Mount};

use crate::env::{self, EnvError, Variables};
use crate::folder::Folder;
use crate::images::Resolved;
use crate::messages;
use crate::qos;
use crate::rules::Rules;
use crate::seccomp::SeccompError;
use crate::volumes::{self, Places, Volume, VolumeError};

/// Why a container cannot be started as it is described.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Its environment.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Its volumes.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Its filter of system calls.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// `runAsNonRoot`, as the kubelet words it.
    #[error("container has runAsNonRoot and image will run as root (container: {0})")]
    Root(String),
    /// The same for an image whose user has no number.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (container: {container})"
    )]
    NamedUser {
        /// The image's user.
        user: String,
        /// The container.
        container: String,
    },
}

/// What a container is started from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its description.
    pub container: &'a Container,
    /// What its variables are made from.
    pub env: env::Origin<'a>,
    /// The pod's volumes.
    pub volumes: &'a [Volume],
    /// The pod's folder.
    pub folder: &'a Folder,
    /// What holds for every pod of the node.
    pub rules: &'a Rules,
}

/// What the shim is asked to start.
///
/// # Errors
/// When the description cannot be followed; fit for `CreateContainerConfigError`.
pub fn compile(
    origin: Origin<'_>,
    attempt: u32,
    image: &Resolved,
) -> Result<ContainerSpec, SpecError> {
    let container = origin.container;
    let env = env::variables(container, origin.env)?;
    let mut spec = ContainerSpec::new(&container.name, attempt, image.image.clone());
    spec.command = env.expand_all(container.command.as_deref());
    spec.args = env.expand_all(container.args.as_deref());
    let words = spec.command.iter().chain(&spec.args).cloned().collect();
    if let Some(args) = image.stand_in(container, words) {
        spec.command.clear();
        spec.args = args;
    }
    spec.working_dir = container.working_dir.as_ref().map(PathBuf::from);
    spec.mounts = mounts(origin, &env)?;
    spec.mounts.extend(message_file(origin, attempt));
    spec.env = env.into_list();
    spec.stdin = container.stdin.unwrap_or(false);
    spec.stdin_once = container.stdin_once.unwrap_or(false);
    spec.tty = container.tty.unwrap_or(false);
    spec.limits = limits(container);
    spec.log = origin.rules.logs;
    spec.seccomp = (origin.rules.seccomp).of(origin.env.facts.pod.spec(), container)?;
    secure(&mut spec, origin, image)?;
    Ok(spec)
}

/// The node's files of /etc first, so that a volume may cover them.
fn mounts(origin: Origin<'_>, env: &Variables) -> Result<Vec<Mount>, VolumeError> {
    let places = Places {
        disk: &origin.folder.volumes(),
        memory: origin.folder.memory(),
    };
    let own = volumes::mounts(origin.container, env, origin.volumes, places)?;
    let covered = |target: &Path| own.iter().any(|mount| mount.target == target);
    let mut mounts: Vec<Mount> = ["hosts", "hostname", "resolv.conf"]
        .map(|name| Mount {
            source: origin.folder.etc().join(name),
            target: Path::new("/etc").join(name),
            ..Mount::default()
        })
        .into_iter()
        .filter(|mount| !covered(&mount.target))
        .collect();
    mounts.extend(own);
    Ok(mounts)
}

/// Where the container may say why it ended.
fn message_file(origin: Origin<'_>, attempt: u32) -> Option<Mount> {
    let container = origin.container;
    let target = container.termination_message_path.as_deref();
    let target = target.filter(|path| path.starts_with('/'))?;
    Some(Mount {
        source: messages::path(origin.folder.dir(), &container.name, attempt),
        target: PathBuf::from(target),
        ..Mount::default()
    })
}

fn limits(container: &Container) -> Limits {
    let allowance = qos::allowance(container);
    Limits {
        memory_bytes: allowance.memory_bytes.filter(|bytes| *bytes > 0),
        cpu_millis: allowance.cpu_millis.filter(|millis| *millis > 0),
        // One that asks for nothing gets what the others leave.
        cpu_shares_millis: Some(allowance.cpu_request_millis.unwrap_or(0)),
        pids: None,
    }
}

/// Kubernetes docs, "Configure a Security Context": the container's word goes before the pod's.
fn secure(spec: &mut ContainerSpec, origin: Origin<'_>, image: &Resolved) -> Result<(), SpecError> {
    let own = origin
        .container
        .security_context
        .clone()
        .unwrap_or_default();
    let pod = origin
        .env
        .facts
        .pod
        .spec()
        .security_context
        .clone()
        .unwrap_or_default();
    let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    spec.user = id(own.run_as_user.or(pod.run_as_user));
    spec.group = id(own.run_as_group.or(pod.run_as_group));
    let groups = pod
        .supplemental_groups
        .into_iter()
        .flatten()
        .chain(pod.fs_group);
    spec.groups = groups
        .filter_map(|group| u32::try_from(group).ok())
        .collect();
    spec.read_only_root = own.read_only_root_filesystem.unwrap_or(false);
    spec.privileged = own.privileged.unwrap_or(false);
    spec.allow_privilege_escalation = own.allow_privilege_escalation.unwrap_or(true);
    let capabilities = own.capabilities.unwrap_or_default();
    spec.capabilities = Capabilities {
        add: capabilities.add.unwrap_or_default(),
        drop: capabilities.drop.unwrap_or_default(),
    };
    spec.strict_groups = pod.supplemental_groups_policy.as_deref() == Some("Strict");
    let non_root = own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
    match non_root {
        true => not_root(spec.user, image.user(), &origin.container.name),
        false => Ok(()),
    }
}

/// Refuses root, and whoever may be root.
fn not_root(user: Option<u32>, of_image: &str, container: &str) -> Result<(), SpecError> {
    let user = match (user, of_image) {
        (Some(user), _) => user,
        (None, "") => 0,
        (None, word) => word.parse().map_err(|_| SpecError::NamedUser {
            user: word.to_owned(),
            container: container.to_owned(),
        })?,
    };
    match user {
        0 => Err(SpecError::Root(container.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sealane_runtime::LogLimits;
    use serde_json::{Value, json};

    use super::*;
    use crate::desired::Desired;
    use crate::downward::{Allocatable, Facts};
    use crate::images::{Images, Place};
    use crate::seccomp::Profiles;
    use crate::sources::Snapshot;

    fn spec(pod: Value, container: Value) -> Result<ContainerSpec, SpecError> {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": pod});
        pod["spec"]["containers"] = json!([container]);
        let pod = Desired::new(Arc::new(serde_json::from_value(pod).unwrap()));
        let facts = Facts {
            pod: &pod,
            ips: &[],
            host_ips: &[],
            hostname: "p",
            allocatable: Allocatable::default(),
        };
        let env = env::Origin {
            facts,
            sources: &Snapshot::default(),
            api_server: None,
        };
        let volumes = volumes::plan(pod.spec());
        let folder = Folder::new("/pods/u", "/run/u");
        let rules = Rules {
            seccomp: Profiles {
                dir: "/seccomp".into(),
                by_default: false,
            },
            logs: LogLimits::default(),
            pod_max_pids: None,
            unsafe_sysctls: Vec::new(),
        };
        let origin = Origin {
            container: &pod.main()[0],
            env,
            volumes: &volumes,
            folder: &folder,
            rules: &rules,
        };
        let Ok(Place::Here(image)) = Images::default().locate("sealane.io/echo") else {
            panic!("the echo image is built in");
        };
        compile(origin, 2, &image)
    }

    #[test]
    fn commands_are_expanded_with_the_containers_own_variables() {
        let spec = spec(
            json!({}),
            json!({"name": "c", "command": ["$(A)"], "args": ["--x=$(A)", "$(B)"], "env": [{"name": "A", "value": "1"}]}),
        )
        .unwrap();
        assert_eq!((spec.name.as_str(), spec.attempt), ("c", 2));
        assert_eq!(spec.command, ["1"]);
        assert_eq!(spec.args, ["--x=1", "$(B)"]);
        let hostname = ("HOSTNAME".to_owned(), "p".to_owned());
        assert_eq!(spec.env, [hostname, ("A".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn etc_files_give_way_to_volumes() {
        let spec = spec(
            json!({"volumes": [{"name": "h", "hostPath": {"path": "/my/hosts"}}]}),
            json!({"name": "c", "volumeMounts": [{"name": "h", "mountPath": "/etc/hosts"}]}),
        )
        .unwrap();
        let sources: Vec<_> = spec
            .mounts
            .iter()
            .map(|mount| mount.source.to_str().unwrap())
            .collect();
        assert_eq!(
            sources,
            [
                "/pods/u/etc/hostname",
                "/pods/u/etc/resolv.conf",
                "/my/hosts"
            ]
        );
    }

    #[test]
    fn the_containers_security_goes_before_the_pods() {
        let spec = spec(
            json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000]}}),
            json!({"name": "c", "securityContext": {
                "runAsUser": 1, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            }}),
        )
        .unwrap();
        assert_eq!(
            (spec.user, spec.group, spec.groups),
            (Some(1), Some(2000), vec![4000, 3000])
        );
        assert!(spec.read_only_root && !spec.allow_privilege_escalation && !spec.privileged);
        assert_eq!(spec.capabilities.add, ["NET_ADMIN"]);
        assert_eq!(spec.capabilities.drop, ["ALL"]);
    }

    #[test]
    fn the_images_user_counts_where_the_pod_names_none() {
        assert!(not_root(None, "1000", "c").is_ok());
        assert!(not_root(Some(5), "root", "c").is_ok());
        for (user, image, words) in [
            (None, "0", "image will run as root"),
            (Some(0), "1000", "image will run as root"),
            (None, "web", "non-numeric user (web)"),
        ] {
            let error = not_root(user, image, "c").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let pod = json!({"securityContext": {"runAsNonRoot": true}});
        let error = spec(pod.clone(), json!({"name": "c"}))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("container has runAsNonRoot"), "{error}");
        spec(
            pod,
            json!({"name": "c", "securityContext": {"runAsUser": 5}}),
        )
        .unwrap();
    }
}
