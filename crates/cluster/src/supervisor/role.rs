//! Which processes a cluster consists of, and how each is started. Pure.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use sealane_net::{Family, ProxyMode};

use crate::layout::Layout;
use crate::owner::Owner;
use crate::pki::{APISERVER, APISERVER_KUBELET_CLIENT, AUTHORITY, CONTROLLERS, SERVICE_ACCOUNTS};
use crate::plan::{NodePlan, Plan, networks};

/// Name of the supervisor's own pid file and log.
pub const SUPERVISOR: &str = "supervisor";

/// The port of the Service `kubernetes`, which the API server makes.
const KUBERNETES_SERVICE_PORT: u16 = 443;

/// Where a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this machine's namespaces, as an unprivileged user, with the state
    /// directory as its working directory: so its files are reached by relative
    /// paths, whatever the directories above allow that user.
    Machine(Owner),
    /// In a node's network namespace, under the node's host name.
    Node {
        /// Name of the namespace.
        netns: String,
        /// The host name.
        hostname: String,
    },
}

/// One process of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Name of its pid file and log.
    pub name: String,
    /// Where it runs.
    pub place: Place,
    /// Its command line, after the program's name.
    pub args: Vec<String>,
    /// Sockets that it inherits, see [`Listeners`](super::listeners::Listeners).
    pub serves_api: bool,
}

/// Every process of a cluster except the supervisor itself.
///
/// `resolv_conf` names this machine's real resolvers, for pods.
pub fn roles(layout: &Layout, plan: &Plan, resolv_conf: &Path) -> Vec<Role> {
    let mut roles = vec![apiserver(layout, plan), controllers(layout, plan)];
    for node in plan.node_plans() {
        roles.push(agent(layout, plan, &node));
        roles.extend(dns(layout, plan, &node, resolv_conf));
        roles.push(kubelet(layout, plan, &node, resolv_conf));
    }
    roles
}

fn apiserver(layout: &Layout, plan: &Plan) -> Role {
    let pki = |name: &str| Path::new("pki").join(name);
    let authority = pki(&format!("{AUTHORITY}.crt"));
    let advertise = plan.api_url().replace("https://", "");
    let args = Args::new("apiserver")
        .flag("--advertise-address", advertise)
        .path("--store", Path::new("apiserver/store.redb"))
        .path("--client-ca", &authority)
        .path("--tls-cert", &pki(&format!("{APISERVER}.crt")))
        .path("--tls-key", &pki(&format!("{APISERVER}.key")))
        .path(
            "--kubelet-client-cert",
            &pki(&format!("{APISERVER_KUBELET_CLIENT}.crt")),
        )
        .path(
            "--kubelet-client-key",
            &pki(&format!("{APISERVER_KUBELET_CLIENT}.key")),
        )
        .path("--kubelet-ca", &authority)
        .path(
            "--service-account-key-file",
            &pki(&format!("{SERVICE_ACCOUNTS}.key")),
        )
        .flag(
            "--service-account-issuer",
            format!("https://kubernetes.default.svc.{}", plan.cluster_domain),
        )
        .flag("--service-cluster-ip-range", &plan.service_cidr)
        .flag(
            "--default-not-ready-toleration-seconds",
            plan.patience.pod_seconds,
        )
        .flag(
            "--default-unreachable-toleration-seconds",
            plan.patience.pod_seconds,
        )
        .path("--debug-socket", &layout.debug_socket(APISERVER));
    Role {
        name: APISERVER.to_owned(),
        place: Place::Machine(Owner::Apiserver),
        args: args.0,
        serves_api: true,
    }
}

fn controllers(layout: &Layout, plan: &Plan) -> Role {
    let args = Args::new("controllers")
        .flag(
            "--kubeconfig",
            format!("kubeconfigs/{CONTROLLERS}.kubeconfig"),
        )
        .flag("--cluster-cidr", &plan.cluster_cidr)
        .flag("--node-cidr-mask-size-ipv4", plan.node_mask_v4)
        .flag(
            "--node-monitor-grace-period",
            format!("{}s", plan.patience.node_seconds),
        )
        // Some nodes at once may well be lost on one machine; when most are, none is emptied.
        .flag("--node-eviction-rate", 10)
        .path("--debug-socket", &layout.debug_socket(CONTROLLERS));
    Role {
        name: CONTROLLERS.to_owned(),
        place: Place::Machine(Owner::Controllers),
        args: args.0,
        serves_api: false,
    }
}

