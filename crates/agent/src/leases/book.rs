use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use sealane_ipam::{Exhausted, Pool, TooSmall};
use sealane_net::IpNet;
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

    /// Leases an address of each subnet. The key must not have a lease.
    ///
    /// # Errors
    /// [`LeaseError::Exhausted`] when one of the subnets is used up; nothing is leased then.
    pub fn lease(
        &mut self,
        key: &Key,
        network: &str,
        pod: Option<PodRef>,
    ) -> Result<Arc<Lease>, LeaseError> {
        if self.pools.is_empty() {
            return Err(LeaseError::NoSubnet);
        }
        let addresses = self.allocate()?;
        self.last = addresses.iter().map(IpNet::addr).collect();
        let lease = Arc::new(Lease {
            container_id: key.container_id.clone(),
            ifname: key.ifname.clone(),
            network: network.to_owned(),
            pod,
            addresses,
        });
        self.leases.insert(key.clone(), Arc::clone(&lease));
        self.version += 1;
        Ok(lease)
    }

    fn allocate(&mut self) -> Result<Vec<IpNet>, Exhausted> {
        let mut addresses: Vec<IpNet> = Vec::with_capacity(self.pools.len());
        for index in 0..self.pools.len() {
            let pool = &mut self.pools[index];
            match pool.allocate() {
                Ok(address) => addresses.push(
                    IpNet::new(address, pool.subnet().prefix_len())
                        .expect("a pool's address is of its subnet's family"),
                ),
                Err(exhausted) => {
                    self.give_back(&addresses);
                    return Err(exhausted);
                }
            }
        }
        Ok(addresses)
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

    fn addresses(lease: &Lease) -> Vec<String> {
        lease.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lease_has_an_address_of_each_subnet_or_none_at_all() {
        let mut book = book(&["10.0.0.0/24", "fd00::/126"]);
        let first = book.lease(&key("a"), "n", None).unwrap();
        assert_eq!(addresses(&first), ["10.0.0.2/24", "fd00::2/126"]);
        book.lease(&key("b"), "n", None).unwrap();
        let version = book.version();
        let error = book.lease(&key("c"), "n", None).unwrap_err().to_string();
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
        before.lease(&key("a"), "n", None).unwrap();
        before.lease(&key("b"), "n", None).unwrap();
        before.release(&key("b")).unwrap();
        let leases = before.leases().map(|l| Lease::clone(l)).collect();
        let mut after = Book::new(leases, before.last().to_vec());
        after
            .set_subnets(&["10.0.0.0/24".parse().unwrap()])
            .unwrap();
        let next = after.lease(&key("c"), "n", None).unwrap();
        assert_eq!(
            addresses(&next),
            ["10.0.0.4/24"],
            "neither leased nor just released"
        );
    }

    #[test]
    fn leases_of_a_former_subnet_stay_and_can_be_released() {
        let mut book = book(&["10.0.0.0/24"]);
        book.lease(&key("a"), "n", None).unwrap();
        book.set_subnets(&["10.0.1.0/24".parse().unwrap()]).unwrap();
        let lease = book.lease(&key("b"), "n", None).unwrap();
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
        let lease = book.lease(&key("b"), "n", None).unwrap();
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
        assert_eq!(book.lease(&key("a"), "n", None), Err(LeaseError::NoSubnet));
    }
}
