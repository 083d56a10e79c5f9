//! What a `kubernetes` block of a Corefile says.

use std::net::IpAddr;

use sealane_message::Name;

/// How the cluster's names are answered. The objects are not part of it, so settings may change, or
/// there may be several, over one [`crate::Zone`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Domains of the cluster, and reverse zones (`in-addr.arpa`, `10.in-addr.arpa`, `ip6.arpa`).
    /// The first that is not a reverse zone is the one that PTR records name.
    pub zones: Vec<Name>,
    /// Seconds that records, and the lack of them, may be kept.
    pub ttl: u32,
    /// Names of pods, made of their addresses.
    pub pods: PodRecords,
    /// Namespaces whose names are known; none: all.
    pub namespaces: Vec<String>,
    /// Endpoints have no names, and headless Services with them.
    pub no_endpoints: bool,
    /// A Service with a cluster IP and no ready endpoint has no name.
    pub ignore_empty_service: bool,
    /// Which names that are not there may be somebody else's.
    pub fallthrough: Fallthrough,
    /// The addresses at which the cluster's names are asked for: of NS records and of `ns.dns` in the domain.
    pub servers: Vec<IpAddr>,
    /// The version of the zone before anything has changed. Seconds since 1970 at the start keep it rising.
    pub first_serial: u32,
}

/// `10-244-1-2.default.pod.cluster.local`, outside of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodRecords {
    /// There is none.
    #[default]
    Disabled,
    /// Whatever address is spelled, as long as the namespace is there.
    Insecure,
    /// If a pod of that namespace has the address.
    Verified,
}

/// What happens to a name that is in our zones but not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallthrough {
    /// There is no such name.
    #[default]
    Never,
    /// Others are asked.
    Always,
    /// Others are asked for names within these.
    Zones(Vec<Name>),
}

impl Default for Settings {
    /// `kubernetes` without anything, and without zones.
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            ttl: 5,
            pods: PodRecords::Disabled,
            namespaces: Vec::new(),
            no_endpoints: false,
            ignore_empty_service: false,
            fallthrough: Fallthrough::Never,
            servers: Vec::new(),
            first_serial: 1,
        }
    }
}

impl Settings {
    /// The domain that PTR records name.
    #[must_use]
    pub fn domain(&self) -> Option<&Name> {
        self.zones.iter().find(|zone| !is_reverse(zone))
    }

    /// The longest zone that a name is in.
    pub(crate) fn zone_of(&self, name: &Name) -> Option<&Name> {
        let within = self.zones.iter().filter(|zone| name.is_within(zone));
        within.max_by_key(|zone| zone.len())
    }

    pub(crate) fn falls_through(&self, name: &Name) -> bool {
        match &self.fallthrough {
            Fallthrough::Never => false,
            Fallthrough::Always => true,
            Fallthrough::Zones(zones) => zones.iter().any(|zone| name.is_within(zone)),
        }
    }

    pub(crate) fn exposes(&self, namespace: &[u8]) -> bool {
        let is = |name: &String| name.as_bytes().eq_ignore_ascii_case(namespace);
        self.namespaces.is_empty() || self.namespaces.iter().any(is)
    }
}

/// Whether names in a zone stand for addresses.
pub(crate) fn is_reverse(zone: &Name) -> bool {
    let wire = zone.as_wire();
    wire.ends_with(b"\x07in-addr\x04arpa\0") || wire.ends_with(b"\x03ip6\x04arpa\0")
}
