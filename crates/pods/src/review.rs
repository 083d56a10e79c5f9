//! What of a pod this node cannot do, said before anything is made.
//!
//! A field that is not honoured is never dropped in silence. Where the pod would
//! not be what its author means (a volume that stays empty, a namespace that is
//! not shared), it is refused; where it merely loses something (a host port), it
//! runs and an Event says what was lost.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, PodSpec, ResourceRequirements, SecurityContext, Volume,
};
use serde_json::Value;

use crate::usage;
use crate::worker::signal_of;

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
        for (unsupported, field) in [
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
        self.resources("pod", spec.resources.as_ref());
        let ephemeral = some(&spec.ephemeral_containers);
        self.ignore(ephemeral, || "ephemeralContainers".to_owned());
        let Some(context) = &spec.security_context else {
            return;
        };
        for (unsupported, field) in [
            (context.se_linux_options.is_some(), "seLinuxOptions"),
            (
                context.se_linux_change_policy.is_some(),
                "seLinuxChangePolicy",
            ),
            (
                confines(context.app_armor_profile.as_ref()),
                "appArmorProfile",
            ),
            (context.windows_options.is_some(), "windowsOptions"),
        ] {
            self.ignore(unsupported, || format!("securityContext.{field}"));
        }
    }

    /// Resources that no part of this node counts or gives out.
    fn resources(&mut self, whose: &str, resources: Option<&ResourceRequirements>) {
        let Some(resources) = resources else { return };
        self.refuse(some(&resources.claims), || {
            format!("{whose}: resources.claims")
        });
        let limits = resources.limits.iter().flatten();
        for (name, _) in limits {
            let known = ["cpu", "memory", usage::RESOURCE].contains(&name.as_str());
            self.refuse(!known, || format!("{whose}: resources.limits.{name}"));
            if name == usage::RESOURCE {
                self.ignored.push(format!(
                    "{whose}: resources.limits.{name} counts logs and emptyDir volumes, not what is written elsewhere"
                ));
            }
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
        self.mounts(container);
        self.resources(&format!("container {name}"), container.resources.as_ref());
        let rules = container.restart_policy_rules.iter().flatten();
        for rule in rules {
            let action = &rule.action;
            self.refuse(action != "Restart", || {
                format!("container {name}: restartPolicyRules with the action {action}")
            });
        }
        let signal = container.lifecycle.as_ref();
        let signal = signal.and_then(|lifecycle| lifecycle.stop_signal.as_deref());
        if let Some(signal) = signal.filter(|signal| signal_of(signal).is_none()) {
            self.refuse(true, || {
                format!("container {name}: lifecycle.stopSignal {signal}")
            });
        }
        if let Some(context) = &container.security_context {
            self.security(name, context);
        }
    }

    fn security(&mut self, name: &str, context: &SecurityContext) {
        let mount = context.proc_mount.as_deref();
        self.refuse(mount.is_some_and(|mount| mount != "Default"), || {
            format!("container {name}: procMount {}", mount.unwrap_or_default())
        });
        for (unsupported, field) in [
            (context.se_linux_options.is_some(), "seLinuxOptions"),
            (
                confines(context.app_armor_profile.as_ref()),
                "appArmorProfile",
            ),
            (context.windows_options.is_some(), "windowsOptions"),
        ] {
            self.ignore(unsupported, || {
                format!("container {name}: securityContext.{field}")
            });
        }
    }

    fn mounts(&mut self, container: &Container) {
        let name = &container.name;
        self.refuse(some(&container.volume_devices), || {
            format!("container {name}: volumeDevices")
        });
        let context = container.security_context.as_ref();
        let privileged = context.is_some_and(|context| context.privileged == Some(true));
        let mounts = container.volume_mounts.iter().flatten();
        let mut wanted = mounts.filter_map(|mount| mount.mount_propagation.as_deref());
        if !privileged && wanted.any(|propagation| propagation == "Bidirectional") {
            self.refused.push(format!(
                "container {name}: Bidirectional mount propagation is available only to privileged containers"
            ));
        }
    }
}

/// Whether a profile asks for something; without AppArmor nothing is confined anyway.
fn confines(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_some_and(|profile| profile.type_ != "Unconfined")
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
mod fields;
#[cfg(test)]
mod tests;
