//! What to remove, and in which order. Pure.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use sealane_net::{Route, names};
use sealane_netlink::{Address, Link, Rule};
use sealane_ruleset::{Loaded, TableFamily};

use super::observe::{Found, Listing};
use super::proxy;
use crate::firewall::Variant;

/// Tables of this name belong to a single-machine cluster or a stand-alone bridge.
const OF_OTHERS: [&str; 2] = ["sealane-up-", "sealane-br-"];
/// The link that kube-proxy's mode ipvs gives the addresses of Services to.
pub(super) const IPVS_LINK: &str = "kube-ipvs0";
pub(super) const PROXY_TABLE: &str = "kube-proxy";

/// What beyond the node's own network is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The links of pods that run, and what they need.
    pub pods: bool,
    /// The rules of kube-proxy, and those of our own mode iptables, which are the same.
    pub kube_proxy: bool,
}

/// One removal.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Loopback addresses are closed to others by the kernel again, before the rule goes that did so.
    Loopback,
    /// A table of nftables with all that is in it.
    Table(Loaded),
    /// A route.
    Route(Route),
    /// A rule of policy routing.
    Rule(Rule),
    /// An address of a link.
    Address(Address),
    /// A link, a pod's with its other end.
    Link(String),
    /// A file.
    File(PathBuf),
    /// Chains of iptables and the rules that lead to them.
    Chains {
        /// `iptables-nft-restore`, …
        program: String,
        /// What it reads.
        text: String,
        /// How many chains that are.
        chains: usize,
    },
    /// Something that is not removed, and why.
    Left(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => {
                write!(f, "delete nft table {} {}", table.family.word(), table.name)
            }
            Self::Loopback => write!(f, "set {}=0", names::LOCALNET_SYSCTL),
            Self::Route(route) => write!(f, "delete route {route}"),
            Self::Rule(rule) => write!(f, "delete rule {rule}"),
            Self::Address(address) => write!(f, "delete address {}", address.address),
            Self::Link(name) => write!(f, "delete link {name}"),
            Self::File(path) => write!(f, "remove {}", path.display()),
            Self::Chains {
                program, chains, ..
            } => write!(f, "delete {chains} chains of Services by {program}"),
            Self::Left(what) => write!(f, "leave {what}"),
        }
    }
}

/// The steps that leave nothing of what is asked for: none, when there is nothing.
///
/// The configuration goes first, so that the runtime starts no pod on what is
/// being taken away; then what steers packets, then links.
pub fn plan(found: &Found, asked: Asked) -> Vec<Step> {
    let mut steps = Vec::new();
    let pods: Vec<&Link> = pod_links(found).collect();
    let keeps_pods = !pods.is_empty() && !asked.pods;
    steps.extend(found.conflist.iter().cloned().map(Step::File));
    if !keeps_pods {
        steps.extend(found.plugin.iter().cloned().map(Step::File));
    }
    steps.extend(found.sockets.iter().cloned().map(Step::File));
    let guards_loopback =
        |t: &&Loaded| t.name == names::SERVICES_TABLE && t.family == TableFamily::Ip;
    let guard = found.tables.iter().find(guards_loopback);
    steps.extend(guard.map(|_| Step::Loopback));
    steps.extend(
        found
            .tables
            .iter()
            .filter(|t| is_ours(&t.name) && !(found.dns_runs && t.name == names::DNS_TABLE))
            .cloned()
            .map(Step::Table),
    );
    steps.extend(proxy_steps(found, asked.kube_proxy));
    steps.extend(found.rules.iter().map(|rule| Step::Rule(*rule)));
    let ours = found
        .routes
        .iter()
        .filter(|r| r.protocol == names::ROUTE_PROTOCOL);
    let pods_own = |route: &&Route| {
        route.unreachable || route.device.as_deref().is_some_and(names::is_pod_link)
    };
    let routes = ours.filter(|route| !(keeps_pods && pods_own(route)));
    steps.extend(routes.cloned().map(Step::Route));
    // Whoever serves the Service of that address serves it again.
    let of_dns = found.addresses.iter().filter(|a| is_of_dns(a));
    if found.dns_runs {
        steps.push(Step::Left(
            "the addresses and rules of `sealane dns`, which runs".into(),
        ));
    } else {
        steps.extend(of_dns.map(|address| Step::Address(*address)));
    }
    if !keeps_pods {
        let ours =
            |a: &&Address| a.protocol == names::ROUTE_PROTOCOL && !goes_with_bridge(found, a);
        steps.extend(
            found
                .addresses
                .iter()
                .filter(ours)
                .map(|a| Step::Address(*a)),
        );
    }
    steps.extend(links(found, keeps_pods));
    if keeps_pods {
        let count = pods.len();
        steps.push(Step::Left(format!(
            "{count} links of pods that run, and what they need; --pods takes their network away"
        )));
    }
    steps
}

