//! The addresses and node ports of Services: which one gets which, and that no two get the same.
//!
//! What is taken is known from the Services in the store when the server starts, and kept up to
//! date with each write. A write reserves first, is committed, and then keeps or gives back; what
//! is between belongs to nobody else meanwhile.

mod families;
mod numbers;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;
use numbers::{Numbers, Refused};
use serde_json::{Value, json};

use crate::{
    check::Findings,
    kinds::SERVICE,
    object::{self, elements_mut},
    options::PortRange,
    status::ApiError,
};

/// All addresses and node ports there are.
#[derive(Debug)]
pub struct ServiceAddresses {
    ranges: Vec<IpNet>,
    ports: PortRange,
    pools: Mutex<Pools>,
}

#[derive(Debug)]
struct Pools {
    addresses: Vec<Numbers>,
    ports: Numbers,
}

/// An address or a node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Address(IpAddr),
    Port(u16),
}

/// What a write has reserved. Dropped, it is given back.
#[derive(Debug)]
#[must_use = "what is reserved is given back when this is dropped"]
pub struct Reservation<'a> {
    of: &'a ServiceAddresses,
    reserved: Vec<Item>,
    /// What the object had and will no longer have.
    left: Vec<Item>,
}

impl Reservation<'_> {
    /// The write is done: what it reserved is the object's, what it no longer has is free.
    pub fn keep(mut self) {
        self.reserved.clear();
        self.of.give_back(&std::mem::take(&mut self.left));
    }

    /// Nobody knows whether the write is done: nothing becomes free before the next start.
    pub fn forget(mut self) {
        self.reserved.clear();
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.of.give_back(&self.reserved);
    }
}

impl ServiceAddresses {
    /// Pools of these ranges, without what `services` have.
    pub fn new(ranges: &[IpNet], ports: PortRange, services: impl Iterator<Item = Value>) -> Self {
        let addresses = ranges
            .iter()
            .map(|range| Numbers::new(usable(range)))
            .collect();
        let size = u128::from(ports.end() - ports.start()) + 1;
        let pools = Mutex::new(Pools {
            addresses,
            ports: Numbers::new(size),
        });
        let all = Self {
            ranges: ranges.to_vec(),
            ports,
            pools,
        };
        for service in services {
            for item in items(&service) {
                // One that is outside of the range or double stays as it is: it cannot be helped.
                let _ = all.take(item);
            }
        }
        all
    }

    /// The first address of the first range, which is the API server's own.
    pub fn first(&self) -> Option<IpAddr> {
        self.ranges.first().and_then(|range| address(range, 0))
    }

