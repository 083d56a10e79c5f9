//! The addresses and node ports of Services: which one gets which, and that no two get the same.
//!
//! What is taken is known from the Services in the store when the server starts, and kept up to
//! date with each write. A write reserves first, is committed, and then keeps or gives back; what
//! is between belongs to nobody else meanwhile.

mod families;
mod numbers;
mod range;
mod spec;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;
use numbers::{Numbers, Refused};
use range::{address, number, usable};
use serde_json::{Value, json};
use spec::{inherit, items, strip, texts, unchanged};

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
pub enum Item {
    /// A cluster address.
    Address(IpAddr),
    /// A node port.
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