fn agent(layout: &Layout, plan: &Plan, node: &NodePlan) -> Role {
    let name = format!("agent-{}", node.name);
    let state = layout.node_state(&node.name);
    let mut args = Args::new("agent")
        .path("--kubeconfig", &layout.role_kubeconfig(&name))
        .flag("--node-name", &node.name)
        .path("--cni-bin-dir", &state.join("cni/bin"))
        .path("--cni-conf-dir", &state.join("cni/net.d"))
        .path("--state-dir", &state.join("agent"))
        .path("--run-dir", &layout.node_run(&node.name))
        .flag("--cluster-cidr", &plan.cluster_cidr)
        .flag("--attachment", plan.attachment)
        .flag("--routing", plan.routing)
        .flag("--proxy-mode", plan.proxy_mode)
        .flag("--anti-spoofing", plan.anti_spoofing);
    if !plan.non_masquerade_cidrs.is_empty() {
        args = args.flag(
            "--non-masquerade-cidrs",
            networks(&plan.non_masquerade_cidrs),
        );
    }
    Role {
        name,
        place: on(node),
        args: args.0,
        serves_api: false,
    }
}

/// None for a node whose pods have no addresses of the Services' family.
fn dns(layout: &Layout, plan: &Plan, node: &NodePlan, resolv_conf: &Path) -> Option<Role> {
    let addresses = cluster_dns(plan)?;
    // Where there is no way out, asking upstreams would be waiting for nothing.
    let upstreams = match plan.internet {
        true => resolv_conf,
        false => Path::new("/dev/null"),
    };
    let name = format!("dns-{}", node.name);
    let args = Args::new("dns")
        .path("--kubeconfig", &layout.role_kubeconfig(&name))
        .flag("--node-name", &node.name)
        .flag("--cluster-dns", addresses)
        .flag("--cluster-domain", &plan.cluster_domain)
        // Nobody else answers there.
        .flag("--at-once", true)
        .path("--resolv-conf", upstreams)
        .path("--state-dir", &layout.node_state(&node.name).join("dns"))
        .path("--run-dir", &layout.node_run(&node.name));
    Some(Role {
        name,
        place: on(node),
        args: args.0,
        serves_api: false,
    })
}