/// Kernels before 5.18 do not know who made an address: there the cluster's own stays.
fn is_of_dns(address: &Address) -> bool {
    let local = [names::DNS_LOCAL_V4.into(), names::DNS_LOCAL_V6.into()];
    address.protocol == names::DNS_PROTOCOL || local.contains(&address.address.addr())
}

fn goes_with_bridge(found: &Found, address: &Address) -> bool {
    let link = found.links.iter().find(|link| link.index == address.link);
    link.is_some_and(|link| link.name == names::POD_BRIDGE)
}

fn is_ours(table: &str) -> bool {
    let own = table.strip_prefix(names::NFT_TABLE);
    own.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        && !OF_OTHERS.iter().any(|start| table.starts_with(start))
}

fn pod_links(found: &Found) -> impl Iterator<Item = &Link> {
    found.links.iter().filter(|l| names::is_pod_link(&l.name))
}

fn links(found: &Found, keeps_pods: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let delete = |link: &Link| Step::Link(link.name.clone());
    let overlay = |link: &&Link| link.name == names::VXLAN && link.kind == "vxlan";
    steps.extend(found.links.iter().filter(overlay).map(delete));
    if keeps_pods {
        return steps;
    }
    steps.extend(pod_links(found).map(delete));
    let bridge = found
        .links
        .iter()
        .find(|link| link.name == names::POD_BRIDGE);
    if let Some(bridge) = bridge {
        let others = found
            .links
            .iter()
            .filter(|l| l.master == Some(bridge.index));
        let foreign: Vec<&str> = others
            .map(|link| &*link.name)
            .filter(|name| !names::is_pod_link(name))
            .collect();
        steps.push(match (made_by_us(found, bridge), &foreign[..]) {
            (true, []) => delete(bridge),
            (true, ports) => Step::Left(format!(
                "bridge {}, of which {} are ports",
                bridge.name,
                ports.join(", ")
            )),
            (false, _) => Step::Left(format!(
                "link {}, which another program has made (its Ethernet address is not the one that goes with its IP address)",
                bridge.name
            )),
        });
    }
    steps
}

/// kubenet called its bridge so too; the Ethernet address of ours follows from its IP addresses.
fn made_by_us(found: &Found, bridge: &Link) -> bool {
    let own = found
        .addresses
        .iter()
        .filter(|a| a.link == bridge.index && a.global);
    let own: Vec<IpAddr> = own.map(|a| a.address.addr()).collect();
    let expected = sealane_agent::node::mac_of(own.iter().copied());
    bridge.kind == "bridge" && (own.is_empty() || bridge.mac == Some(expected))
}

/// Chains of kube-proxy only when `all` is asked for; those of our own mode iptables, which say so, in any case.
fn proxy_steps(found: &Found, all: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for listing in found
        .iptables
        .iter()
        .filter(|l| all || proxy::is_ours(&l.text))
    {
        if let Some((text, chains)) = proxy::leftovers(&listing.text) {
            steps.push(Step::Chains {
                program: restore(listing),
                text,
                chains,
            });
        }
    }
    if !all {
        return steps;
    }
    let of_proxy = found.tables.iter().filter(|t| t.name == PROXY_TABLE);
    steps.extend(of_proxy.cloned().map(Step::Table));
    if found.links.iter().any(|link| link.name == IPVS_LINK) {
        steps.push(Step::Link(IPVS_LINK.into()));
        steps.push(Step::Left(
            "virtual servers of ipvs, which may be others' too: `ipvsadm --clear`, \
             then `ipset list -n | grep ^KUBE- | xargs -n1 ipset destroy`"
                .into(),
        ));
    }
    steps
}