    /// Gives a Service its addresses and ports, and reserves them.
    ///
    /// # Errors
    ///
    /// 422 for addresses and ports that it cannot have or change; 500 if a pool is used up.
    pub fn admit(&self, new: &mut Value, old: Option<&Value>) -> Result<Reservation<'_>, ApiError> {
        let mut findings = Findings::default();
        if let Some(old) = old {
            inherit(new, old);
        }
        let mut reservation = Reservation {
            of: self,
            reserved: Vec::new(),
            left: Vec::new(),
        };
        let had = old.map(items).unwrap_or_default();
        let spec = &mut new["spec"];
        if spec["type"] == "ExternalName" {
            strip(spec);
        } else {
            families::settle(spec, &self.ranges, &mut findings);
            if findings.is_empty() {
                self.addresses(spec, &had, &mut reservation, &mut findings)?;
                self.node_ports(spec, &had, &mut reservation, &mut findings)?;
            }
        }
        if let Some(old) = old {
            unchanged(new, old, &mut findings);
        }
        if !findings.is_empty() {
            let name = object::name(new);
            return Err(ApiError::invalid(
                SERVICE.kind,
                SERVICE.group,
                name,
                &findings,
            ));
        }
        let has = items(new);
        reservation.left = had.into_iter().filter(|item| !has.contains(item)).collect();
        Ok(reservation)
    }

    /// Frees what a removed Service had.
    pub fn removed(&self, service: &Value) {
        self.give_back(&items(service));
    }

    fn addresses(
        &self,
        spec: &mut Value,
        had: &[Item],
        reservation: &mut Reservation<'_>,
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        if spec["clusterIP"] == "None" {
            return Ok(());
        }
        let families: Vec<String> = texts(&spec["ipFamilies"]);
        let mut addresses = texts(&spec["clusterIPs"]);
        for (index, family) in families.iter().enumerate() {
            if let Some(given) = addresses.get(index) {
                let Ok(address) = given.parse() else { continue };
                if had.contains(&Item::Address(address)) {
                    continue;
                }
                match self.take(Item::Address(address)) {
                    Ok(()) => reservation.reserved.push(Item::Address(address)),
                    Err(refused) => {
                        let why = self.refusal(family, given, refused);
                        findings.invalid("spec.clusterIPs", &spec["clusterIPs"], why);
                    }
                }
                continue;
            }
            let address = self.hand_out_address(family).ok_or_else(|| {
                ApiError::internal(format!(
                    "failed to allocate a serviceIP: range is full ({family})"
                ))
            })?;
            reservation.reserved.push(Item::Address(address));
            addresses.push(address.to_string());
        }
        if let Some(first) = addresses.first() {
            spec["clusterIP"] = first.as_str().into();
            spec["clusterIPs"] = json!(addresses);
        }
        Ok(())
    }

    fn refusal(&self, family: &str, given: &str, refused: Refused) -> String {
        match refused {
            Refused::Taken => {
                format!("failed to allocate IP {given}: provided IP is already allocated")
            }
            Refused::Outside => {
                let range = self
                    .ranges
                    .iter()
                    .find(|range| families::of(range) == family);
                let range = range.map(ToString::to_string).unwrap_or_default();
                format!(
                    "failed to allocate IP {given}: the provided IP ({given}) is not in the valid \
                     range. The range of valid IPs is {range}"
                )
            }
        }
    }

    fn node_ports(
        &self,
        spec: &mut Value,
        had: &[Item],
        reservation: &mut Reservation<'_>,
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        let wanted = match spec["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != json!(false),
            _ => false,
        };
        let mut own: Vec<u16> = Vec::new();
        for (index, port) in elements_mut(spec, "ports").enumerate() {
            let given = port["nodePort"].as_u64().unwrap_or(0);
            if given == 0 && !wanted {
                continue;
            }
            if given == 0 {
                let number = self.hand_out_port().ok_or_else(|| {
                    ApiError::internal("failed to allocate a nodePort: range is full")
                })?;
                reservation.reserved.push(Item::Port(number));
                port["nodePort"] = number.into();
                continue;
            }
            let Ok(number) = u16::try_from(given) else {
                continue;
            };
            // Two protocols of one Service may share a node port.
            if had.contains(&Item::Port(number)) || own.contains(&number) {
                continue;
            }
            own.push(number);
            match self.take(Item::Port(number)) {
                Ok(()) => reservation.reserved.push(Item::Port(number)),
                Err(refused) => {
                    let why = match refused {
                        Refused::Taken => "provided port is already allocated".into(),
                        Refused::Outside => {
                            let (first, last) = (self.ports.start(), self.ports.end());
                            format!(
                                "provided port is not in the valid range. The range of valid \
                                 ports is {first}-{last}"
                            )
                        }
                    };
                    let field = format!("spec.ports[{index}].nodePort");
                    findings.invalid(field, &json!(number), why);
                }
            }
        }
        Ok(())
    }

    fn hand_out_address(&self, family: &str) -> Option<IpAddr> {
        let at = self
            .ranges
            .iter()
            .position(|range| families::of(range) == family)?;
        let mut pools = self.lock();
        address(&self.ranges[at], pools.addresses[at].hand_out()?)
    }

    fn hand_out_port(&self) -> Option<u16> {
        let offset = u16::try_from(self.lock().ports.hand_out()?).ok()?;
        self.ports.start().checked_add(offset)
    }

    fn take(&self, item: Item) -> Result<(), Refused> {
        let mut pools = self.lock();
        match (item, self.place(item)) {
            (Item::Address(_), Some((at, offset))) => pools.addresses[at].take(offset),
            (Item::Port(_), Some((_, offset))) => pools.ports.take(offset),
            (_, None) => Err(Refused::Outside),
        }
    }

    fn give_back(&self, items: &[Item]) {
        let mut pools = self.lock();
        for item in items {
            match (item, self.place(*item)) {
                (Item::Address(_), Some((at, offset))) => pools.addresses[at].give_back(offset),
                (Item::Port(_), Some((_, offset))) => pools.ports.give_back(offset),
                (_, None) => {}
            }
        }
    }

    /// The pool of an item, and its number there.
    fn place(&self, item: Item) -> Option<(usize, u128)> {
        match item {
            Item::Address(address) => {
                let at = self
                    .ranges
                    .iter()
                    .position(|range| range.contains(&address))?;
                let offset = number(address).checked_sub(number(self.ranges[at].network()))?;
                Some((at, offset.checked_sub(1)?))
            }
            Item::Port(port) => Some((0, port.checked_sub(*self.ports.start())?.into())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of addresses that can be used: not the first, nor the last of IPv4.
fn usable(range: &IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
    all.saturating_sub(if range.network().is_ipv4() { 2 } else { 1 })
}

/// The address at an offset from the first that can be used.
fn address(range: &IpNet, offset: u128) -> Option<IpAddr> {
    let number = number(range.network())
        .checked_add(offset)?
        .checked_add(1)?;
    Some(match range {
        IpNet::V4(_) => IpAddr::V4(u32::try_from(number).ok()?.into()),
        IpNet::V6(_) => IpAddr::V6(number.into()),
    })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|text| text.as_str())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The addresses and node ports that a Service has.
fn items(service: &Value) -> Vec<Item> {
    let addresses = texts(&service["spec"]["clusterIPs"]);
    let addresses = addresses
        .iter()
        .filter_map(|text| text.parse().ok())
        .map(Item::Address);
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok());
    let mut items: Vec<Item> = addresses
        .chain(ports.filter(|port| *port > 0).map(Item::Port))
        .collect();
    items.dedup();
    items
}

/// A Service without a cluster address keeps none.
fn strip(spec: &mut Value) {
    for port in elements_mut(spec, "ports") {
        port.as_object_mut().map(|port| port.remove("nodePort"));
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
    }
}

/// An update that says nothing of what was allocated keeps it.
fn inherit(new: &mut Value, old: &Value) {
    let (is, was) = (kind_of(new).to_owned(), kind_of(old));
    if is == "ExternalName" || was == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let (value, before) = (&new["spec"][field], &old["spec"][field]);
        if (value.is_null() || *value == "" || *value == json!([])) && !before.is_null() {
            new["spec"][field] = before.clone();
        }
    }
    let (to_cluster_ip, before) = (is == "ClusterIP", old["spec"]["ports"].as_array());
    let before = before.cloned().unwrap_or_default();
    for port in elements_mut(&mut new["spec"], "ports") {
        let same = before
            .iter()
            .find(|one| one["port"] == port["port"] && one["protocol"] == port["protocol"]);
        if to_cluster_ip {
            // A Service that no longer has node ports need not say so of each.
            let kept = same.is_some_and(|same| same["nodePort"] == port["nodePort"]);
            if kept && let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
            continue;
        }
        if port["nodePort"].as_u64().unwrap_or(0) == 0
            && let Some(same) = same.filter(|same| !same["nodePort"].is_null())
        {
            port["nodePort"] = same["nodePort"].clone();
        }
    }
}

fn kind_of(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

/// The first address stays once it is set.
fn unchanged(new: &Value, old: &Value, findings: &mut Findings) {
    if kind_of(new) == "ExternalName" || kind_of(old) == "ExternalName" {
        return;
    }
    let (is, was) = (&new["spec"]["clusterIPs"], &old["spec"]["clusterIPs"]);
    if !was[0].is_null() && is[0] != was[0] {
        findings.invalid("spec.clusterIPs[0]", is, "may not change once set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ranges: &[&str]) -> ServiceAddresses {
        let ranges: Vec<IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        ServiceAddresses::new(&ranges, 30000..=30031, std::iter::empty())
    }

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    /// Admits and keeps.
    fn admit(of: &ServiceAddresses, spec: Value, old: Option<&Value>) -> Result<Value, String> {
        let mut new = service(spec);
        let reservation = of.admit(&mut new, old).map_err(|error| error.message)?;
        reservation.keep();
        Ok(new)
    }

    #[test]
    fn services_get_addresses_of_their_families() {
        let two = all(&["10.96.0.0/12", "fd00:10:96::/112"]);
        let single = admit(&two, json!({"ports": []}), None).unwrap();
        assert_eq!(single["spec"]["clusterIP"], "10.96.1.1");
        assert_eq!(single["spec"]["clusterIPs"], json!(["10.96.1.1"]));
        assert_eq!(single["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(single["spec"]["ipFamilyPolicy"], "SingleStack");
        let dual = admit(&two, json!({"ipFamilyPolicy": "RequireDualStack"}), None).unwrap();
        assert_eq!(
            dual["spec"]["clusterIPs"],
            json!(["10.96.1.2", "fd00:10:96::101"])
        );
        let six = admit(&two, json!({"ipFamilies": ["IPv6"]}), None).unwrap();
        assert_eq!(six["spec"]["clusterIP"], "fd00:10:96::102");
        let one = all(&["10.96.0.0/12"]);
        let prefer = admit(&one, json!({"ipFamilyPolicy": "PreferDualStack"}), None).unwrap();
        assert_eq!(prefer["spec"]["ipFamilies"], json!(["IPv4"]));
        let refused = admit(&one, json!({"ipFamilyPolicy": "RequireDualStack"}), None).unwrap_err();
        assert!(
            refused.contains("this cluster is not configured for dual-stack services"),
            "{refused}"
        );
    }

    #[test]
    fn chosen_addresses_are_checked() {
        let of = all(&["10.96.0.0/24"]);
        assert_eq!(of.first().unwrap().to_string(), "10.96.0.1");
        let dns = admit(&of, json!({"clusterIP": "10.96.0.10"}), None).unwrap();
        assert_eq!(dns["spec"]["clusterIPs"], json!(["10.96.0.10"]));
        for (address, why) in [
            ("10.96.0.10", "provided IP is already allocated"),
            ("10.97.0.1", "The range of valid IPs is 10.96.0.0/24"),
            ("10.96.0.255", "not in the valid range"),
            ("10.96.0.0", "not in the valid range"),
            ("x", "must be a valid IP address"),
        ] {
            let refused = admit(&of, json!({"clusterIP": address}), None).unwrap_err();
            assert!(refused.contains(why), "{address}: {refused}");
        }
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let of = all(&["10.96.0.0/24"]);
        let mut tried = service(json!({"clusterIP": "10.96.0.9"}));
        drop(of.admit(&mut tried, None).unwrap());
        let kept = admit(&of, json!({"clusterIP": "10.96.0.9"}), None).unwrap();
        assert!(admit(&of, json!({"clusterIP": "10.96.0.9"}), None).is_err());
        of.removed(&kept);
        assert!(admit(&of, json!({"clusterIP": "10.96.0.9"}), None).is_ok());
    }

    #[test]
    fn updates_keep_what_they_do_not_name() {
        let of = all(&["10.96.0.0/24"]);
        let ports = json!([{"port": 80, "protocol": "TCP"}]);
        let old = admit(&of, json!({"type": "NodePort", "ports": ports}), None).unwrap();
        let port = old["spec"]["ports"][0]["nodePort"].clone();
        assert!(
            port.as_u64()
                .is_some_and(|port| (30000..=30031).contains(&port))
        );
        let new = admit(&of, json!({"type": "NodePort", "ports": ports}), Some(&old)).unwrap();
        assert_eq!(new["spec"], old["spec"]);
        let refused = admit(
            &of,
            json!({"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}),
            Some(&old),
        );
        assert!(refused.unwrap_err().contains("may not change once set"));
        let plain = admit(
            &of,
            json!({"type": "ClusterIP", "ports": ports}),
            Some(&old),
        )
        .unwrap();
        assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
        let again = json!([{"port": 1, "nodePort": port}]);
        assert!(admit(&of, json!({"type": "NodePort", "ports": again}), None).is_ok());
        let name = admit(
            &of,
            json!({"type": "ExternalName", "externalName": "x"}),
            Some(&plain),
        )
        .unwrap();
        assert_eq!(name["spec"].get("clusterIP"), None);
    }

    #[test]
    fn headless_services_have_none() {
        let of = all(&["10.96.0.0/24"]);
        let headless = admit(&of, json!({"clusterIP": "None"}), None).unwrap();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        assert_eq!(headless["spec"]["ipFamilies"], json!(["IPv4"]));
    }

    #[test]
    fn a_restart_knows_what_is_taken() {
        let had = service(json!({"clusterIPs": ["10.96.0.5"], "ports": [{"nodePort": 30007}]}));
        let range = ["10.96.0.0/24".parse().unwrap()];
        let of = ServiceAddresses::new(&range, 30000..=30031, std::iter::once(had));
        assert!(admit(&of, json!({"clusterIP": "10.96.0.5"}), None).is_err());
        let ports = json!([{"port": 1, "nodePort": 30007}]);
        assert!(admit(&of, json!({"type": "NodePort", "ports": ports}), None).is_err());
    }
}
