//! The addresses and node ports of Services: which one gets which, and that no two get the same.
//!
//! ```text
//!   ServiceCIDRs ──► ranges ─┐
//!   IPAddresses ──► taken ───┼─► admit ─► Reservation ─► one write: Service + its IPAddresses
//!   node ports in use ───────┘
//!                  keeper: finalizers and conditions of ServiceCIDRs; repair of IPAddresses
//! ```
//!
//! An address is taken if there is an IPAddress of its name, whoever made it; a Service and its
//! IPAddresses are written at once, so neither is ever without the other. Which node ports are
//! taken is known from the Services in the store when the server starts, and kept up to date with
//! each write. A write reserves first, is committed, and then keeps or gives back; what is between
//! belongs to nobody else meanwhile.

mod change;
mod families;
mod keeper;
mod numbers;
mod objects;
mod pools;
mod ports;
mod range;
mod repair;
mod service_cidrs;
pub mod spec;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use numbers::Refused;
use pools::Pools;
use serde_json::{Value, json};
use spec::texts;

pub use families::of_address as family_of;
pub use keeper::run;
pub use objects::{release, reserve};
pub use repair::repair;
pub use service_cidrs::ranges;

use crate::{check::Findings, kinds::SERVICE, object, options::PortRange, status::ApiError};

/// All addresses and node ports there are.
#[derive(Debug)]
pub struct ServiceAddresses {
    /// The ranges that the cluster began with: their families are those that it has.
    first: Vec<IpNet>,
    ports: PortRange,
    pools: Mutex<Pools>,
}

/// What there is at the moment, by the objects in the store.
pub struct View<'a> {
    /// The ranges that addresses are handed out from.
    pub ranges: Vec<IpNet>,
    /// Whether an address belongs to somebody.
    pub is_taken: &'a dyn Fn(IpAddr) -> bool,
}

/// What a write has reserved. Dropped, it is given back.
#[derive(Debug)]
#[must_use = "what is reserved is given back when this is dropped"]
pub struct Reservation<'a> {
    of: &'a ServiceAddresses,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    /// What the object had and will no longer have.
    left_addresses: Vec<IpAddr>,
    left_ports: Vec<u16>,
}

impl Reservation<'_> {
    /// The addresses that are new to the Service.
    pub fn new_addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The addresses that it has no longer.
    pub fn left_addresses(&self) -> &[IpAddr] {
        &self.left_addresses
    }

    /// The write is done: what it reserved is the object's, what it no longer has is free.
    pub fn keep(mut self) {
        self.ports = std::mem::take(&mut self.left_ports);
    }

    /// Nobody knows whether the write is done: nothing becomes free before the next start.
    pub fn forget(mut self) {
        self.addresses.clear();
        self.ports.clear();
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.of.lock().give_back(&self.addresses, &self.ports);
    }
}

impl ServiceAddresses {
    /// Pools of these ranges and ports, without the ports that `services` have.
    pub fn new(first: &[IpNet], ports: PortRange, services: impl Iterator<Item = Value>) -> Self {
        let mut pools = Pools::new(&ports);
        for service in services {
            for port in spec::all_node_ports(&service["spec"]) {
                // One that is outside of the range or double stays as it is: it cannot be helped.
                let _ = pools.take_port(port);
            }
        }
        Self {
            first: first.to_vec(),
            ports,
            pools: Mutex::new(pools),
        }
    }

    /// The first address of the first range, which is the API server's own.
    pub fn first(&self) -> Option<IpAddr> {
        self.first
            .first()
            .and_then(|first| range::address(first, 0))
    }

    /// The node ports that there are.
    pub fn ports(&self) -> &PortRange {
        &self.ports
    }

