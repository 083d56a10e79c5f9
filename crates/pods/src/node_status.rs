//! The Node object that this node shows: a pure function of facts about the machine.
//!
//! All nodes of a single-machine cluster share one machine, and each declares the
//! whole of it unless it is told less (`--cpu`, `--memory`): so does every tool that runs several
//! nodes on one machine, and a pod may use what its neighbours leave idle. What is
//! promised to pods of all nodes together can therefore be more than there is.
//!
//! Source: Kubernetes docs "Nodes" and the kubelet's `nodestatus/setters.go`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use sealane_objects::Resources;
use serde_json::{Value, json};

use crate::admission::{Seen, Site};

/// Most pods on one node, as the kubelet's `--max-pods` says by default.
const PODS: u64 = 110;
/// The kubelet's threshold `memory.available<100Mi`.
const HELD_MEMORY_BYTES: u64 = 100 << 20;
/// The kubelet's threshold `nodefs.available<10%`.
const HELD_STORAGE_PART: u64 = 10;
/// The Kubernetes version whose API and behaviour this follows.
const KUBERNETES: &str = "v1.36.0";

/// What is known of the machine and of this process's flags.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node's name.
    pub name: String,
    /// Its addresses, the main one first.
    pub ips: Vec<IpAddr>,
    /// Where logs and exec are served.
    pub port: u16,
    /// Processor time, memory and disk that it declares.
    pub capacity: Resources,
    /// Kernel, operating system and identity.
    pub system: NodeSystemInfo,
}

/// The kubelet version to be shown: Kubernetes' and ours.
pub fn kubelet_version() -> String {
    format!("{KUBERNETES}+sealane-{}", env!("CARGO_PKG_VERSION"))
}

/// Major and minor version of that Kubernetes, `1.36`.
pub fn kubernetes_minor() -> &'static str {
    let version = KUBERNETES.trim_start_matches('v');
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

/// The container runtime to be shown.
pub fn runtime_version() -> String {
    format!("sealane://{}", env!("CARGO_PKG_VERSION"))
}

/// The labels of every node.
fn labels(facts: &Facts) -> BTreeMap<String, String> {
    let pairs = [
        ("kubernetes.io/hostname", &facts.name),
        ("kubernetes.io/os", &facts.system.operating_system),
        ("kubernetes.io/arch", &facts.system.architecture),
    ];
    pairs
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into()
}

/// The object to be created where there is none.
fn object(facts: &Facts, status: NodeStatus) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(facts.name.clone()),
            labels: Some(labels(facts)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(status),
    }
}

/// The status to be shown; `seen` is the object in the API, `network` says why pods cannot be wired.
pub fn compile(
    facts: &Facts,
    seen: Option<&Node>,
    network: Result<(), &str>,
    now: Timestamp,
) -> NodeStatus {
    let pods = max_pods(seen);
    let previous = seen.and_then(|node| node.status.as_ref());
    let previous = previous
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    NodeStatus {
        addresses: Some(addresses(facts)),
        allocatable: Some(list(&allocatable(facts), pods)),
        capacity: Some(list(&facts.capacity, pods)),
        conditions: Some(conditions(previous, network, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(facts.port),
            }),
        }),
        node_info: Some(facts.system.clone()),
        ..NodeStatus::default()
    }
}

/// Whether a status has to be sent, apart from its heartbeat.
fn differs(wanted: &NodeStatus, seen: &Node) -> bool {
    let plain = |status: &NodeStatus| {
        let mut conditions = status.conditions.clone().unwrap_or_default();
        conditions.retain(|condition| OURS.contains(&condition.type_.as_str()));
        for condition in &mut conditions {
            condition.last_heartbeat_time = None;
        }
        let words = (status.addresses.clone(), status.node_info.clone());
        (
            conditions,
            words,
            (status.capacity.clone(), status.allocatable.clone()),
            status.daemon_endpoints.clone(),
        )
    };
    seen.status.as_ref().map(plain) != Some(plain(wanted))
}

/// What has to be asked of the API next.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Nothing: the object is as it should be.
    Nothing,
    /// Make the object.
    Create(Box<Node>),
    /// A merge patch of the object: somebody has taken a label away.
    Label(Value),
    /// A merge patch of its status.
    Status(Value),
}

/// The request that brings the object nearest to `wanted`; `heartbeat` sends it in any case.
pub fn next(facts: &Facts, wanted: NodeStatus, seen: Option<&Node>, heartbeat: bool) -> Request {
    match seen {
        None => Request::Create(Box::new(object(facts, wanted))),
        Some(node) if !has_labels(facts, node) => {
            Request::Label(json!({"metadata": {"labels": labels(facts)}}))
        }
        Some(node) if heartbeat || differs(&wanted, node) => Request::Status(patch(&wanted, node)),
        Some(_) => Request::Nothing,
    }
}

/// Whether the object has the labels that every node has.
fn has_labels(facts: &Facts, seen: &Node) -> bool {
    let present = seen.metadata.labels.clone().unwrap_or_default();
    labels(facts)
        .iter()
        .all(|(key, value)| present.get(key) == Some(value))
}

