//! The ways that are compared.
//!
//! ```text
//! bare       a ════ b                                             one veth pair
//! one node   a ════ node ════ b                                   ours and the reference's
//! underlay   a ════ switch ════ b                                 as nodes are joined, and no rule
//! across     a ════ node ════ switch ════ node ════ b             ours and the reference's
//! ```

use std::net::IpAddr;
use std::path::Path as File;

use sealane_testkit::cni::Plugin;
use sealane_testkit::{Cluster, Folder, Namespace, Pod, Topology, UpOptions};
use serde_json::{Value, json};

/// Where Debian's containernetworking-plugins installs.
const REFERENCE: &str = "/usr/lib/cni";

pub const BARE: &str = "bare veth pair";
pub const UNDERLAY: &str = "underlay, node to node";
const ONE_NODE: &str = "one node, reference bridge";
const ACROSS: &str = "across nodes, reference bridge";
const NONE: &str = "";

/// From where to where.
pub struct Path {
    pub name: &'static str,
    pub client: Namespace,
    pub server: Namespace,
    /// The server's.
    pub address: IpAddr,
    pub base: Base,
    /// The name of the path that the reference plugin makes.
    pub reference: &'static str,
}

/// What a path cannot be better than.
#[derive(Clone, Copy)]
pub enum Base {
    Bare,
    Underlay,
}

/// Everything that is measured, as long as this lives.
pub struct Paths {
    bare: (Topology, [Namespace; 2]),
    underlay: (Topology, [Namespace; 3]),
    reference: Reference,
    clusters: Vec<(Names, Cluster)>,
}

/// What a cluster's paths are called.
struct Names {
    one_node: Option<&'static str>,
    across: &'static str,
}

impl Paths {
    /// Makes them all, with links of the MTU that a cluster has here.
    pub fn new() -> Self {
        let forms = [
            (
                "bridge",
                "direct",
                Some("one node, bridge"),
                "across nodes, bridge",
            ),
            (
                "routed",
                "direct",
                Some("one node, routed"),
                "across nodes, routed",
            ),
            ("bridge", "vxlan", None, "across nodes, bridge, VXLAN"),
            ("routed", "vxlan", None, "across nodes, routed, VXLAN"),
        ];
        let clusters: Vec<_> = forms
            .into_iter()
            .map(|(attachment, routing, one_node, across)| {
                (Names { one_node, across }, cluster(attachment, routing))
            })
            .collect();
        let mtu = mtu(&clusters[0].1.node(1));
        let bare = Topology::new(["a", "b"]);
        let [a, b] = &bare.1;
        bare.0
            .join((a, "eth0", "10.86.0.1/24"), (b, "eth0", "10.86.0.2/24"));
        let underlay = Topology::new(["a", "b", "switch"]);
        let [c, d, switch] = &underlay.1;
        underlay.0.plug(switch, c, "eth0", "10.87.0.1/24");
        underlay.0.plug(switch, d, "eth0", "10.87.0.2/24");
        for end in [a, b, c, d] {
            end.run("ip", ["link", "set", "eth0", "mtu", &mtu.to_string()])
                .succeeds();
        }
        Self {
            reference: Reference::new(mtu),
            bare,
            underlay,
            clusters,
        }
    }

    /// In the order of the table.
    pub fn all(&self) -> Vec<Path> {
        let [a, b] = &self.bare.1;
        let [c, d, _] = &self.underlay.1;
        let one = |name, client: &Namespace, server: &Namespace, address: IpAddr| Path {
            name,
            client: client.clone(),
            server: server.clone(),
            address,
            base: Base::Bare,
            reference: ONE_NODE,
        };
        let across = |name, client: &Namespace, server: &Namespace, address: IpAddr| Path {
            base: Base::Underlay,
            reference: ACROSS,
            ..one(name, client, server, address)
        };
        let address = |text: &str| text.parse().expect("an address");
        let alone = |path: Path| Path {
            reference: NONE,
            ..path
        };
        let [near, beside, far] = &self.reference.pods;
        let mut first = vec![
            alone(one(BARE, a, b, address("10.86.0.2"))),
            one(ONE_NODE, near, beside, self.reference.addresses[1]),
        ];
        let mut second = vec![
            alone(across(UNDERLAY, c, d, address("10.87.0.2"))),
            across(ACROSS, near, far, self.reference.addresses[2]),
        ];
        for (names, cluster) in &self.clusters {
            let pod = |name| (cluster.pod_netns(name), cluster.pod_ip(name));
            let ((a, _), (b, b_ip), (c, c_ip)) = (pod("a"), pod("b"), pod("c"));
            first.extend(names.one_node.map(|name| one(name, &a, &b, b_ip)));
            second.push(across(names.across, &a, &c, c_ip));
        }
        first.extend(second);
        first
    }

