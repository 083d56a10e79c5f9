use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use sealane_ipam::{ClaimError, Exhausted, Pool, TooSmall};
use sealane_net::{IpNet, Mac};
use sealane_objects::ObjectName;
use serde::{Deserialize, Serialize};

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
    /// One for each of the node's subnets, with the subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// The Ethernet address that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// What a new lease is for, and what it should hold where that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    pub network: &'a str,
    pub pod: Option<PodRef>,
    /// At most one of each subnet.
    pub ips: &'a [IpAddr],
    pub mac: Option<Mac>,
}

impl Lease {
    pub fn key(&self) -> Key {
        Key {
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The node has no subnet, so nothing can be leased.
    #[error("this node has no pod subnet")]
    NoSubnet,
    /// An address was asked for that pods of this node may not have.
    #[error(
        "lease address {address}: not one that pods of this node may have, they are in {subnets}"
    )]
    NotOurs { address: IpAddr, subnets: String },
    /// Two addresses were asked for where one is given.
    #[error("lease address {address}: another one of subnet {subnet} was asked for as well")]
    OneTooMany { address: IpAddr, subnet: IpNet },
    /// An address was asked for that is in use.
    #[error("lease address {address}: {holder} has it")]
    Taken { address: IpAddr, holder: String },
}

/// All leases of the node, and the pools that they come from.
#[derive(Debug, Default)]
pub struct Book {
    leases: BTreeMap<Key, Arc<Lease>>,
    pools: Vec<Pool>,
    /// The address last given out of each subnet, so that reuse stays late over restarts.
    last: Vec<IpAddr>,
    /// Addresses of pods that the API knows and no lease does: after a loss of the file.
    held: BTreeMap<ObjectName, Vec<IpAddr>>,
    version: u64,
}

