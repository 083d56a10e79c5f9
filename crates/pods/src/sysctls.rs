//! Kernel settings that a pod may choose: those of its own namespaces that harm nobody else.
//!
//! The list and the words are the kubelet's (Kubernetes docs, "Using sysctls in a Kubernetes
//! Cluster", safe sysctls).

use k8s_openapi::api::core::v1::{PodSpec, Sysctl};

/// The IPC namespace's.
const OF_IPC: &str = "kernel.shm_rmid_forced";
/// The network namespace's.
const OF_NETWORK: [&str; 11] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

fn asked(spec: &PodSpec) -> impl Iterator<Item = &Sysctl> {
    let context = spec.security_context.iter();
    context.flat_map(|context| context.sysctls.iter().flatten())
}

/// A setting's name with dots, which may be written with slashes.
fn name(sysctl: &Sysctl) -> String {
    sysctl.name.replace('/', ".")
}

/// What a pod's namespaces are set to.
pub fn wanted(spec: &PodSpec) -> Vec<(String, String)> {
    asked(spec)
        .map(|sysctl| (name(sysctl), sysctl.value.clone()))
        .collect()
}

/// Why a pod must not have what it asks for; the first reason, in the kubelet's words. `allowed`
/// are the unsafe ones that this node offers: names, or beginnings of names with a `*`.
pub fn forbidden(spec: &PodSpec, allowed: &[String]) -> Option<String> {
    let host_network = spec.host_network == Some(true);
    let host_ipc = spec.host_ipc == Some(true);
    let judge = |sysctl: &Sysctl| {
        let name = name(sysctl);
        let safe = OF_NETWORK.contains(&name.as_str()) || name == OF_IPC;
        if !safe && !allowed.iter().any(|pattern| matches(pattern, &name)) {
            return Some(format!("forbidden sysctl: {name:?} not allowlisted"));
        }
        let kind = match () {
            () if host_network && name.starts_with("net.") => "host net",
            () if host_ipc && is_of_ipc(&name) => "host ipc",
            () => return None,
        };
        Some(format!(
            "forbidden sysctl: {name:?} not allowed with {kind} enabled"
        ))
    };
    asked(spec).find_map(judge)
}

/// ipc_namespaces(7): what each IPC namespace has of its own.
fn is_of_ipc(name: &str) -> bool {
    ["kernel.shm", "kernel.msg", "fs.mqueue."]
        .iter()
        .any(|group| name.starts_with(group))
        || name == "kernel.sem"
}

fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.replace('/', ".");
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_the_pods_own_is_allowed() {
        for (name, host, expected) in [
            ("net.ipv4.tcp_syncookies", false, None),
            ("net/ipv4/tcp_syncookies", false, None),
            ("kernel.shm_rmid_forced", false, None),
            ("net.core.somaxconn", false, None),
            (
                "kernel.shm_rmid_forced",
                true,
                Some(
                    "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled",
                ),
            ),
            (
                "net.ipv4.tcp_syncookies",
                true,
                Some(
                    "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled",
                ),
            ),
            (
                "kernel.msgmax",
                false,
                Some("forbidden sysctl: \"kernel.msgmax\" not allowlisted"),
            ),
            (
                "net.ipv4.ip_forward",
                false,
                Some("forbidden sysctl: \"net.ipv4.ip_forward\" not allowlisted"),
            ),
        ] {
            let sysctls = json!([{"name": name, "value": "1"}]);
            let spec = json!({"containers": [], "hostNetwork": host, "hostIPC": host, "securityContext": {"sysctls": sysctls}});
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            let allowed = ["net.core.*".to_owned()];
            assert_eq!(forbidden(&spec, &allowed).as_deref(), expected, "{name}");
            assert!(!wanted(&spec)[0].0.contains('/'));
        }
    }
}