/// The merge patch that brings the object in the API to this status, keeping foreign conditions.
fn patch(wanted: &NodeStatus, seen: &Node) -> Value {
    let mut status = wanted.clone();
    let theirs = seen
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten();
    let theirs = theirs
        .filter(|condition| !OURS.contains(&condition.type_.as_str()))
        .cloned();
    status.conditions.get_or_insert_default().extend(theirs);
    let metadata = json!({"resourceVersion": seen.metadata.resource_version});
    json!({"metadata": metadata, "status": status})
}

fn addresses(facts: &Facts) -> Vec<NodeAddress> {
    let internal = facts.ips.iter().map(|ip| ("InternalIP", ip.to_string()));
    let all = internal.chain([("Hostname", facts.name.clone())]);
    all.map(|(type_, address)| NodeAddress {
        type_: type_.to_owned(),
        address,
    })
    .collect()
}

/// What is left for pods, as the kubelet computes it without reservations: what its
/// thresholds for eviction would hold back is not promised.
pub fn allocatable(facts: &Facts) -> Resources {
    let mut left = facts.capacity.clone();
    left.memory_bytes = left.memory_bytes.saturating_sub(HELD_MEMORY_BYTES);
    left.storage_bytes -= left.storage_bytes / HELD_STORAGE_PART;
    left
}

/// By which pods are measured that come to this node.
pub fn site(facts: &Facts, seen: Option<&Node>) -> Site {
    Site {
        name: facts.name.clone(),
        allocatable: allocatable(facts),
        max_pods: usize::try_from(max_pods(seen)).unwrap_or(usize::MAX),
        seen: seen.map(|node| Seen {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: sealane_kube::taints(node),
        }),
    }
}

fn list(resources: &Resources, pods: u64) -> BTreeMap<String, Quantity> {
    let quantity = |(name, amount): (&str, u64)| {
        let text = match name {
            "cpu" if amount % 1000 != 0 => format!("{amount}m"),
            "cpu" => (amount / 1000).to_string(),
            "memory" => format!("{}Ki", amount / 1024),
            _ => amount.to_string(),
        };
        (name.to_owned(), Quantity(text))
    };
    let pods = ("pods".to_owned(), Quantity(pods.to_string()));
    resources.iter().map(quantity).chain([pods]).collect()
}

/// Pods that the node takes: as many as its subnets have addresses for, and no more than the kubelet's default.
fn max_pods(seen: Option<&Node>) -> u64 {
    let subnets = seen.and_then(|node| node.spec.as_ref()?.pod_cidrs.as_ref());
    let room = subnets
        .into_iter()
        .flatten()
        .filter_map(|subnet| room(subnet))
        .min();
    room.map_or(PODS, |room| room.min(PODS))
}

/// Pods that fit into a subnet: network, gateway and broadcast addresses are not for pods.
fn room(subnet: &str) -> Option<u64> {
    let (address, length) = subnet.split_once('/')?;
    let bits = if address.contains(':') { 128u32 } else { 32 };
    let host_bits = bits.checked_sub(length.parse().ok()?)?;
    Some(
        1u64.checked_shl(host_bits)
            .unwrap_or(u64::MAX)
            .saturating_sub(3),
    )
}

/// The conditions that a node decides.
const OURS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

fn conditions(
    previous: &[NodeCondition],
    network: Result<(), &str>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let ready = match network {
        Ok(()) => (
            true,
            "KubeletReady",
            "sealane node is posting ready status".to_owned(),
        ),
        Err(reason) => (
            false,
            "KubeletNotReady",
            format!("container runtime network not ready: {reason}"),
        ),
    };
    let calm = |what: &str| format!("this machine has sufficient {what}");
    [
        (
            OURS[0],
            (
                false,
                "KubeletHasSufficientMemory",
                calm("memory available"),
            ),
        ),
        (
            OURS[1],
            (
                false,
                "KubeletHasNoDiskPressure",
                calm("disk space available"),
            ),
        ),
        (
            OURS[2],
            (false, "KubeletHasSufficientPID", calm("PID available")),
        ),
        (OURS[3], ready),
    ]
    .map(|(type_, verdict)| condition(type_, verdict, previous, now))
    .into()
}