impl Book {
    /// A book with what was found on disk.
    pub fn new(leases: Vec<Lease>, last: Vec<IpAddr>) -> Self {
        Self {
            leases: leases
                .into_iter()
                .map(|lease| (lease.key(), Arc::new(lease)))
                .collect(),
            last,
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

    pub fn last(&self) -> &[IpAddr] {
        &self.last
    }

    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Takes the node's subnets; the pools are rebuilt when they changed.
    ///
    /// Leases of a former subnet stay until they are released.
    ///
    /// # Errors
    /// A subnet without room for a pod; the pools are then unchanged.
    pub fn set_subnets(&mut self, subnets: &[IpNet]) -> Result<(), TooSmall> {
        if self
            .pools
            .iter()
            .map(Pool::subnet)
            .eq(subnets.iter().copied())
        {
            return Ok(());
        }
        let taken: Vec<IpAddr> = self
            .leases
            .values()
            .flat_map(|lease| lease.addresses.iter().map(IpNet::addr))
            .chain(self.held.values().flatten().copied())
            .collect();
        self.pools = subnets
            .iter()
            .map(|subnet| self.pool(*subnet, &taken))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn pool(&self, subnet: IpNet, taken: &[IpAddr]) -> Result<Pool, TooSmall> {
        let pool = Pool::new(subnet, taken.iter().copied())?;
        let last = self.last.iter().find(|last| subnet.contains(*last));
        Ok(match last {
            Some(last) => pool.resumed_after(*last),
            None => pool,
        })
    }

    /// Leases an address of each subnet, those that were asked for where they are free. The key must not have a lease.
    ///
    /// # Errors
    /// A [`LeaseError`]; nothing is leased then.
    pub fn lease(&mut self, key: &Key, wanted: Wanted<'_>) -> Result<Arc<Lease>, LeaseError> {
        if self.pools.is_empty() {
            return Err(LeaseError::NoSubnet);
        }
        let pod = wanted.pod.as_ref().map(|pod| &pod.name);
        let addresses = self.choose(wanted.ips, pod)?;
        // Those that were asked for tell nothing about where the search goes on.
        if wanted.ips.is_empty() {
            self.last = addresses.iter().map(IpNet::addr).collect();
        }
        let lease = Lease {
            container_id: key.container_id.clone(),
            ifname: key.ifname.clone(),
            network: wanted.network.to_owned(),
            pod: wanted.pod,
            addresses,
            mac: wanted.mac,
        };
        Ok(self.enter(lease))
    }

    fn enter(&mut self, lease: Lease) -> Arc<Lease> {
        let lease = Arc::new(lease);
        self.leases.insert(lease.key(), Arc::clone(&lease));
        self.version += 1;
        lease
    }

    /// One address of each subnet, or none at all.
    fn choose(
        &mut self,
        wanted: &[IpAddr],
        pod: Option<&ObjectName>,
    ) -> Result<Vec<IpNet>, LeaseError> {
        for (n, address) in wanted.iter().enumerate() {
            let pool = self.pool_of(*address)?;
            if let Some(other) = wanted[..n]
                .iter()
                .find(|other| pool.subnet().contains(*other))
            {
                return Err(LeaseError::OneTooMany {
                    address: *other,
                    subnet: pool.subnet(),
                });
            }
        }
        if let Some(pod) = pod {
            self.unhold_of(pod, wanted);
        }
        let mut addresses: Vec<IpNet> = Vec::with_capacity(self.pools.len());
        for index in 0..self.pools.len() {
            match self.choose_of(index, wanted) {
                Ok(address) => addresses.push(address),
                Err(error) => {
                    self.give_back(&addresses);
                    return Err(error);
                }
            }
        }
        Ok(addresses)
    }

    fn pool_of(&self, address: IpAddr) -> Result<&Pool, LeaseError> {
        let mut pools = self.pools.iter();
        pools
            .find(|pool| pool.subnet().contains(&address))
            .ok_or_else(|| self.not_ours(address))
    }

    fn not_ours(&self, address: IpAddr) -> LeaseError {
        let subnets = self.pools.iter().map(|pool| pool.subnet().to_string());
        LeaseError::NotOurs {
            address,
            subnets: subnets.collect::<Vec<_>>().join(" and "),
        }
    }

    fn choose_of(&mut self, index: usize, wanted: &[IpAddr]) -> Result<IpNet, LeaseError> {
        let pool = &mut self.pools[index];
        let subnet = pool.subnet();
        let address = match wanted.iter().find(|address| subnet.contains(*address)) {
            None => pool.allocate()?,
            Some(address) => match pool.claim(*address) {
                Ok(()) => *address,
                Err(ClaimError::Leased { address }) => {
                    return Err(LeaseError::Taken {
                        address,
                        holder: self.holder(address),
                    });
                }
                Err(_) => return Err(self.not_ours(*address)),
            },
        };
        Ok(IpNet::new(address, subnet.prefix_len())
            .expect("a pool's address is of its subnet's family"))
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
        for address in taken {
            for pool in &mut self.pools {
                pool.release(address);
            }
        }
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
            for pool in &mut self.pools {
                // Of a former subnet, or held for a pod of another name: the link is the better witness.
                let _ = pool.claim(*address);
            }
        }
        self.enter(lease);
        Ok(())
    }

    fn give_back(&mut self, addresses: &[IpNet]) {
        for address in addresses {
            for pool in &mut self.pools {
                pool.release(address.addr());
            }
        }
    }

    /// Ends a lease; `None` when there was none.
    pub fn release(&mut self, key: &Key) -> Option<Arc<Lease>> {
        let lease = self.leases.remove(key)?;
        self.give_back(&lease.addresses);
        self.version += 1;
        Some(lease)
    }

    /// Keeps addresses from being leased that pods have according to the API,
    /// although no lease says so: the file was lost or is older than they are.
    pub fn hold<'a>(&mut self, pods: impl Iterator<Item = (&'a ObjectName, &'a [IpAddr])>) {
        for (name, addresses) in pods {
            // What was held for it before is in the pools already.
            if self.held.contains_key(name) {
                continue;
            }
            let held: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|address| {
                    self.pools
                        .iter_mut()
                        .any(|pool| pool.claim(*address).is_ok())
                })
                .collect();
            if !held.is_empty() {
                self.held.insert(name.clone(), held);
            }
        }
    }