    /// Gives a Service its addresses and ports, and reserves them.
    ///
    /// # Errors
    ///
    /// 422 for addresses and ports that it cannot have or change; 500 if a pool is used up.
    pub fn admit(
        &self,
        view: &View<'_>,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reservation<'_>, ApiError> {
        let mut findings = Findings::default();
        let old_spec = old.map(|old| &old["spec"]);
        let spec = &mut new["spec"];
        if let Some(old) = old_spec {
            change::keep(spec, old);
        }
        change::align(spec, old_spec);
        if let Some(old) = old_spec {
            change::drop_unused(spec, old);
        }
        let served: Vec<&str> = self.first.iter().map(families::of).collect();
        families::settle(spec, old_spec, &served, &mut findings);
        let mut reservation = self.nothing();
        if findings.is_empty() && spec::needs_cluster_ip(spec) {
            self.addresses(view, spec, old_spec, &mut reservation, &mut findings)?;
        }
        if findings.is_empty() {
            self.node_ports(spec, old_spec, &mut reservation, &mut findings)?;
        }
        if spec::kind(spec) != "LoadBalancer" && !new["status"]["loadBalancer"].is_null() {
            new["status"]["loadBalancer"] = json!({});
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
        if let Some(old) = old_spec {
            let spec = &new["spec"];
            let ports = &spec::all_node_ports(old) - &spec::all_node_ports(spec);
            reservation.left_ports = ports.into_iter().collect();
            let addresses = &spec::addresses(old) - &spec::addresses(spec);
            reservation.left_addresses = addresses.into_iter().collect();
        }
        Ok(reservation)
    }

    /// Frees the ports that a removed Service had. Its addresses are free with their objects.
    pub fn removed(&self, service: &Value) {
        let ports: Vec<u16> = spec::all_node_ports(&service["spec"]).into_iter().collect();
        self.lock().give_back(&[], &ports);
    }

    /// Whether a write that has not been committed yet has an address of this range.
    pub fn is_reserved_in(&self, range: &IpNet) -> bool {
        self.lock().is_reserved_in(range)
    }

    fn nothing(&self) -> Reservation<'_> {
        Reservation {
            of: self,
            addresses: Vec::new(),
            ports: Vec::new(),
            left_addresses: Vec::new(),
            left_ports: Vec::new(),
        }
    }

    fn addresses(
        &self,
        view: &View<'_>,
        spec: &mut Value,
        old: Option<&Value>,
        reservation: &mut Reservation<'_>,
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        if spec::is_headless(spec) {
            return Ok(());
        }
        let had = old.map(spec::addresses).unwrap_or_default();
        let mut addresses = texts(&spec["clusterIPs"]);
        for (index, family) in texts(&spec["ipFamilies"]).iter().enumerate() {
            match addresses.get(index) {
                None => {
                    let address = self.lock().hand_out_address(view, family);
                    let address = address.ok_or_else(|| {
                        ApiError::internal("failed to allocate a serviceIP: range is full")
                    })?;
                    reservation.addresses.push(address);
                    addresses.push(address.to_string());
                }
                Some(given) => self.chosen(view, given, &had, reservation, findings),
            }
        }
        if let Some(first) = addresses.first() {
            spec["clusterIP"] = first.as_str().into();
            spec["clusterIPs"] = json!(addresses);
        }
        Ok(())
    }

    fn chosen(
        &self,
        view: &View<'_>,
        given: &str,
        had: &BTreeSet<IpAddr>,
        reservation: &mut Reservation<'_>,
        findings: &mut Findings,
    ) {
        let Ok(address) = given.parse() else {
            return;
        };
        if had.contains(&address) {
            return;
        }
        let why = match self.lock().take_address(view, address) {
            Ok(()) => return reservation.addresses.push(address),
            Err(Refused::Taken) => "provided IP is already allocated".to_owned(),
            Err(Refused::Outside) => {
                let family = of_family(&view.ranges, address);
                format!(
                    "the provided IP ({given}) is not in the valid range. The range of valid IPs \
                     is {family}"
                )
            }
        };
        let why = format!("failed to allocate IP {given}: {why}");
        findings.invalid("spec.clusterIPs", &json!([given]), why);
    }

    fn node_ports(
        &self,
        spec: &mut Value,
        old: Option<&Value>,
        reservation: &mut Reservation<'_>,
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        let mut asked = ports::Asked {
            pools: &mut self.lock(),
            range: &self.ports,
            taken: &mut reservation.ports,
            findings,
        };
        if matches!(spec::kind(spec), "NodePort" | "LoadBalancer") {
            match old {
                None => asked.first(spec)?,
                Some(old) => asked.again(spec, old)?,
            }
        }
        asked.health_check(spec, old)
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ranges that have the family of an address.
fn of_family(ranges: &[IpNet], address: IpAddr) -> String {
    let same = |range: &&IpNet| range.network().is_ipv4() == address.is_ipv4();
    let ranges: Vec<String> = ranges
        .iter()
        .filter(same)
        .map(ToString::to_string)
        .collect();
    ranges.join(", ")
}