    /// Takes the clusters down.
    pub fn end(self) {
        for (_, cluster) in self.clusters {
            cluster.down();
        }
    }
}

/// Two nodes, pods `a` and `b` on the first and `c` on the second.
fn cluster(attachment: &str, routing: &str) -> Cluster {
    let options = UpOptions::default()
        .flag("--attachment", attachment)
        .flag("--routing", routing);
    let cluster = Cluster::up(options);
    let pods = [("a", 1), ("b", 1), ("c", 2)].map(|(name, node)| Pod::idle(name).on_node(node));
    cluster.start(&pods);
    cluster
}

fn mtu(node: &Namespace) -> u64 {
    let links = node
        .run("ip", ["-json", "link", "show", "dev", "eth0"])
        .json();
    links[0]["mtu"].as_u64().expect("a link has an MTU")
}

/// Two nodes on a switch, on each the reference `bridge` plugin, with routes and a rule by hand.
///
/// The rule masquerades what leaves the cluster, as other programs do beside that plugin: its own
/// `ipMasq` would do so from node to node as well.
struct Reference {
    // Before the namespaces, whose removal ends everything.
    _topology: Topology,
    _leases: [Folder; 2],
    pods: [Namespace; 3],
    addresses: [IpAddr; 3],
}

impl Reference {
    fn new(mtu: u64) -> Self {
        assert!(
            File::new(REFERENCE).join("bridge").exists(),
            "the comparison needs {REFERENCE}/bridge: apt-get install containernetworking-plugins"
        );
        let titles = ["node-1", "node-2", "switch", "a", "b", "c"];
        let (topology, [one, two, switch, a, b, c]) = Topology::new(titles);
        let leases = [Folder::new(), Folder::new()];
        let nodes = [&one, &two];
        for (number, node) in (1..).zip(nodes) {
            topology.plug(&switch, node, "eth0", &format!("10.89.0.{number}/24"));
            node.run("ip", ["link", "set", "eth0", "mtu", &mtu.to_string()])
                .succeeds();
        }
        for (number, node) in (1..).zip(nodes) {
            let other = 3 - number;
            let (subnet, via) = (format!("10.88.{other}.0/24"), format!("10.89.0.{other}"));
            node.run("ip", ["route", "add", &subnet, "via", &via])
                .succeeds();
            let own = format!("10.88.{number}.0/24");
            let leaves = ["-s", &own, "!", "-d", "10.88.0.0/16"];
            let mut rule = vec!["-t", "nat", "-A", "POSTROUTING"];
            rule.extend(leaves);
            node.run("iptables", rule.into_iter().chain(["-j", "MASQUERADE"]))
                .succeeds();
        }
        let add = |number: usize, pod: &Namespace| {
            let plugin = plugin(number, nodes[number - 1], &leases[number - 1], mtu);
            let result = plugin.call("ADD", pod.title(), pod.title(), None);
            address_of(&result.json())
        };
        let addresses = [add(1, &a), add(1, &b), add(2, &c)];
        Self {
            _topology: topology,
            _leases: leases,
            pods: [a, b, c],
            addresses,
        }
    }
}

fn plugin(number: usize, node: &Namespace, leases: &Folder, mtu: u64) -> Plugin {
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "reference",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": true,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "subnet": format!("10.88.{number}.0/24"),
            "dataDir": leases.path(),
        },
    });
    Plugin {
        program: File::new(REFERENCE).join("bridge"),
        folder: REFERENCE.into(),
        network,
        node: Some(node.clone()),
    }
}

fn address_of(result: &Value) -> IpAddr {
    let address = result["ips"][0]["address"].as_str().unwrap_or_default();
    let (ip, _) = address.split_once('/').unwrap_or((address, ""));
    ip.parse().unwrap_or_else(|error| {
        panic!("read the result of the reference plugin: {error}: {result}")
    })
}
