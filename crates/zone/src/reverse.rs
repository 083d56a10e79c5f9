//! Names of addresses: who has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use sealane_message::{Kind, Name};

use crate::answer::Outcome;
use crate::label::{dashed, parts, service_name};
use crate::service::{Endpoint, Object};
use crate::{Settings, Zone};

/// What there is at a name in a reverse zone, but for the zone itself.
pub(crate) fn look<'z>(
    zone: &'z Zone,
    settings: &Settings,
    name: &Name,
    kind: Kind,
) -> Outcome<'z> {
    let Some(address) = name.address() else {
        // The start of an address is there while something is below it.
        let below = range(name).is_some_and(|range| {
            let holders = zone.holders.range((*range.start(), Arc::default())..);
            let mut holders = holders.take_while(|(address, _)| address <= range.end());
            holders.any(|(_, key)| settings.exposes(parts(key).1))
        });
        return match below {
            true => Outcome::NoData,
            false => Outcome::NoName,
        };
    };
    let names = names_of(zone, settings, address);
    match (names.is_empty(), kind) {
        (true, _) => Outcome::NoName,
        (false, Kind::PTR) => Outcome::Pointers(names),
        (false, _) => Outcome::NoData,
    }
}

/// The Service with that cluster IP, else all endpoints with that address.
pub(crate) fn names_of(zone: &Zone, settings: &Settings, address: IpAddr) -> Vec<Name> {
    let Some(domain) = settings.domain() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let holders = zone.holders.range((address, Arc::default())..);
    let holders = holders.take_while(|(held, _)| *held == address);
    for (_, key) in holders.filter(|(_, key)| settings.exposes(parts(key).1)) {
        let Some(service) = zone.services.get(&**key) else {
            continue;
        };
        let Some(object) = service.named(settings) else {
            continue;
        };
        let Ok(name) = service_name(key, domain) else {
            continue;
        };
        if has(object, address) {
            return vec![name];
        }
        if settings.no_endpoints {
            continue;
        }
        for endpoint in service.at(address) {
            names.extend(host_name(endpoint, &name));
        }
    }
    names.dedup();
    names
}

fn has(object: &Object, address: IpAddr) -> bool {
    object.addresses().contains(&address)
}

/// The name of an endpoint of the Service `name`; none if it is too long for one.
pub(crate) fn host_name(endpoint: &Endpoint, name: &Name) -> Option<Name> {
    match &endpoint.host {
        Some(host) => name.child(host).ok(),
        None => name.child(dashed(endpoint.address)).ok(),
    }
}

/// The addresses below the name of a part of one, such as `1.10.in-addr.arpa`.
fn range(name: &Name) -> Option<RangeInclusive<IpAddr>> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let text = |label: &&[u8]| std::str::from_utf8(label).ok().map(str::to_owned);
    match &labels[..] {
        [octets @ .., b"in-addr", b"arpa"] => {
            let mut first = [0; 4];
            for (at, label) in octets.iter().rev().enumerate() {
                *first.get_mut(at)? = text(label)?.parse().ok()?;
            }
            let first = u32::from_be_bytes(first);
            let last = first | u32::MAX.checked_shr(8 * octets.len() as u32).unwrap_or(0);
            Some(Ipv4Addr::from(first).into()..=Ipv4Addr::from(last).into())
        }
        [digits @ .., b"ip6", b"arpa"] if digits.len() <= 32 => {
            let mut first = 0_u128;
            for label in digits.iter().rev() {
                let [digit] = label else { return None };
                first = first << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            let missing = 4 * (32 - digits.len() as u32);
            let first = first.checked_shl(missing).unwrap_or(0);
            let last = first | 1_u128.checked_shl(missing).map_or(u128::MAX, |end| end - 1);
            Some(Ipv6Addr::from(first).into()..=Ipv6Addr::from(last).into())
        }
        _ => None,
    }
}
