use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use sealane_ipam::{Resting, TooSmall};
use sealane_net::{IpNet, Mac};
use sealane_objects::{ObjectName, PortMapping};
use serde::{Deserialize, Serialize};

use super::{
    Block, LeaseError, Named,
    sources::{Source, Sources},
};

/// What a CNI attachment is known by: the container and the interface in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub container_id: String,
    pub ifname: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {}", self.ifname, self.container_id)
    }
}

/// The pod that a container belongs to, as the runtime says in `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    #[serde(flatten)]
    pub name: ObjectName,
    pub uid: String,
}

/// The addresses of one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
    /// The network's name in the CNI configuration.
    pub network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// One for each of the node's subnets, with the subnet's prefix length; of a named pool's block with the longest.
    pub addresses: Vec<IpNet>,
    /// The Ethernet address that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Ports of the node that lead here. A link does not tell of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<PortMapping>,
}

/// What a new lease is for, and what it should hold where that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    pub network: &'a str,
    pub pod: Option<PodRef>,
    /// At most one of each family.
    pub ips: &'a [IpAddr],
    /// The pool to take addresses from, besides the node's subnets.
    pub pool: Option<Named<'a>>,
    pub mac: Option<Mac>,
    pub host_ports: Vec<PortMapping>,
}

impl Lease {
    pub fn key(&self) -> Key {
        Key {
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }
}

/// All leases of the node, and where their addresses come from.
///
/// `now` is the time since one fixed moment that is the same over restarts.
#[derive(Debug, Default)]
pub struct Book {
    leases: BTreeMap<Key, Arc<Lease>>,
    sources: Sources,
    /// Addresses of pods that the API knows and no lease does: after a loss of the file.
    held: BTreeMap<ObjectName, Vec<IpAddr>>,
    version: u64,
}

impl Book {
    /// A book with what was found on disk.
    pub fn new(leases: Vec<Lease>, last: Vec<IpAddr>, resting: Resting) -> Self {
        Self {
            leases: leases
                .into_iter()
                .map(|lease| (lease.key(), Arc::new(lease)))
                .collect(),
            sources: Sources::resumed_with(last, resting),
            ..Self::default()
        }
    }

    /// Grows with every change that must go to disk.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Lease>> {
        self.leases.get(key)
    }

    /// All leases, in the order of their keys.
    pub fn leases(&self) -> impl ExactSizeIterator<Item = &Arc<Lease>> {
        self.leases.values()
    }

    /// Where addresses come from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether there is anything to lease.
    pub fn has_subnets(&self) -> bool {
        self.sources.common().next().is_some()
    }

    /// A subnet of which every address is leased.
    pub fn full_subnet(&self) -> Option<&Source> {
        let mut subnets = self.sources.common().filter(|source| !source.whole);
        subnets.find(|s| self.sources.used(&s.pool).0 as u128 >= s.pool.size())
    }

    /// Takes the node's subnets; what they give out is decided anew when they changed.
    ///
    /// Leases of a former subnet stay until they are released.
    ///
    /// # Errors
    /// A subnet without room for a pod; nothing is changed then.
    pub fn set_subnets(&mut self, subnets: &[IpNet]) -> Result<(), TooSmall> {
        let taken = self.taken();
        self.sources.set_subnets(subnets, &taken)
    }

    /// Takes ranges or single addresses of which any pod may have every one, such as a cloud gives
    /// the node: new ones can be leased at once, and those that are not named any more not again.
    pub fn set_ranges(&mut self, ranges: &[IpNet]) {
        let taken = self.taken();
        self.sources.set_ranges(ranges, &taken);
    }

    /// Takes the node's blocks of named pools. Leases of a former one stay until they are released.
    pub fn set_blocks(&mut self, blocks: &[Block]) {
        let taken = self.taken();
        self.sources.set_blocks(blocks, &taken);
    }

    fn taken(&self) -> Vec<IpAddr> {
        self.leases
            .values()
            .flat_map(|lease| lease.addresses.iter().map(IpNet::addr))
            .chain(self.held.values().flatten().copied())
            .collect()
    }

