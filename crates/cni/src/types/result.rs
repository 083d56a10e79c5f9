use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Version;

/// The result of ADD in the form of 1.1.0, CNI spec 1.1.0 §5.
///
/// Reading accepts every supported version, [`AddResult::to_value`] writes one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddResult {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Written even when empty, as the reference plugins do.
    #[serde(default)]
    pub dns: Dns,
}

/// A link that an attachment has made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace as `CNI_NETNS` gave it; empty for a link of the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Since 1.1.0.
    #[serde(
        default,
        rename = "socketPath",
        skip_serializing_if = "Option::is_none"
    )]
    pub socket_path: Option<String>,
    /// Since 1.1.0.
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// The address and the length of its subnet's prefix.
    pub address: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index in [`AddResult::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route of an attachment; the fields after `gw` exist since 1.1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub dst: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// What a container's resolver configuration should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// A route to `dst` through `gw`.
    pub fn via(dst: IpNet, gw: IpAddr) -> Self {
        Self {
            dst,
            gw: Some(gw),
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

impl AddResult {
    /// The object that a plugin prints in `version`.
    ///
    /// 0.3.1 and 0.4.0 want the family of each address; the fields that 1.1.0
    /// added are left out before it.
    pub fn to_value(&self, version: Version) -> Value {
        let mut narrowed = self.clone();
        if version < Version::V1_1_0 {
            narrowed.drop_fields_of_1_1_0();
        }
        let mut value = serde_json::to_value(narrowed).expect("a result has only text keys");
        value["cniVersion"] = version.as_str().into();
        if version < Version::V1_0_0 {
            for (ip, config) in self.ips.iter().enumerate() {
                let family = if config.address.addr().is_ipv4() {
                    "4"
                } else {
                    "6"
                };
                value["ips"][ip]["version"] = family.into();
            }
        }
        value
    }

    fn drop_fields_of_1_1_0(&mut self) {
        for interface in &mut self.interfaces {
            interface.mtu = None;
            interface.socket_path = None;
            interface.pci_id = None;
        }
        for route in &mut self.routes {
            (route.mtu, route.advmss, route.priority) = (None, None, None);
            (route.table, route.scope) = (None, None);
        }
    }

    /// Our own result behind that of the plugins before us in the chain.
    ///
    /// A chain must pass on what it was given (CNI spec 1.1.0 §2 ADD), so
    /// ours is appended and its interface indexes move up.
    pub fn appended_to(self, previous: Option<AddResult>) -> AddResult {
        let Some(mut all) = previous else {
            return self;
        };
        let offset = all.interfaces.len();
        all.interfaces.extend(self.interfaces);
        all.ips.extend(self.ips.into_iter().map(|ip| IpConfig {
            interface: ip.interface.map(|index| index + offset),
            ..ip
        }));
        all.routes.extend(self.routes);
        if all.dns.is_empty() {
            all.dns = self.dns;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result() -> AddResult {
        AddResult {
            interfaces: vec![
                Interface {
                    name: "sl0123456789".into(),
                    mac: "02:00:00:00:00:01".into(),
                    mtu: Some(1500),
                    ..Interface::default()
                },
                Interface {
                    name: "eth0".into(),
                    mac: "02:00:00:00:00:02".into(),
                    mtu: Some(1500),
                    sandbox: "/run/netns/a".into(),
                    ..Interface::default()
                },
            ],
            ips: vec![
                IpConfig {
                    address: "10.1.0.5/16".parse().unwrap(),
                    gateway: Some("10.1.0.1".parse().unwrap()),
                    interface: Some(1),
                },
                IpConfig {
                    address: "fd00::5/64".parse().unwrap(),
                    gateway: None,
                    interface: Some(1),
                },
            ],
            routes: vec![Route {
                mtu: Some(1400),
                ..Route::via("0.0.0.0/0".parse().unwrap(), "10.1.0.1".parse().unwrap())
            }],
            dns: Dns::default(),
        }
    }

    #[test]
    fn every_version_has_the_fields_of_its_specification() {
        let interfaces = json!([
            {"name": "sl0123456789", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"}
        ]);
        let route = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]);
        for version in [Version::V0_3_1, Version::V0_4_0] {
            assert_eq!(
                result().to_value(version),
                json!({
                    "cniVersion": version.as_str(),
                    "interfaces": interfaces,
                    "ips": [
                        {"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
                        {"version": "6", "address": "fd00::5/64", "interface": 1}
                    ],
                    "routes": route,
                    "dns": {}
                })
            );
        }
        let ips = json!([
            {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
            {"address": "fd00::5/64", "interface": 1}
        ]);
        assert_eq!(
            result().to_value(Version::V1_0_0),
            json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "routes": route, "dns": {}})
        );
        let latest = result().to_value(Version::V1_1_0);
        assert_eq!(latest["interfaces"][1]["mtu"], 1500);
        assert_eq!(latest["routes"][0]["mtu"], 1400);
        assert_eq!(latest["ips"], ips);
    }

    #[test]
    fn reads_back_what_it_wrote_less_what_the_version_lacks() {
        assert_eq!(
            serde_json::from_value::<AddResult>(result().to_value(Version::V1_1_0)).unwrap(),
            result()
        );
        let mut narrowed = result();
        narrowed.drop_fields_of_1_1_0();
        for version in [Version::V0_3_1, Version::V0_4_0, Version::V1_0_0] {
            assert_eq!(
                serde_json::from_value::<AddResult>(result().to_value(version)).unwrap(),
                narrowed
            );
        }
    }

    #[test]
    fn a_chain_keeps_what_came_before_and_moves_our_indexes_up() {
        let before = AddResult {
            interfaces: vec![Interface {
                name: "lo".into(),
                ..Interface::default()
            }],
            dns: Dns {
                domain: "first".into(),
                ..Dns::default()
            },
            ..AddResult::default()
        };
        let all = result().appended_to(Some(before));
        assert_eq!(all.interfaces.len(), 3);
        assert_eq!(all.interfaces[0].name, "lo");
        assert_eq!(all.ips[0].interface, Some(2));
        assert_eq!(all.dns.domain, "first");
    }
}