fn restore(listing: &Listing) -> String {
    let variant = match listing.variant {
        Variant::Nft => "nft",
        Variant::Legacy => "legacy",
    };
    format!("{}tables-{variant}-restore", listing.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::stage::{address, link, ours};

    fn loaded(name: &str) -> Loaded {
        Loaded {
            family: sealane_ruleset::TableFamily::Ip,
            name: name.into(),
            comment: None,
        }
    }

    fn found() -> Found {
        let mut bridge = link(3, names::POD_BRIDGE, "bridge", 1500);
        bridge.mac = Some(sealane_net::Mac([2, 0, 10, 244, 1, 1]));
        Found {
            links: vec![
                link(1, "lo", "", 65536),
                bridge,
                link(4, "sl0123456789ab", "veth", 1500),
                link(5, names::VXLAN, "vxlan", 1450),
                link(6, "sl-other", "veth", 1500),
            ],
            addresses: vec![address(3, "10.244.1.1/24")],
            routes: vec![
                ours("10.244.2.0/24", "172.29.0.3", "eth0"),
                crate::judge::stage::foreign("0.0.0.0/0", "eth0", Some("172.29.0.1")),
            ],
            tables: [
                "sealane",
                "sealane-guard",
                "sealane-up-a",
                "sealane-br-docker0",
                "sealanes",
                "filter",
                "kube-proxy",
            ]
            .map(loaded)
            .to_vec(),
            conflist: Some("/c/10-sealane.conflist".into()),
            plugin: Some("/b/sealane".into()),
            ..Found::default()
        }
    }

    fn shown(found: &Found, asked: Asked) -> Vec<String> {
        plan(found, asked).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pods_that_run_keep_what_they_need() {
        assert_eq!(
            shown(&found(), Asked::default()),
            [
                "remove /c/10-sealane.conflist",
                "delete nft table ip sealane",
                "delete nft table ip sealane-guard",
                "delete route 10.244.2.0/24 via 172.29.0.3 dev eth0 proto 94",
                "delete link sl.vxlan",
                "leave 1 links of pods that run, and what they need; --pods takes their network away",
            ]
        );
    }

    #[test]
    fn all_of_ours_goes_on_request_and_nothing_else() {
        let asked = Asked {
            pods: true,
            kube_proxy: true,
        };
        assert_eq!(
            shown(&found(), asked),
            [
                "remove /c/10-sealane.conflist",
                "remove /b/sealane",
                "delete nft table ip sealane",
                "delete nft table ip sealane-guard",
                "delete nft table ip kube-proxy",
                "delete route 10.244.2.0/24 via 172.29.0.3 dev eth0 proto 94",
                "delete link sl.vxlan",
                "delete link sl0123456789ab",
                "delete link cbr0",
            ]
        );
    }

    #[test]
    fn what_names_are_answered_with_goes_unless_somebody_answers() {
        let at = |text: &str, protocol| Address {
            protocol,
            ..address(1, text)
        };
        let mut found = Found {
            addresses: vec![
                at("10.96.0.10/32", names::DNS_PROTOCOL),
                at("169.254.20.10/32", 0),
                at("192.0.2.1/32", 0),
            ],
            tables: vec![loaded("sealane-dns")],
            ..Found::default()
        };
        assert_eq!(
            shown(&found, Asked::default()),
            [
                "delete nft table ip sealane-dns",
                "delete address 10.96.0.10/32",
                "delete address 169.254.20.10/32",
            ]
        );
        found.dns_runs = true;
        assert_eq!(
            shown(&found, Asked::default()),
            ["leave the addresses and rules of `sealane dns`, which runs"]
        );
    }

    #[test]
    fn a_bridge_that_is_not_ours_or_has_other_ports_stays() {
        let mut kubenet = found();
        kubenet.links.retain(|link| !names::is_pod_link(&link.name));
        kubenet.links[1].mac = Some(sealane_net::Mac([2; 6]));
        let steps = shown(&kubenet, Asked::default());
        assert!(
            steps
                .last()
                .unwrap()
                .starts_with("leave link cbr0, which another program"),
            "{steps:?}"
        );
        let mut used = found();
        used.links.retain(|link| !names::is_pod_link(&link.name));
        used.links[3].master = Some(3);
        let steps = shown(&used, Asked::default());
        assert_eq!(
            steps.last().unwrap(),
            "leave bridge cbr0, of which sl-other are ports"
        );
    }

    #[test]
    fn chains_of_kube_proxy_go_on_request_and_our_own_always() {
        let listing = |text: &str| Found {
            iptables: vec![Listing {
                prefix: "ip",
                variant: Variant::Nft,
                text: format!("*nat\n:KUBE-SERVICES - [0:0]\n{text}COMMIT\n"),
            }],
            ..Found::default()
        };
        assert_eq!(shown(&listing(""), Asked::default()), [""; 0]);
        assert_eq!(
            shown(&listing(":KUBE-SEALANE - [0:0]\n"), Asked::default()),
            ["delete 2 chains of Services by iptables-nft-restore"]
        );
    }

    #[test]
    fn of_a_clean_node_nothing_is_removed() {
        assert_eq!(
            shown(
                &Found::default(),
                Asked {
                    pods: true,
                    kube_proxy: true
                }
            ),
            [""; 0]
        );
    }
}