    /// Leases an address of each family, those that were asked for where they are free. The key must not have a lease.
    ///
    /// # Errors
    /// A [`LeaseError`]; nothing is leased then.
    pub fn lease(
        &mut self,
        key: &Key,
        wanted: Wanted<'_>,
        now: Duration,
    ) -> Result<Arc<Lease>, LeaseError> {
        if !self.has_subnets() {
            return Err(LeaseError::NoSubnet);
        }
        if let Some(pod) = wanted.pod.as_ref().filter(|_| !wanted.ips.is_empty()) {
            self.unhold_of(&pod.name, wanted.ips);
        }
        let addresses = self.sources.choose(wanted.ips, wanted.pool, now);
        let addresses = addresses.map_err(|error| match error {
            LeaseError::Taken { address, .. } => LeaseError::Taken {
                address,
                holder: self.holder(address),
            },
            other => other,
        })?;
        Ok(self.enter(Lease {
            container_id: key.container_id.clone(),
            ifname: key.ifname.clone(),
            network: wanted.network.to_owned(),
            pod: wanted.pod,
            addresses,
            mac: wanted.mac,
            host_ports: wanted.host_ports,
        }))
    }

    fn enter(&mut self, lease: Lease) -> Arc<Lease> {
        let lease = Arc::new(lease);
        self.leases.insert(lease.key(), Arc::clone(&lease));
        self.version += 1;
        lease
    }

    /// Who has an address, for people.
    pub fn holder(&self, address: IpAddr) -> String {
        let has = |lease: &&Arc<Lease>| lease.addresses.iter().any(|a| a.addr() == address);
        if let Some(lease) = self.leases.values().find(has) {
            return match &lease.pod {
                Some(pod) => format!("pod {} ({})", pod.name, lease.key()),
                None => lease.key().to_string(),
            };
        }
        let held = self.held.iter().find(|(_, ips)| ips.contains(&address));
        held.map_or_else(
            || "nobody known".to_owned(),
            |(pod, _)| format!("pod {pod}, of which the API server knows,"),
        )
    }

    /// A pod may have what is held for itself.
    fn unhold_of(&mut self, pod: &ObjectName, wanted: &[IpAddr]) {
        let Some(held) = self.held.remove(pod) else {
            return;
        };
        let (taken, kept): (Vec<IpAddr>, Vec<IpAddr>) =
            held.into_iter().partition(|ip| wanted.contains(ip));
        self.sources.undo(taken);
        if !kept.is_empty() {
            self.held.insert(pod.clone(), kept);
        }
    }

    /// Takes up a lease that a link of the kernel tells of and the file does not.
    ///
    /// # Errors
    /// [`LeaseError::Taken`] when somebody else has one of its addresses; nothing is changed then.
    pub fn adopt(&mut self, lease: Lease) -> Result<(), LeaseError> {
        let addresses: Vec<IpAddr> = lease.addresses.iter().map(IpNet::addr).collect();
        let others = |l: &Arc<Lease>| l.addresses.iter().any(|a| addresses.contains(&a.addr()));
        if let Some(other) = self.leases.values().find(|l| others(l)) {
            let taken = other.addresses.iter().map(IpNet::addr);
            let address = taken.into_iter().find(|a| addresses.contains(a));
            let address = address.unwrap_or(addresses[0]);
            return Err(LeaseError::Taken {
                address,
                holder: self.holder(address),
            });
        }
        if let Some(pod) = &lease.pod {
            self.unhold_of(&pod.name.clone(), &addresses);
        }
        for address in &addresses {
            // Of a former subnet, or held for a pod of another name: the link is the better witness.
            self.sources.claim(*address);
        }
        self.enter(lease);
        Ok(())
    }

    /// Ends a lease; `None` when there was none.
    pub fn release(&mut self, key: &Key, now: Duration) -> Option<Arc<Lease>> {
        let lease = self.leases.remove(key)?;
        let addresses = lease.addresses.iter().map(IpNet::addr);
        self.sources.give_back(addresses, now);
        self.version += 1;
        Some(lease)
    }

