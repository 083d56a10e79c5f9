//! What is free: addresses by the objects in the store, node ports by a pool.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    View, families,
    numbers::{Numbers, Refused},
    range,
};
use crate::options::PortRange;

/// What is handed out from.
#[derive(Debug)]
pub struct Pools {
    /// Addresses of writes that are not committed yet.
    reserved: HashSet<IpAddr>,
    /// Where the search in a range begins, so that an address that was given back is used again
    /// as late as possible.
    next: HashMap<IpNet, u128>,
    first_port: u16,
    ports: Numbers,
}

impl Pools {
    /// Pools of which nothing is taken.
    pub fn new(ports: &PortRange) -> Self {
        Self {
            reserved: HashSet::new(),
            next: HashMap::new(),
            first_port: *ports.start(),
            ports: Numbers::new(u32::from(ports.end() - ports.start()) + 1),
        }
    }

    /// Reserves any free address of a family; `None` if there is none.
    pub fn hand_out_address(&mut self, view: &View<'_>, family: &str) -> Option<IpAddr> {
        let of_family = |range: &&IpNet| families::of(range) == family;
        view.ranges
            .iter()
            .filter(of_family)
            .find_map(|range| self.hand_out_of(view, range))
    }

    fn hand_out_of(&mut self, view: &View<'_>, range: &IpNet) -> Option<IpAddr> {
        let (usable, dynamic) = (range::usable(range), range::dynamic(range));
        let next = self.next.get(range).copied().unwrap_or(dynamic);
        let reserved = &self.reserved;
        let (offset, address) = (next..usable)
            .chain(dynamic..next)
            .chain(0..dynamic.min(usable))
            .filter_map(|offset| Some((offset, range::address(range, offset)?)))
            .find(|(_, address)| !reserved.contains(address) && !(view.is_taken)(*address))?;
        self.next.insert(*range, (offset + 1).max(dynamic));
        self.reserved.insert(address);
        Some(address)
    }

    /// Reserves this address.
    pub fn take_address(&mut self, view: &View<'_>, address: IpAddr) -> Result<(), Refused> {
        let within = |range: &IpNet| range::offset(range, address).is_some();
        if !view.ranges.iter().any(within) {
            return Err(Refused::Outside);
        }
        if (view.is_taken)(address) || !self.reserved.insert(address) {
            return Err(Refused::Taken);
        }
        Ok(())
    }

    /// Takes any free port; `None` if there is none.
    pub fn hand_out_port(&mut self) -> Option<u16> {
        let offset = u16::try_from(self.ports.hand_out()?).ok()?;
        self.first_port.checked_add(offset)
    }

    /// Takes this port.
    pub fn take_port(&mut self, port: u16) -> Result<(), Refused> {
        let offset = port.checked_sub(self.first_port).ok_or(Refused::Outside)?;
        self.ports.take(offset.into())
    }

    /// The addresses are no longer reserved, the ports are free.
    pub fn give_back(&mut self, addresses: &[IpAddr], ports: &[u16]) {
        for address in addresses {
            self.reserved.remove(address);
        }
        for port in ports {
            if let Some(offset) = port.checked_sub(self.first_port) {
                self.ports.give_back(offset.into());
            }
        }
    }

    /// Whether an address of this range is reserved.
    pub fn is_reserved_in(&self, range: &IpNet) -> bool {
        self.reserved.iter().any(|address| range.contains(address))
    }
}