    /// Frees what is held for pods of which `keep` says no.
    pub fn unhold(&mut self, keep: impl Fn(&ObjectName) -> bool) {
        let gone: Vec<ObjectName> = self
            .held
            .keys()
            .filter(|name| !keep(name))
            .cloned()
            .collect();
        for name in gone {
            for address in self.held.remove(&name).unwrap_or_default() {
                for pool in &mut self.pools {
                    pool.release(address);
                }
            }
        }
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

    fn addresses(lease: &Lease) -> Vec<String> {
        lease.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lease_has_an_address_of_each_subnet_or_none_at_all() {
        let mut book = book(&["10.0.0.0/24", "fd00::/126"]);
        let first = book.lease(&key("a"), wanted(&[])).unwrap();
        assert_eq!(addresses(&first), ["10.0.0.2/24", "fd00::2/126"]);
        book.lease(&key("b"), wanted(&[])).unwrap();
        let version = book.version();
        let error = book.lease(&key("c"), wanted(&[])).unwrap_err().to_string();
        assert!(error.contains("fd00::/126"), "{error}");
        assert_eq!(
            book.pools()[0].leased(),
            2,
            "the IPv4 address was not given back"
        );
        assert_eq!(book.version(), version, "nothing to write");
    }

    #[test]
    fn goes_on_where_it_was_after_a_restart() {
        let mut before = book(&["10.0.0.0/24"]);
        before.lease(&key("a"), wanted(&[])).unwrap();
        before.lease(&key("b"), wanted(&[])).unwrap();
        before.release(&key("b")).unwrap();
        let leases = before.leases().map(|l| Lease::clone(l)).collect();
        let mut after = Book::new(leases, before.last().to_vec());
        after
            .set_subnets(&["10.0.0.0/24".parse().unwrap()])
            .unwrap();
        let next = after.lease(&key("c"), wanted(&[])).unwrap();
        assert_eq!(
            addresses(&next),
            ["10.0.0.4/24"],
            "neither leased nor just released"
        );
    }

    #[test]
    fn leases_of_a_former_subnet_stay_and_can_be_released() {
        let mut book = book(&["10.0.0.0/24"]);
        book.lease(&key("a"), wanted(&[])).unwrap();
        book.set_subnets(&["10.0.1.0/24".parse().unwrap()]).unwrap();
        let lease = book.lease(&key("b"), wanted(&[])).unwrap();
        assert_eq!(addresses(&lease), ["10.0.1.2/24"]);
        assert_eq!(
            addresses(&book.release(&key("a")).unwrap()),
            ["10.0.0.2/24"]
        );
        assert_eq!(book.release(&key("a")), None);
    }

    #[test]
    fn what_the_api_knows_is_kept_out_until_its_pod_is_gone() {
        let mut book = book(&["10.0.0.0/29"]);
        let pod = ObjectName::new("default", "a");
        let held: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "192.168.1.1".parse().unwrap()];
        book.hold([(&pod, &held[..])].into_iter());
        let lease = book.lease(&key("b"), wanted(&[])).unwrap();
        assert_eq!(addresses(&lease), ["10.0.0.3/29"]);
        book.unhold(|name| *name == pod);
        assert_eq!(book.held().len(), 1);
        book.unhold(|_| false);
        assert!(book.held().is_empty());
        assert_eq!(book.pools()[0].leased(), 1);
    }

    #[test]
    fn without_a_subnet_there_is_no_lease() {
        let mut book = Book::default();
        assert_eq!(
            book.lease(&key("a"), wanted(&[])),
            Err(LeaseError::NoSubnet)
        );
    }

    #[test]
    fn an_address_that_is_asked_for_is_given_once_and_the_other_family_as_usual() {
        let mut book = book(&["10.0.0.0/24", "fd00::/120"]);
        let ask = |book: &mut Book, container: &str, ip: &str| {
            let ips = [ip.parse().unwrap()];
            book.lease(&key(container), wanted(&ips))
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
        let error = book.lease(&key("b"), wanted(&two)).unwrap_err();
        assert!(matches!(error, LeaseError::OneTooMany { .. }), "{error}");
        assert_eq!(book.pools()[0].leased(), 1, "a refusal leases nothing");
        assert_eq!(
            addresses(&book.lease(&key("b"), wanted(&[])).unwrap())[0],
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
        let error = book.lease(&key("b"), of("b")).unwrap_err().to_string();
        assert!(error.contains("pod default/a"), "{error}");
        book.lease(&key("a"), of("a")).unwrap();
    }

    #[test]
    fn what_a_link_tells_of_is_taken_up_once() {
        let mut before = book(&["10.0.0.0/29"]);
        let lease = before.lease(&key("a"), wanted(&[])).unwrap();
        let mut after = book(&["10.0.0.0/29"]);
        after.adopt(Lease::clone(&lease)).unwrap();
        assert_eq!(after.pools()[0].leased(), 1);
        let twin = Lease {
            container_id: "b".into(),
            ..Lease::clone(&lease)
        };
        let error = after.adopt(twin).unwrap_err().to_string();
        assert_eq!(error, "lease address 10.0.0.2: eth0 of container a has it");
        assert_eq!(
            addresses(&after.lease(&key("c"), wanted(&[])).unwrap()),
            ["10.0.0.3/29"]
        );
    }
}