    /// Keeps addresses from being leased that pods have according to the API,
    /// although no lease says so: the file was lost or is older than they are.
    pub fn hold<'a>(&mut self, pods: impl Iterator<Item = (&'a ObjectName, &'a [IpAddr])>) {
        for (name, addresses) in pods {
            // What was held for it before is taken already.
            if self.held.contains_key(name) {
                continue;
            }
            let held: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|address| self.sources.claim(*address))
                .collect();
            if !held.is_empty() {
                self.held.insert(name.clone(), held);
            }
        }
    }

    /// Frees what is held for pods of which `keep` says no.
    pub fn unhold(&mut self, keep: impl Fn(&ObjectName) -> bool, now: Duration) {
        let (kept, gone) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(name, _)| keep(name));
        self.held = kept;
        let gone: BTreeMap<ObjectName, Vec<IpAddr>> = gone;
        self.sources.give_back(gone.into_values().flatten(), now);
    }

    /// Frees what has rested long enough.
    pub fn end_rests(&mut self, now: Duration) {
        self.sources.end_rests(now);
    }

    /// What is held, by pod.
    pub fn held(&self) -> &BTreeMap<ObjectName, Vec<IpAddr>> {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(container: &str) -> Key {
        Key {
            container_id: container.into(),
            ifname: "eth0".into(),
        }
    }

    fn book(subnets: &[&str]) -> Book {
        let mut book = Book::default();
        let subnets: Vec<IpNet> = subnets.iter().map(|s| s.parse().unwrap()).collect();
        book.set_subnets(&subnets).unwrap();
        book
    }

    fn wanted(ips: &[IpAddr]) -> Wanted<'_> {
        Wanted {
            network: "n",
            ips,
            ..Wanted::default()
        }
    }

    const NOW: Duration = Duration::from_secs(1_000);

    fn leased(book: &Book) -> usize {
        let first = book.sources().iter().next().unwrap();
        book.sources().used(&first.pool).0
    }

    fn addresses(lease: &Lease) -> Vec<String> {
        lease.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lease_has_an_address_of_each_subnet_or_none_at_all() {
        let mut book = book(&["10.0.0.0/24", "fd00::/126"]);
        let first = book.lease(&key("a"), wanted(&[]), NOW).unwrap();
        assert_eq!(addresses(&first), ["10.0.0.2/24", "fd00::2/126"]);
        book.lease(&key("b"), wanted(&[]), NOW).unwrap();
        let version = book.version();
        let error = book
            .lease(&key("c"), wanted(&[]), NOW)
            .unwrap_err()
            .to_string();
        assert!(error.contains("fd00::/126"), "{error}");
        assert_eq!(leased(&book), 2, "the IPv4 address was not given back");
        assert_eq!(book.version(), version, "nothing to write");
    }

    #[test]
    fn goes_on_where_it_was_after_a_restart() {
        let mut before = book(&["10.0.0.0/24"]);
        before.lease(&key("a"), wanted(&[]), NOW).unwrap();
        before.lease(&key("b"), wanted(&[]), NOW).unwrap();
        before.release(&key("b"), NOW).unwrap();
        let leases = before.leases().map(|l| Lease::clone(l)).collect();
        let mut after = Book::new(
            leases,
            before.sources().last().to_vec(),
            before.sources().resting().clone(),
        );
        after
            .set_subnets(&["10.0.0.0/24".parse().unwrap()])
            .unwrap();
        let next = after.lease(&key("c"), wanted(&[]), NOW).unwrap();
        assert_eq!(
            addresses(&next),
            ["10.0.0.4/24"],
            "neither leased nor just released"
        );
    }

    #[test]
    fn what_was_given_back_rests_also_over_a_restart_and_is_had_by_who_asks_for_it() {
        let subnets = ["10.0.0.0/30".parse().unwrap()];
        let mut before = Book::new(vec![], vec![], Resting::new(Duration::from_secs(10)));
        before.set_subnets(&subnets).unwrap();
        before.lease(&key("a"), wanted(&[]), NOW).unwrap();
        before.release(&key("a"), NOW).unwrap();
        let sources = before.sources();
        let mut book = Book::new(vec![], sources.last().to_vec(), sources.resting().clone());
        book.set_subnets(&subnets).unwrap();
        let early = NOW + Duration::from_secs(9);
        let error = book.lease(&key("b"), wanted(&[]), early).unwrap_err();
        let LeaseError::Resting { until, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(until, NOW + Duration::from_secs(10));
        assert!(book.full_subnet().is_none(), "the node is not full");
        let lease = book.lease(&key("b"), wanted(&[]), until).unwrap();
        book.release(&key("b"), until).unwrap();
        let asked: Vec<IpAddr> = lease.addresses.iter().map(IpNet::addr).collect();
        book.lease(&key("b"), wanted(&asked), until).unwrap();
        assert!(book.sources().resting().next().is_none());
        let error = book.lease(&key("c"), wanted(&[]), until * 2).unwrap_err();
        assert!(matches!(error, LeaseError::Exhausted(_)), "{error}");
    }

    #[test]
    fn an_address_that_rests_is_kept_for_the_pod_or_link_that_has_it() {
        let mut book = Book::new(vec![], vec![], Resting::new(Duration::from_secs(10)));
        book.set_subnets(&["10.0.0.0/29".parse().unwrap()]).unwrap();
        let first = book.lease(&key("a"), wanted(&[]), NOW).unwrap();
        let second = book.lease(&key("b"), wanted(&[]), NOW).unwrap();
        book.release(&key("a"), NOW).unwrap();
        book.release(&key("b"), NOW).unwrap();
        book.adopt(Lease::clone(&first)).unwrap();
        let pod = ObjectName::new("default", "b");
        let of_b: Vec<IpAddr> = second.addresses.iter().map(IpNet::addr).collect();
        book.hold([(&pod, &of_b[..])].into_iter());
        book.end_rests(NOW * 2);
        let left = (0..5).filter_map(|n| {
            let lease = book.lease(&key(&n.to_string()), wanted(&[]), NOW * 2);
            Some(addresses(&*lease.ok()?))
        });
        let left: Vec<String> = left.flatten().collect();
        assert_eq!(left, ["10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29"]);
    }

    #[test]
    fn single_addresses_come_and_go_while_leases_stand() {
        let range = |text: &str| text.parse::<IpNet>().unwrap();
        let (one, two) = (range("10.9.0.7/32"), range("10.9.0.16/31"));
        let mut book = Book::default();
        book.set_ranges(&[one]);
        let first = book.lease(&key("a"), wanted(&[]), NOW).unwrap();
        assert_eq!(addresses(&first), ["10.9.0.7/32"]);
        book.set_ranges(&[two]);
        for (container, address) in [("b", "10.9.0.16/32"), ("c", "10.9.0.17/32")] {
            let lease = book.lease(&key(container), wanted(&[]), NOW).unwrap();
            assert_eq!(addresses(&lease), [address]);
        }
        book.release(&key("a"), NOW).unwrap();
        book.lease(&key("d"), wanted(&[]), NOW).unwrap_err();
        book.set_ranges(&[one, two]);
        let again = book.lease(&key("d"), wanted(&[]), NOW).unwrap();
        assert_eq!(addresses(&again), ["10.9.0.7/32"]);
    }

    #[test]
    fn leases_of_a_former_subnet_stay_and_can_be_released() {
        let mut book = book(&["10.0.0.0/24"]);
        book.lease(&key("a"), wanted(&[]), NOW).unwrap();
        book.set_subnets(&["10.0.1.0/24".parse().unwrap()]).unwrap();
        let lease = book.lease(&key("b"), wanted(&[]), NOW).unwrap();
        assert_eq!(addresses(&lease), ["10.0.1.2/24"]);
        assert_eq!(
            addresses(&book.release(&key("a"), NOW).unwrap()),
            ["10.0.0.2/24"]
        );
        assert_eq!(book.release(&key("a"), NOW), None);
    }

    #[test]
    fn what_the_api_knows_is_kept_out_until_its_pod_is_gone() {
        let mut book = book(&["10.0.0.0/29"]);
        let pod = ObjectName::new("default", "a");
        let held: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "192.168.1.1".parse().unwrap()];
        book.hold([(&pod, &held[..])].into_iter());
        let lease = book.lease(&key("b"), wanted(&[]), NOW).unwrap();
        assert_eq!(addresses(&lease), ["10.0.0.3/29"]);
        book.unhold(|name| *name == pod, NOW);
        assert_eq!(book.held().len(), 1);
        book.unhold(|_| false, NOW);
        assert!(book.held().is_empty());
        assert_eq!(leased(&book), 1);
    }

    #[test]
    fn without_a_subnet_there_is_no_lease() {
        let mut book = Book::default();
        assert_eq!(
            book.lease(&key("a"), wanted(&[]), NOW),
            Err(LeaseError::NoSubnet)
        );
    }

    #[test]
    fn an_address_that_is_asked_for_is_given_once_and_the_other_family_as_usual() {
        let mut book = book(&["10.0.0.0/24", "fd00::/120"]);
        let ask = |book: &mut Book, container: &str, ip: &str| {
            let ips = [ip.parse().unwrap()];
            book.lease(&key(container), wanted(&ips), NOW)
        };
        let lease = ask(&mut book, "a", "10.0.0.77").unwrap();
        assert_eq!(addresses(&lease), ["10.0.0.77/24", "fd00::2/120"]);
        let error = ask(&mut book, "b", "10.0.0.77").unwrap_err().to_string();
        assert_eq!(error, "lease address 10.0.0.77: eth0 of container a has it");
        for reserved in ["10.0.0.1", "10.0.0.255", "10.0.1.1", "fe80::1"] {
            let error = ask(&mut book, "b", reserved).unwrap_err();
            assert!(matches!(error, LeaseError::NotOurs { .. }), "{error}");
        }
        let two = ["10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap()];
        let error = book.lease(&key("b"), wanted(&two), NOW).unwrap_err();
        assert!(matches!(error, LeaseError::OneTooMany { .. }), "{error}");
        assert_eq!(leased(&book), 1, "a refusal leases nothing");
        assert_eq!(
            addresses(&book.lease(&key("b"), wanted(&[]), NOW).unwrap())[0],
            "10.0.0.2/24"
        );
    }

    #[test]
    fn a_pod_may_have_what_is_held_for_itself() {
        let mut book = book(&["10.0.0.0/29"]);
        let pod = ObjectName::new("default", "a");
        let held: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap()];
        book.hold([(&pod, &held[..])].into_iter());
        let of = |name: &str| Wanted {
            pod: Some(PodRef {
                name: ObjectName::new("default", name),
                uid: String::new(),
            }),
            ..wanted(&held)
        };
        let error = book.lease(&key("b"), of("b"), NOW).unwrap_err().to_string();
        assert!(error.contains("pod default/a"), "{error}");
        book.lease(&key("a"), of("a"), NOW).unwrap();
    }

    #[test]
    fn what_a_link_tells_of_is_taken_up_once() {
        let mut before = book(&["10.0.0.0/29"]);
        let lease = before.lease(&key("a"), wanted(&[]), NOW).unwrap();
        let mut after = book(&["10.0.0.0/29"]);
        after.adopt(Lease::clone(&lease)).unwrap();
        assert_eq!(leased(&after), 1);
        let twin = Lease {
            container_id: "b".into(),
            ..Lease::clone(&lease)
        };
        let error = after.adopt(twin).unwrap_err().to_string();
        assert_eq!(error, "lease address 10.0.0.2: eth0 of container a has it");
        assert_eq!(
            addresses(&after.lease(&key("c"), wanted(&[]), NOW).unwrap()),
            ["10.0.0.3/29"]
        );
    }
}
