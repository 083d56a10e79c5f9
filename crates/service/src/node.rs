use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use sealane_net::{Family, IpNet};
use serde::{Serialize, Serializer};

/// What the decisions depend on besides the API's Services and slices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// `.metadata.name` of this node: endpoints with this `nodeName` are local.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// All addresses at which others reach this node: pods' host ports are served there.
    pub host_addresses: Vec<IpAddr>,
    /// The addresses at which this node serves node ports.
    pub node_port_addresses: Vec<IpAddr>,
    /// The pod subnets of this node: who sends from there is a pod.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    /// Whether `.spec.externalIPs` are served. Off unless asked for: whoever may write a Service could take
    /// any address for himself (CVE-2020-8554).
    #[serde(rename = "externalIPs")]
    pub external_ips: bool,
}

impl NodeFacts {
    pub(crate) fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let addresses = self.node_port_addresses.iter().copied();
        addresses.filter(move |address| Family::from(*address) == family)
    }
}

/// At which of the node's addresses node ports are served: kube-proxy's `--nodeport-addresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// At all of them, and at 127.0.0.1.
    #[default]
    All,
    /// At those that the Node object names first of each family.
    Primary,
    /// At those within these ranges; a family without any range is served at all of them.
    Within(Vec<IpNet>),
}

/// What is not a choice of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither `primary` alone nor ranges such as 192.168.0.0/16, with a comma between two"
)]
pub struct NotAddresses(String);

impl NodePortAddresses {
    const PRIMARY: &str = "primary";

    /// Whether node ports are served at an address of this node, whose Node object names `primary`.
    pub fn has(&self, address: IpAddr, primary: &[IpAddr]) -> bool {
        let family = Family::from(address);
        match self {
            Self::All => true,
            Self::Primary => {
                let first = primary.iter().find(|ip| Family::from(**ip) == family);
                first == Some(&address)
            }
            Self::Within(ranges) => {
                let mut of_family = ranges.iter().filter(|r| Family::from(**r) == family);
                let any = of_family.clone().next().is_some();
                !any || of_family.any(|range| range.contains(&address))
            }
        }
    }

    /// Where a process of this node reaches node ports by rules, and others cannot: IPv4 alone, since Linux routes
    /// nothing from `::1` to another link and back.
    pub fn loopback(&self) -> Option<IpAddr> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.has(loopback, &[]).then_some(loopback)
    }
}

impl FromStr for NodePortAddresses {
    type Err = NotAddresses;

    fn from_str(text: &str) -> Result<Self, NotAddresses> {
        match text.trim() {
            "" => return Ok(Self::All),
            Self::PRIMARY => return Ok(Self::Primary),
            _ => {}
        }
        let ranges = text.split(',').map(|range| range.trim().parse::<IpNet>());
        let ranges: Result<Vec<_>, _> = ranges.collect();
        let ranges = ranges.map_err(|_| NotAddresses(text.to_owned()))?;
        Ok(Self::Within(ranges))
    }
}

impl fmt::Display for NodePortAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Primary => f.write_str(Self::PRIMARY),
            Self::Within(ranges) => {
                let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

impl Serialize for NodePortAddresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ports_are_served_where_it_was_asked_for() {
        let primary: Vec<IpAddr> = ["172.29.0.2", "fd00::2"]
            .map(|ip| ip.parse().unwrap())
            .into();
        let addresses = [
            "172.29.0.2",
            "192.168.7.9",
            "fd00::2",
            "fd00::3",
            "127.0.0.1",
        ];
        for (text, expected) in [
            ("", "172.29.0.2 192.168.7.9 fd00::2 fd00::3 127.0.0.1"),
            ("primary", "172.29.0.2 fd00::2"),
            ("192.168.0.0/16", "192.168.7.9 fd00::2 fd00::3"),
            ("127.0.0.0/8, fd00::3/128", "fd00::3 127.0.0.1"),
            (
                "0.0.0.0/0",
                "172.29.0.2 192.168.7.9 fd00::2 fd00::3 127.0.0.1",
            ),
        ] {
            let asked: NodePortAddresses = text.parse().unwrap();
            let served = addresses
                .into_iter()
                .filter(|ip| asked.has(ip.parse().unwrap(), &primary));
            assert_eq!(served.collect::<Vec<_>>().join(" "), expected, "{text}");
            let again: NodePortAddresses = asked.to_string().parse().unwrap();
            assert_eq!(again, asked);
        }
        for bad in ["primary,10.0.0.0/8", "10.0.0.0", "all"] {
            assert!(bad.parse::<NodePortAddresses>().is_err(), "{bad}");
        }
    }
}
