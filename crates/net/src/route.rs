use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Mtu;

/// A route of the main table, or of the one of our own: to a network, or one that says that there is none.
///
/// Two routes with the same destination and metric in a table are the same entry of the
/// kernel's table, one replacing the other. Written as `ip route` writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The network behind it; `0.0.0.0/0` and `::/0` are the default routes.
    pub destination: IpNet,
    /// The next hop; without it the destination is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The link's name; without it the kernel finds the link from the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The source address that the node itself uses towards the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The gateway is taken to be on the link although no address of the link says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// Who made it, by number as in `/etc/iproute2/rt_protos`; ours is [`crate::names::ROUTE_PROTOCOL`].
    pub protocol: u8,
    /// The largest packet that may take it; without one the link's MTU counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Lower wins. 0 leaves it to the kernel, which takes 0 for IPv4 and 1024 for IPv6.
    #[serde(default)]
    pub metric: u32,
    /// Nothing is there: who sends gets an ICMP message at once. Such a route has neither gateway nor link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
    /// The table: [`Route::MAIN`] or [`crate::names::ROUTE_TABLE`].
    #[serde(default = "main_table", skip_serializing_if = "is_main_table")]
    pub table: u8,
}

fn main_table() -> u8 {
    Route::MAIN
}

fn is_main_table(table: &u8) -> bool {
    *table == Route::MAIN
}

impl Route {
    /// The table that everybody uses.
    pub const MAIN: u8 = 254;

    /// A route of our own through a gateway.
    pub fn via(destination: IpNet, gateway: IpAddr) -> Self {
        Self {
            gateway: Some(gateway),
            ..Self::empty(destination)
        }
    }

    /// A route of our own to a network that is on a link.
    pub fn on_link(destination: IpNet, device: impl Into<String>) -> Self {
        Self {
            device: Some(device.into()),
            ..Self::empty(destination)
        }
    }

    /// A route of our own to nothing, taken when no other fits better.
    pub fn unreachable(destination: IpNet, metric: u32) -> Self {
        Self {
            unreachable: true,
            metric,
            ..Self::empty(destination)
        }
    }

    /// The same route, through a named link.
    pub fn dev(self, device: impl Into<String>) -> Self {
        Self {
            device: Some(device.into()),
            ..self
        }
    }

    fn empty(destination: IpNet) -> Self {
        Self {
            destination,
            gateway: None,
            device: None,
            source: None,
            onlink: false,
            protocol: crate::names::ROUTE_PROTOCOL,
            mtu: None,
            metric: 0,
            unreachable: false,
            table: Self::MAIN,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unreachable {
            f.write_str("unreachable ")?;
        }
        if self.destination.prefix_len() == 0 {
            f.write_str("default")?;
        } else if self.destination.prefix_len() == self.destination.max_prefix_len() {
            write!(f, "{}", self.destination.addr())?;
        } else {
            write!(f, "{}", self.destination)?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " dev {device}")?;
        }
        if self.table != Self::MAIN {
            write!(f, " table {}", self.table)?;
        }
        write!(f, " proto {}", self.protocol)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_ip_route_writes_it() {
        let pods = Route::via(
            "10.244.2.0/24".parse().unwrap(),
            "172.29.0.3".parse().unwrap(),
        )
        .dev("eth0");
        let default = Route::via("0.0.0.0/0".parse().unwrap(), "10.244.1.1".parse().unwrap());
        let pod = Route {
            source: Some("fd00::1".parse().unwrap()),
            metric: 1024,
            ..Route::on_link("fd00::5/128".parse().unwrap(), "sl0123")
        };
        let overlay = Route {
            onlink: true,
            mtu: Some(Mtu::ETHERNET.inside_tunnel(50)),
            ..pods.clone()
        };
        let to_node = Route {
            table: crate::names::ROUTE_TABLE,
            ..Route::via(
                "172.30.0.4/32".parse().unwrap(),
                "10.244.3.1".parse().unwrap(),
            )
        };
        let nobody = Route::unreachable("10.244.1.0/24".parse().unwrap(), 9400);
        for (route, text) in [
            (&nobody, "unreachable 10.244.1.0/24 proto 94 metric 9400"),
            (&to_node, "172.30.0.4 via 10.244.3.1 table 94 proto 94"),
            (&pods, "10.244.2.0/24 via 172.29.0.3 dev eth0 proto 94"),
            (&default, "default via 10.244.1.1 proto 94"),
            (&pod, "fd00::5 dev sl0123 proto 94 src fd00::1 metric 1024"),
            (
                &overlay,
                "10.244.2.0/24 via 172.29.0.3 dev eth0 proto 94 onlink mtu 1450",
            ),
        ] {
            assert_eq!(route.to_string(), text);
            let json = serde_json::to_string(route).unwrap();
            assert_eq!(&serde_json::from_str::<Route>(&json).unwrap(), route);
        }
    }
}
