//! Every field of a pod's specification, and what this node does with it.
//!
//! The names come from the API's own types, so a field that a new version of Kubernetes brings
//! fails this test until somebody has decided about it: nothing is dropped in silence.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::*;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::{Value, json};

use super::review;

/// What is done with a field.
enum Field {
    /// It is honoured here.
    Kept,
    /// It is not a node's: the API server, a controller or the scheduler honours it.
    Elsewhere,
    /// There is nothing to do for it, whatever it says, on a node like this one.
    Nothing,
    /// With this value the pod does not run.
    Refused(&'static str),
    /// With this value the pod runs, and an Event names the field.
    Said(&'static str),
    /// With any value the container waits with `CreateContainerConfigError`.
    Waits,
}

use Field::{Elsewhere, Kept, Nothing, Refused, Said, Waits};

/// The names of a type's fields, which its deserialization asks for.
fn names<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    match T::deserialize(Asked) {
        Err(Names(names)) => names.to_vec(),
        Ok(_) => panic!("a type without fields"),
    }
}

struct Asked;

/// The answer, as an error.
#[derive(Debug)]
struct Names(&'static [&'static str]);

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Names {}

impl de::Error for Names {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        panic!("{message}")
    }
}

impl<'de> Deserializer<'de> for Asked {
    type Error = Names;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Names> {
        panic!("not a type with fields")
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Names> {
        Err(Names(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Holds the fields of a type against the table; `pod` makes a pod with a field of this value.
fn check<'de, T: Deserialize<'de>>(
    table: &[(&'static str, Field)],
    pod: impl Fn(&str, Value) -> Value,
) {
    let type_ = std::any::type_name::<T>()
        .rsplit("::")
        .next()
        .unwrap_or_default();
    let mut table: BTreeMap<_, _> = table.iter().map(|(name, field)| (*name, field)).collect();
    for name in names::<T>() {
        let field = table.remove(name);
        let field = field.unwrap_or_else(|| panic!("nobody has decided about {type_}.{name}"));
        let look = |sample: &str| {
            let sample = serde_json::from_str(sample).unwrap();
            review(&serde_json::from_value(pod(name, sample)).unwrap())
        };
        match field {
            Kept | Elsewhere | Nothing | Waits => {}
            Refused(sample) => {
                let found = look(sample);
                assert!(
                    !found.refused.is_empty(),
                    "{type_}.{name}: {sample} is not refused"
                );
            }
            Said(sample) => {
                let found = look(sample);
                let named = found.ignored.iter().any(|text| text.contains(name));
                assert!(
                    named && found.refused.is_empty(),
                    "{type_}.{name}: {found:?}"
                );
            }
        }
    }
    let rest: Vec<_> = table.into_keys().collect();
    assert!(rest.is_empty(), "{type_} has no fields {rest:?}");
}

/// A pod whose container has this field.
fn container(name: &str, value: Value) -> Value {
    let mut container = json!({"name": "c"});
    container[name] = value;
    json!({"containers": [container]})
}

fn volume(name: &str, value: Value) -> Value {
    let mut volume = json!({"name": "v"});
    volume[name] = value;
    json!({"containers": [], "volumes": [volume]})
}

/// For types all of whose fields are honoured.
fn no_sample(name: &str, _value: Value) -> Value {
    panic!("{name}")
}

#[test]
fn pods() {
    let pod = |name: &str, value: Value| {
        let mut spec = json!({"containers": []});
        spec[name] = value;
        spec
    };
    check::<PodSpec>(
        &[
            ("activeDeadlineSeconds", Kept),
            ("affinity", Elsewhere),
            ("automountServiceAccountToken", Elsewhere),
            ("containers", Kept),
            ("dnsConfig", Kept),
            ("dnsPolicy", Kept),
            ("enableServiceLinks", Kept),
            ("ephemeralContainers", Said(r#"[{"name": "debug"}]"#)),
            ("hostAliases", Kept),
            ("hostIPC", Kept),
            ("hostNetwork", Kept),
            ("hostPID", Kept),
            ("hostUsers", Refused("false")),
            ("hostname", Kept),
            ("hostnameOverride", Kept),
            ("imagePullSecrets", Kept),
            ("initContainers", Kept),
            ("nodeName", Kept),
            ("nodeSelector", Elsewhere),
            ("os", Refused(r#"{"name": "windows"}"#)),
            // Comes with a runtime class alone.
            ("overhead", Elsewhere),
            ("preemptionPolicy", Elsewhere),
            ("priority", Elsewhere),
            ("priorityClassName", Elsewhere),
            ("readinessGates", Kept),
            ("resourceClaims", Refused(r#"[{"name": "gpu"}]"#)),
            ("resources", Kept),
            ("restartPolicy", Kept),
            ("runtimeClassName", Refused(r#""gvisor""#)),
            ("schedulerName", Elsewhere),
            ("schedulingGates", Elsewhere),
            ("schedulingGroup", Elsewhere),
            ("securityContext", Kept),
            ("serviceAccount", Elsewhere),
            ("serviceAccountName", Kept),
            ("setHostnameAsFQDN", Kept),
            ("shareProcessNamespace", Kept),
            ("subdomain", Kept),
            ("terminationGracePeriodSeconds", Kept),
            ("tolerations", Elsewhere),
            ("topologySpreadConstraints", Elsewhere),
            ("volumes", Kept),
        ],
        pod,
    );
    let context = |name: &str, value: Value| {
        let mut context = json!({});
        context[name] = value;
        pod("securityContext", context)
    };
    check::<PodSecurityContext>(
        &[
            ("appArmorProfile", Said(r#"{"type": "RuntimeDefault"}"#)),
            ("fsGroup", Kept),
            // Volumes that would have to be walked through do not exist here.
            ("fsGroupChangePolicy", Nothing),
            ("runAsGroup", Kept),
            ("runAsNonRoot", Kept),
            ("runAsUser", Kept),
            ("seLinuxChangePolicy", Said(r#""Recursive""#)),
            ("seLinuxOptions", Said(r#"{"level": "s0"}"#)),
            ("seccompProfile", Kept),
            ("supplementalGroups", Kept),
            ("supplementalGroupsPolicy", Kept),
            ("sysctls", Kept),
            ("windowsOptions", Said("{}")),
        ],
        context,
    );
    check::<PodDNSConfig>(
        &[("nameservers", Kept), ("options", Kept), ("searches", Kept)],
        no_sample,
    );
}

#[test]
fn containers() {
    check::<Container>(
        &[
            ("args", Kept),
            ("command", Kept),
            ("env", Kept),
            ("envFrom", Kept),
            ("image", Kept),
            ("imagePullPolicy", Kept),
            ("lifecycle", Kept),
            ("livenessProbe", Kept),
            ("name", Kept),
            ("ports", Kept),
            ("readinessProbe", Kept),
            // Of use to the resize subresource alone, which is not served.
            ("resizePolicy", Nothing),
            ("resources", Kept),
            ("restartPolicy", Kept),
            (
                "restartPolicyRules",
                Refused(r#"[{"action": "RestartAllContainers"}]"#),
            ),
            ("securityContext", Kept),
            ("startupProbe", Kept),
            ("stdin", Kept),
            ("stdinOnce", Kept),
            ("terminationMessagePath", Kept),
            ("terminationMessagePolicy", Kept),
            ("tty", Kept),
            (
                "volumeDevices",
                Refused(r#"[{"name": "d", "devicePath": "/dev/d"}]"#),
            ),
            ("volumeMounts", Kept),
            ("workingDir", Kept),
        ],
        container,
    );
    check::<SecurityContext>(
        &[
            ("allowPrivilegeEscalation", Kept),
            ("appArmorProfile", Said(r#"{"type": "Localhost"}"#)),
            ("capabilities", Kept),
            ("privileged", Kept),
            ("procMount", Refused(r#""Unmasked""#)),
            ("readOnlyRootFilesystem", Kept),
            ("runAsGroup", Kept),
            ("runAsNonRoot", Kept),
            ("runAsUser", Kept),
            ("seLinuxOptions", Said(r#"{"level": "s0"}"#)),
            ("seccompProfile", Kept),
            ("windowsOptions", Said("{}")),
        ],
        |name, value| {
            let mut context = json!({});
            context[name] = value;
            container("securityContext", context)
        },
    );
    check::<ResourceRequirements>(
        &[
            ("claims", Refused(r#"[{"name": "gpu"}]"#)),
            ("limits", Refused(r#"{"hugepages-2Mi": "4Mi"}"#)),
            ("requests", Kept),
        ],
        |name, value| {
            let mut resources = json!({});
            resources[name] = value;
            container("resources", resources)
        },
    );
    check::<ContainerPort>(
        &[
            ("containerPort", Kept),
            ("hostIP", Kept),
            ("hostPort", Kept),
            ("name", Kept),
            ("protocol", Kept),
        ],
        |name, value| {
            let mut port = json!({"containerPort": 80});
            port[name] = value;
            container("ports", json!([port]))
        },
    );
    check::<ContainerRestartRule>(&[("action", Kept), ("exitCodes", Kept)], no_sample);
}

#[test]
fn probes_and_hooks() {
    check::<Lifecycle>(
        &[
            ("postStart", Kept),
            ("preStop", Kept),
            ("stopSignal", Refused(r#""SIGSING""#)),
        ],
        |name, value| {
            let mut lifecycle = json!({});
            lifecycle[name] = value;
            container("lifecycle", lifecycle)
        },
    );
    check::<LifecycleHandler>(
        &[
            ("exec", Kept),
            ("httpGet", Kept),
            ("sleep", Kept),
            ("tcpSocket", Kept),
        ],
        no_sample,
    );
    check::<Probe>(
        &[
            ("exec", Kept),
            ("failureThreshold", Kept),
            ("grpc", Kept),
            ("httpGet", Kept),
            ("initialDelaySeconds", Kept),
            ("periodSeconds", Kept),
            ("successThreshold", Kept),
            ("tcpSocket", Kept),
            ("terminationGracePeriodSeconds", Kept),
            ("timeoutSeconds", Kept),
        ],
        no_sample,
    );
    check::<HTTPGetAction>(
        &[
            ("host", Kept),
            ("httpHeaders", Kept),
            ("path", Kept),
            ("port", Kept),
            ("scheme", Kept),
        ],
        no_sample,
    );
}

#[test]
fn variables() {
    check::<EnvVarSource>(
        &[
            ("configMapKeyRef", Kept),
            ("fieldRef", Kept),
            ("fileKeyRef", Waits),
            ("resourceFieldRef", Kept),
            ("secretKeyRef", Kept),
        ],
        no_sample,
    );
    check::<EnvFromSource>(
        &[
            ("configMapRef", Kept),
            ("prefix", Kept),
            ("secretRef", Kept),
        ],
        no_sample,
    );
}

#[test]
fn volumes() {
    check::<VolumeMount>(
        &[
            ("mountPath", Kept),
            ("mountPropagation", Refused(r#""Bidirectional""#)),
            ("name", Kept),
            ("readOnly", Kept),
            // What is read-only here is so with everything below it.
            ("recursiveReadOnly", Nothing),
            ("subPath", Kept),
            ("subPathExpr", Kept),
        ],
        |name, value| {
            let mut mount = json!({"name": "v", "mountPath": "/v"});
            mount[name] = value;
            container("volumeMounts", json!([mount]))
        },
    );
    for name in names::<Volume>() {
        let value = if name == "name" {
            json!("v")
        } else {
            json!({})
        };
        let found = review(&serde_json::from_value(volume(name, value)).unwrap());
        let kept = [
            "configMap",
            "downwardAPI",
            "emptyDir",
            "hostPath",
            "name",
            "projected",
            "secret",
        ];
        let refused = found.refused == [format!("volume v: type {name} is not supported yet")];
        assert_eq!(refused, !kept.contains(&name), "{name}: {found:?}");
    }
    check::<EmptyDirVolumeSource>(
        &[("medium", Refused(r#""HugePages""#)), ("sizeLimit", Kept)],
        |name, value| {
            let mut empty = json!({});
            empty[name] = value;
            volume("emptyDir", empty)
        },
    );
    check::<HostPathVolumeSource>(&[("path", Kept), ("type", Kept)], no_sample);
    check::<VolumeProjection>(
        &[
            ("clusterTrustBundle", Refused(r#"{"path": "p"}"#)),
            ("configMap", Kept),
            ("downwardAPI", Kept),
            (
                "podCertificate",
                Refused(r#"{"keyType": "ED25519", "signerName": "s"}"#),
            ),
            ("secret", Kept),
            ("serviceAccountToken", Kept),
        ],
        |name, value| {
            let mut source = json!({});
            source[name] = value;
            volume("projected", json!({"sources": [source]}))
        },
    );
}