fn condition(
    type_: &str,
    (holds, reason, message): (bool, &str, String),
    previous: &[NodeCondition],
    now: Timestamp,
) -> NodeCondition {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let status = if holds { "True" } else { "False" };
    let unchanged = previous
        .iter()
        .find(|old| old.type_ == type_ && old.status == status);
    let since = unchanged.and_then(|old| old.last_transition_time.clone());
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "node-1".into(),
            ips: vec!["172.29.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            port: 10250,
            capacity: Resources::of([
                ("cpu", "2"),
                ("memory", "4Gi"),
                ("ephemeral-storage", "1000Ki"),
            ]),
            system: NodeSystemInfo {
                operating_system: "linux".into(),
                architecture: "amd64".into(),
                ..NodeSystemInfo::default()
            },
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn ready(status: &NodeStatus) -> &NodeCondition {
        let mut all = status.conditions.iter().flatten();
        all.find(|condition| condition.type_ == "Ready").unwrap()
    }

    #[test]
    fn a_node_shows_what_it_is() {
        let status = compile(&facts(), None, Ok(()), at(0));
        let shown = serde_json::to_value(&status).unwrap();
        assert_eq!(
            shown["addresses"],
            json!([
                {"type": "InternalIP", "address": "172.29.0.2"},
                {"type": "InternalIP", "address": "fd00::2"},
                {"type": "Hostname", "address": "node-1"},
            ])
        );
        assert_eq!(
            shown["capacity"],
            json!({"cpu": "2", "memory": "4194304Ki", "ephemeral-storage": "1024000", "pods": "110"})
        );
        assert_eq!(
            shown["allocatable"],
            json!({"cpu": "2", "memory": "4091904Ki", "ephemeral-storage": "921600", "pods": "110"})
        );
        let half = Facts {
            capacity: Resources::of([("cpu", "500m")]),
            ..facts()
        };
        let capacity = compile(&half, None, Ok(()), at(0)).capacity;
        assert_eq!(capacity.unwrap()["cpu"].0, "500m");
        assert_eq!(
            shown["daemonEndpoints"],
            json!({"kubeletEndpoint": {"Port": 10250}})
        );
        let labels = labels(&facts());
        assert_eq!(labels["kubernetes.io/hostname"], "node-1");
        assert_eq!(labels["kubernetes.io/arch"], "amd64");
    }

    #[test]
    fn one_request_at_a_time_brings_the_object_nearer() {
        let next = |seen: Option<&Node>, heartbeat| {
            let status = compile(&facts(), seen, Ok(()), at(60));
            next(&facts(), status, seen, heartbeat)
        };
        let Request::Create(node) = next(None, false) else {
            panic!("there is none")
        };
        assert_eq!(next(Some(&*node), false), Request::Nothing);
        assert!(matches!(next(Some(&*node), true), Request::Status(_)));
        let bare = Node {
            status: None,
            ..*node.clone()
        };
        assert!(matches!(next(Some(&bare), false), Request::Status(_)));
        assert!(matches!(
            next(Some(&Node::default()), false),
            Request::Label(_)
        ));
    }

    #[test]
    fn a_node_without_a_network_is_not_ready_and_says_why() {
        let status = compile(&facts(), None, Err("no CNI configuration"), at(0));
        let not = ready(&status);
        assert_eq!(
            (not.status.as_str(), not.reason.as_deref()),
            ("False", Some("KubeletNotReady"))
        );
        let message = "container runtime network not ready: no CNI configuration";
        assert_eq!(not.message.as_deref(), Some(message));
    }

    #[test]
    fn a_small_subnet_limits_the_number_of_pods() {
        for (subnets, expected) in [
            (json!([]), "110"),
            (json!(["10.244.1.0/24"]), "110"),
            (json!(["10.244.1.0/28"]), "13"),
            (json!(["10.244.1.0/26", "fd00::/64"]), "61"),
            (json!(["10.244.1.0/31"]), "0"),
        ] {
            let node = serde_json::from_value(json!({"spec": {"podCIDRs": subnets}})).unwrap();
            let status = compile(&facts(), Some(&node), Ok(()), at(0));
            assert_eq!(status.capacity.unwrap()["pods"].0, expected, "{subnets}");
        }
    }

    #[test]
    fn heartbeats_are_no_news_and_other_peoples_words_are_kept() {
        let first = compile(&facts(), None, Ok(()), at(0));
        let mut node = object(&facts(), first);
        assert!(!differs(
            &compile(&facts(), Some(&node), Ok(()), at(60)),
            &node
        ));
        assert!(differs(
            &compile(&facts(), Some(&node), Err("x"), at(60)),
            &node
        ));

        let foreign = NodeCondition {
            type_: "NetworkUnavailable".into(),
            status: "False".into(),
            ..NodeCondition::default()
        };
        let conditions = node.status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions.push(foreign);
        let next = compile(&facts(), Some(&node), Ok(()), at(60));
        assert!(!differs(&next, &node));
        assert_eq!(ready(&next).last_transition_time, Some(Time(at(0))));
        assert_eq!(ready(&next).last_heartbeat_time, Some(Time(at(60))));
        let patch = patch(&next, &node);
        assert_eq!(
            patch["status"]["conditions"][4]["type"],
            "NetworkUnavailable"
        );
    }

    #[test]
    fn a_node_that_was_given_up_comes_back() {
        let mut node = object(&facts(), compile(&facts(), None, Ok(()), at(0)));
        for condition in node.status.as_mut().unwrap().conditions.as_mut().unwrap() {
            condition.status = "Unknown".into();
        }
        let next = compile(&facts(), Some(&node), Ok(()), at(90));
        assert!(differs(&next, &node));
        assert_eq!(ready(&next).last_transition_time, Some(Time(at(90))));
    }
}
