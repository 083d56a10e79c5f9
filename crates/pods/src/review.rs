//! What of a pod this node cannot do, said before anything is made.
//!
//! A field that is not honoured is never dropped in silence. Where the pod would
//! not be what its author means (a volume that stays empty, a namespace that is
//! not shared), it is refused; where it merely loses something (a host port), it
//! runs and an Event says what was lost.

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde_json::Value;

use crate::sysctls;

/// What cannot be done, each in a phrase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Reasons for which the pod must not run here.
    pub refused: Vec<String>,
    /// What it runs without.
    pub ignored: Vec<String>,
}

/// Looks for fields that are not honoured.
pub fn review(spec: &PodSpec) -> Review {
    let mut review = Review::default();
    review.pod(spec);
    for volume in spec.volumes.iter().flatten() {
        review.volume(volume);
    }
    for container in spec.init_containers.iter().flatten() {
        review.container(container);
    }
    for container in &spec.containers {
        let own = container.restart_policy.is_some();
        review.refuse(own, || {
            format!("container {}: a restartPolicy of its own", container.name)
        });
        review.container(container);
    }
    review
}

impl Review {
    fn refuse(&mut self, unsupported: bool, what: impl FnOnce() -> String) {
        if unsupported {
            self.refused
                .push(format!("{} is not supported yet", what()));
        }
    }

    fn ignore(&mut self, unsupported: bool, what: impl FnOnce() -> String) {
        if unsupported {
            self.ignored
                .push(format!("{} is not supported yet and is ignored", what()));
        }
    }

    fn pod(&mut self, spec: &PodSpec) {
        let set = |flag: Option<bool>| flag == Some(true);
        for (unsupported, field) in [
            (set(spec.host_pid), "hostPID"),
            (set(spec.host_ipc), "hostIPC"),
            (set(spec.share_process_namespace), "shareProcessNamespace"),
            (spec.host_users == Some(false), "hostUsers: false"),
            (spec.runtime_class_name.is_some(), "runtimeClassName"),
            (some(&spec.resource_claims), "resourceClaims"),
            (
                spec.os.as_ref().is_some_and(|os| os.name != "linux"),
                "an os other than linux",
            ),
        ] {
            self.refuse(unsupported, || field.to_owned());
        }
        let Some(context) = &spec.security_context else {
            return;
        };
        self.refused.extend(sysctls::forbidden(spec));
        for (unsupported, field) in [
            (context.se_linux_options.is_some(), "seLinuxOptions"),
            (context.app_armor_profile.is_some(), "appArmorProfile"),
        ] {
            self.ignore(unsupported, || format!("securityContext.{field}"));
        }
    }

    /// Names become parts of paths; the API has checked them, and is not trusted that far.
    fn name(&mut self, name: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            self.refused
                .push(format!("name {name:?} is not a DNS label"));
        }
    }

    fn volume(&mut self, volume: &Volume) {
        self.name(&volume.name);
        let (name, kind) = (&volume.name, kind(volume));
        let known = [
            "configMap",
            "downwardAPI",
            "emptyDir",
            "hostPath",
            "projected",
            "secret",
        ];
        self.refuse(!known.contains(&kind.as_str()), || {
            format!("volume {name}: type {kind}")
        });
        if let Some(empty) = &volume.empty_dir {
            let medium = empty.medium.as_deref().unwrap_or_default();
            self.refuse(!["", "Memory"].contains(&medium), || {
                format!("volume {name}: medium {medium}")
            });
            self.ignore(medium.is_empty() && empty.size_limit.is_some(), || {
                format!("volume {name}: sizeLimit of an emptyDir on disk")
            });
        }
        let projected = volume
            .projected
            .iter()
            .flat_map(|p| p.sources.iter().flatten());
        for source in projected {
            for (unsupported, source) in [
                (source.cluster_trust_bundle.is_some(), "clusterTrustBundle"),
                (source.pod_certificate.is_some(), "podCertificate"),
            ] {
                self.refuse(unsupported, || format!("volume {name}: projected {source}"));
            }
        }
    }

    fn container(&mut self, container: &Container) {
        let name = &container.name;
        self.name(name);
        let mounts = || container.volume_mounts.iter().flatten();
        let propagation = mounts()
            .filter_map(|mount| mount.mount_propagation.as_deref())
            .any(|propagation| propagation != "None");
        for (unsupported, field) in [
            (some(&container.volume_devices), "volumeDevices"),
            (some(&container.restart_policy_rules), "restartPolicyRules"),
            (propagation, "volumeMounts.mountPropagation"),
        ] {
            self.refuse(unsupported, || format!("container {name}: {field}"));
        }
        let host_port = container
            .ports
            .iter()
            .flatten()
            .any(|port| port.host_port.is_some());
        let context = container.security_context.as_ref();
        for (unsupported, field) in [
            (host_port, "ports.hostPort"),
            (
                context.is_some_and(|context| context.se_linux_options.is_some()),
                "seLinuxOptions",
            ),
            (
                context.is_some_and(|context| context.app_armor_profile.is_some()),
                "appArmorProfile",
            ),
        ] {
            self.ignore(unsupported, || format!("container {name}: {field}"));
        }
    }
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// The name of a volume's type as its manifest spells it.
fn kind(volume: &Volume) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(volume) else {
        return "unknown".to_owned();
    };
    let kind = fields.keys().find(|field| *field != "name");
    kind.cloned().unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> Review {
        review(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_ordinary_pod_has_nothing_to_complain_about() {
        let spec = json!({
            "volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}, {"name": "b", "hostPath": {"path": "/x"}}],
            "initContainers": [{"name": "i", "image": "x"}],
            "containers": [{
                "name": "c", "image": "x", "terminationMessagePath": "/dev/termination-log",
                "volumeMounts": [{"name": "a", "mountPath": "/a"}],
                "ports": [{"containerPort": 80}],
            }],
        });
        assert_eq!(of(spec), Review::default());
    }

    #[test]
    fn what_would_change_the_meaning_is_refused() {
        let cases = [
            (
                json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
                "volume v: type nfs",
            ),
            (
                json!({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}]}),
                "volume v: medium HugePages",
            ),
            (
                json!({"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}]}),
                "volume v: projected clusterTrustBundle",
            ),
            (json!({"hostPID": true}), "hostPID"),
            (
                json!({"shareProcessNamespace": true}),
                "shareProcessNamespace",
            ),
            (
                json!({"containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/", "mountPropagation": "Bidirectional"}]}]}),
                "container c: volumeMounts.mountPropagation",
            ),
        ];
        for (mut spec, expected) in cases {
            if spec.get("containers").is_none() {
                spec["containers"] = json!([]);
            }
            assert_eq!(
                of(spec).refused,
                [format!("{expected} is not supported yet")]
            );
        }
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        let spec =
            json!({"volumes": [{"name": "../x", "emptyDir": {}}], "containers": [{"name": "a/b"}]});
        let words = [
            "name \"../x\" is not a DNS label",
            "name \"a/b\" is not a DNS label",
        ];
        assert_eq!(of(spec).refused, words);
    }

    #[test]
    fn what_is_merely_lost_is_said() {
        let spec = json!({
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
            "containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 2}]}],
        });
        let found = of(spec);
        assert!(found.refused.is_empty(), "{found:?}");
        assert_eq!(
            found.ignored,
            [
                "volume v: sizeLimit of an emptyDir on disk is not supported yet and is ignored",
                "container c: ports.hostPort is not supported yet and is ignored",
            ]
        );
    }
}