fn cluster_dns(plan: &Plan) -> Option<String> {
    let addresses = plan.dns_addresses();
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// The first address of the Service `kubernetes`, if pods have addresses of its family: clusters of older versions
/// with IPv6 alone have Services of IPv4.
fn kubernetes_service(plan: &Plan) -> Option<IpAddr> {
    let first = plan.kubernetes_service_addresses().first().copied()?;
    let family = Family::from(first);
    plan.cluster_cidr.of(family).map(|_| first)
}

fn kubelet(layout: &Layout, plan: &Plan, node: &NodePlan, resolv_conf: &Path) -> Role {
    let state = layout.node_state(&node.name);
    let ips: Vec<String> = node
        .addresses
        .iter()
        .map(|address| address.addr().to_string())
        .collect();
    let mut args = Args::new("node")
        .path("--kubeconfig", &layout.role_kubeconfig(&node.name))
        .flag("--node-name", &node.name)
        .flag("--node-ip", ips.join(","))
        .path("--state-dir", &state)
        .path("--run-dir", &layout.node_run(&node.name))
        .path("--cni-bin-dir", &state.join("cni/bin"))
        .path("--cni-conf-dir", &state.join("cni/net.d"))
        .path("--tls-cert", &layout.certificate(&node.name))
        .path("--tls-key", &layout.key(&node.name))
        .path("--client-ca", &layout.certificate(AUTHORITY))
        .flag(
            "--cgroup",
            format!("{}/{}", layout.name.cgroup(), node.name),
        )
        .path("--image-dir", &layout.images())
        .path("--resolv-conf", resolv_conf)
        .flag("--node-lease-duration-seconds", plan.patience.node_seconds);
    // Where nobody programs Services, pods are told where the node itself finds the API.
    if plan.proxy_mode != ProxyMode::None
        && let Some(address) = kubernetes_service(plan)
    {
        let at = SocketAddr::new(address, KUBERNETES_SERVICE_PORT);
        args = args.flag("--kubernetes-service", at);
    }
    if let Some(addresses) = cluster_dns(plan) {
        args = args
            .flag("--cluster-dns", addresses)
            .flag("--cluster-domain", &plan.cluster_domain);
    }
    for path in layout.hidden() {
        args = args.path("--hide", &path);
    }
    for (flag, amount) in [("--cpu", &plan.node_cpu), ("--memory", &plan.node_memory)] {
        if let Some(amount) = amount {
            args = args.flag(flag, amount);
        }
    }
    for alias in &plan.image_aliases {
        args = args.flag("--image-alias", alias);
    }
    Role {
        name: node.name.clone(),
        place: on(node),
        args: args.0,
        serves_api: false,
    }
}

fn on(node: &NodePlan) -> Place {
    Place::Node {
        netns: node.netns.clone(),
        hostname: node.name.clone(),
    }
}

/// Directories that a role expects, and whose they are.
pub fn directories(layout: &Layout, plan: &Plan) -> Vec<(PathBuf, Owner)> {
    let mut directories = vec![
        (layout.apiserver_dir(), Owner::Apiserver),
        (layout.logs(), Owner::Root),
        (layout.pids(), Owner::Root),
        (layout.run.join(APISERVER), Owner::Apiserver),
        (layout.run.join(CONTROLLERS), Owner::Controllers),
    ];
    for node in plan.node_plans() {
        directories.push((layout.node_state(&node.name), Owner::Root));
        directories.push((layout.node_run(&node.name), Owner::Root));
    }
    directories
}

/// A command line, flag by flag.
struct Args(Vec<String>);

impl Args {
    fn new(subcommand: &str) -> Self {
        Self(vec![subcommand.to_owned()])
    }

    fn flag(mut self, flag: &str, value: impl ToString) -> Self {
        self.0.extend([flag.to_owned(), value.to_string()]);
        self
    }

    fn path(self, flag: &str, value: &Path) -> Self {
        self.flag(flag, value.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Asked, ClusterName, Observed, resolve};

    fn example() -> Vec<Role> {
        let layout = Layout::new(ClusterName::default(), "/S".into());
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        roles(&layout, &plan, Path::new("/etc/resolv.conf"))
    }

    #[test]
    fn names_are_those_of_pid_files_and_logs() {
        let names: Vec<String> = example().into_iter().map(|role| role.name).collect();
        assert_eq!(
            names,
            [
                "apiserver",
                "controllers",
                "agent-node-1",
                "dns-node-1",
                "node-1",
                "agent-node-2",
                "dns-node-2",
                "node-2"
            ]
        );
    }

    #[test]
    fn command_lines_are_exactly_these() {
        let lines: Vec<String> = example()[..5]
            .iter()
            .map(|role| role.args.join(" "))
            .collect();
        assert_eq!(
            lines[0],
            "apiserver --advertise-address 172.29.0.1:6443 --store apiserver/store.redb \
             --client-ca pki/ca.crt --tls-cert pki/apiserver.crt --tls-key pki/apiserver.key \
             --kubelet-client-cert pki/apiserver-kubelet-client.crt \
             --kubelet-client-key pki/apiserver-kubelet-client.key --kubelet-ca pki/ca.crt \
             --service-account-key-file pki/sa.key \
             --service-account-issuer https://kubernetes.default.svc.cluster.local --service-cluster-ip-range 10.96.0.0/12 \
             --default-not-ready-toleration-seconds 4 --default-unreachable-toleration-seconds 4 \
             --debug-socket /run/sealane/sealane/apiserver/debug.sock"
        );
        assert_eq!(
            lines[1],
            "controllers --kubeconfig kubeconfigs/controllers.kubeconfig --cluster-cidr 10.244.0.0/16 \
             --node-cidr-mask-size-ipv4 24 --node-monitor-grace-period 5s --node-eviction-rate 10 \
             --debug-socket /run/sealane/sealane/controllers/debug.sock"
        );
        assert_eq!(
            lines[2],
            "agent --kubeconfig /S/kubeconfigs/agent-node-1.kubeconfig --node-name node-1 \
             --cni-bin-dir /S/nodes/node-1/cni/bin --cni-conf-dir /S/nodes/node-1/cni/net.d \
             --state-dir /S/nodes/node-1/agent --run-dir /run/sealane/sealane/node-1 \
             --cluster-cidr 10.244.0.0/16 --attachment bridge --routing auto --proxy-mode nftables --anti-spoofing pod"
        );
        assert_eq!(
            lines[3],
            "dns --kubeconfig /S/kubeconfigs/dns-node-1.kubeconfig --node-name node-1 --cluster-dns 10.96.0.10 \
             --cluster-domain cluster.local --at-once true --resolv-conf /etc/resolv.conf \
             --state-dir /S/nodes/node-1/dns --run-dir /run/sealane/sealane/node-1"
        );
        assert_eq!(
            lines[4],
            "node --kubeconfig /S/kubeconfigs/node-1.kubeconfig --node-name node-1 --node-ip 172.29.0.2 \
             --state-dir /S/nodes/node-1 --run-dir /run/sealane/sealane/node-1 \
             --cni-bin-dir /S/nodes/node-1/cni/bin --cni-conf-dir /S/nodes/node-1/cni/net.d \
             --tls-cert /S/pki/node-1.crt --tls-key /S/pki/node-1.key --client-ca /S/pki/ca.crt \
             --cgroup sealane/sealane/node-1 --image-dir /S/images --resolv-conf /etc/resolv.conf \
             --node-lease-duration-seconds 5 --kubernetes-service 10.96.0.1:443 --cluster-dns 10.96.0.10 \
             --cluster-domain cluster.local --hide /var/lib/sealane --hide /run/sealane --hide /S"
        );
    }

    #[test]
    fn only_nodes_have_privileges() {
        for role in example() {
            let unprivileged =
                matches!(&role.place, Place::Machine(owner) if owner.uid().is_some());
            assert_eq!(unprivileged, !role.name.contains("node-"), "{}", role.name);
        }
    }
}
