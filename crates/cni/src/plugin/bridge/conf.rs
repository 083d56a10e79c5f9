//! The keys of mode `bridge`.

use std::path::PathBuf;

use sealane_ipam::Pool;
use sealane_net::{IpNet, Mtu};
use serde::Deserialize;
use serde_json::Value;

use crate::types::{CniError, code};

const BRIDGE: &str = "docker0";
const SUBNET: &str = "172.17.0.0/16";
const DATA_DIR: &str = "/var/lib/sealane/bridge";
const NEXT: &str = "correct the network's configuration (docs/cni.md)";

/// Keys as they stand in the JSON text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    bridge: Option<String>,
    subnet: Option<String>,
    subnets: Option<Vec<String>>,
    mtu: Option<u32>,
    ip_masq: Option<bool>,
    data_dir: Option<PathBuf>,
}

/// What a bridge is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConf {
    /// The link's name.
    pub bridge: String,
    /// One of each family at most; the first address of each is the bridge's.
    pub subnets: Vec<IpNet>,
    /// `None`: that of the link with the default route.
    pub mtu: Option<Mtu>,
    /// Whether containers leave with the host's address.
    pub masquerade: bool,
    /// Folder of leases, one below it for each network.
    pub data_dir: PathBuf,
}

impl BridgeConf {
    /// Reads and checks them.
    ///
    /// # Errors
    /// Code 6 for a key of another type, 7 for a value that cannot be used.
    pub fn parse(conf: &Value) -> Result<Self, CniError> {
        let fields: Fields = serde_json::from_value(conf.clone()).map_err(|error| {
            CniError::new(
                code::DECODE_FAILURE,
                format!("read network configuration: {error}"),
            )
            .with_details(NEXT)
        })?;
        let listed = fields.subnets.unwrap_or_default();
        let given: Vec<String> = fields.subnet.into_iter().chain(listed).collect();
        let texts = if given.is_empty() {
            vec![SUBNET.to_owned()]
        } else {
            given
        };
        let conf = Self {
            bridge: fields.bridge.unwrap_or_else(|| BRIDGE.to_owned()),
            subnets: texts
                .iter()
                .map(|text| subnet(text))
                .collect::<Result<_, _>>()?,
            mtu: fields.mtu.map(mtu).transpose()?,
            masquerade: fields.ip_masq.unwrap_or(true),
            data_dir: fields.data_dir.unwrap_or_else(|| DATA_DIR.into()),
        };
        conf.check()?;
        Ok(conf)
    }

    fn check(&self) -> Result<(), CniError> {
        let name = &self.bridge;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 15 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(invalid(format!(
                "bridge is {name:?}, expected the name of a link, at most 15 letters, digits, '-', '_' or '.'"
            )));
        }
        if !self.data_dir.is_absolute() {
            return Err(invalid(format!(
                "dataDir is {:?}, expected an absolute path",
                self.data_dir
            )));
        }
        for (n, one) in self.subnets.iter().enumerate() {
            let v4 = one.addr().is_ipv4();
            if let Some(other) = self.subnets[..n].iter().find(|o| o.addr().is_ipv4() == v4) {
                let overlap = other.contains(one) || one.contains(other);
                let why = if overlap {
                    "overlap"
                } else {
                    "are of one family"
                };
                return Err(invalid(format!(
                    "subnets {other} and {one} {why}, expected at most one of IPv4 and one of IPv6"
                )));
            }
        }
        Ok(())
    }
}

fn subnet(text: &str) -> Result<IpNet, CniError> {
    let subnet: IpNet = text.parse().map_err(|_| {
        invalid(format!(
            "subnet is {text:?}, expected one such as {SUBNET} or fd00:17::/64"
        ))
    })?;
    // Says which prefix would do.
    Pool::new(subnet, []).map_err(|error| invalid(error.to_string()))?;
    Ok(subnet.trunc())
}

fn mtu(bytes: u32) -> Result<Mtu, CniError> {
    Mtu::new(bytes).ok().ok_or_else(|| {
        invalid(format!(
            "mtu is {bytes}, expected {} to {}",
            Mtu::MIN,
            Mtu::MAX
        ))
    })
}

fn invalid(msg: String) -> CniError {
    CniError::new(code::INVALID_CONFIG, msg).with_details(NEXT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_dockers_bridge_unless_told_otherwise() {
        let conf = BridgeConf::parse(&json!({"type": "sealane", "mode": "bridge"})).unwrap();
        assert_eq!((&*conf.bridge, conf.masquerade), ("docker0", true));
        assert_eq!(conf.subnets, ["172.17.0.0/16".parse().unwrap()]);
        let conf = BridgeConf::parse(&json!({
            "bridge": "br7", "subnets": ["10.7.0.9/24", "fd07::/64"], "mtu": 1400, "ipMasq": false
        }));
        let conf = conf.unwrap();
        assert_eq!(conf.subnets[0].to_string(), "10.7.0.0/24");
        assert_eq!(conf.mtu.unwrap().bytes(), 1400);
    }

    #[test]
    fn refuses_what_it_cannot_use_by_name() {
        for (conf, code, part) in [
            (json!({"bridge": "a/b"}), 7, "a/b"),
            (json!({"bridge": ".."}), 7, ".."),
            (json!({"bridge": "a-name-too-long-"}), 7, "at most 15"),
            (json!({"bridge": 7}), 6, "expected a string"),
            (json!({"subnet": "10.0.0.0"}), 7, "10.0.0.0"),
            (json!({"subnet": "10.0.0.0/31"}), 7, "at most /30"),
            (
                json!({"subnets": ["10.0.0.0/16", "10.0.1.0/24"]}),
                7,
                "overlap",
            ),
            (
                json!({"subnets": ["10.0.0.0/24", "10.0.1.0/24"]}),
                7,
                "one family",
            ),
            (json!({"mtu": 10}), 7, "mtu"),
            (json!({"dataDir": "data"}), 7, "absolute"),
        ] {
            let error = BridgeConf::parse(&conf).unwrap_err();
            assert_eq!(error.code, code, "{conf}: {error}");
            assert!(error.msg.contains(part), "{conf}: {error}");
        }
    }
}
