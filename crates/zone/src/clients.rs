//! Who asks: the pods of this node by their addresses, and how each of them looks for names.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use foldhash::fast::FixedState;
use sealane_message::{Name, NameError};
use sealane_objects::{DnsPolicy, ObjectName, PodDns};

/// As many domains as a pod may have.
const MAX_SEARCHES: usize = 32;
/// What resolvers take at most, whatever is written.
const MAX_NDOTS: u32 = 15;
/// More than any program looks for in vain at the same time, of the rare names that are noted.
const PASSED: usize = 32;

/// What pods' resolver settings are made of, besides their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchSettings {
    /// The cluster's domain, as the kubelet has it (`clusterDomain`).
    pub domain: String,
    /// The search list of the node's resolv.conf.
    pub node_searches: Vec<String>,
    /// `ndots` of the node's resolv.conf.
    pub node_ndots: Option<u32>,
}

/// The pods of this node that have addresses of their own.
#[derive(Debug, Default)]
pub struct Clients {
    settings: SearchSettings,
    by_address: HashMap<IpAddr, Vec<Arc<Client>>, FixedState>,
    pods: HashMap<ObjectName, Known, FixedState>,
    changes: u32,
}

#[derive(Debug)]
struct Known {
    pod: PodDns,
    client: Arc<Client>,
}

/// A pod, as a client.
#[derive(Debug)]
pub struct Client {
    pod: ObjectName,
    searches: Vec<Name>,
    ndots: u32,
    passed: Passed,
}

/// The last names that a client was going to ask for by itself, since nothing was found for it. Of
/// names that are the first of a search as well as a later one of another, that tells which it is.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    hashes: [AtomicU64; PASSED],
    next: AtomicUsize,
}

impl Passed {
    pub(crate) fn note(&self, name: &Name) {
        if self.has(name) {
            return;
        }
        let at = self.next.fetch_add(1, Relaxed) % PASSED;
        self.hashes[at].store(hash(name), Relaxed);
    }

    pub(crate) fn has(&self, name: &Name) -> bool {
        let hash = hash(name);
        self.hashes.iter().any(|known| known.load(Relaxed) == hash)
    }
}

fn hash(name: &Name) -> u64 {
    // Zero is a place that nothing was noted in.
    FixedState::default().hash_one(name).max(1)
}

/// One of the names that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try<'c> {
    /// The name.
    pub name: Name,
    /// The domain of the list that is in it; none if it is what was typed.
    pub domain: Option<&'c Name>,
}

impl Client {
    /// A pod with its resolver settings.
    #[must_use]
    pub fn new(name: &ObjectName, pod: &PodDns, settings: &SearchSettings) -> Self {
        let (mut searches, ndots) = match pod.policy {
            DnsPolicy::None => (Vec::new(), None),
            DnsPolicy::Default => (settings.node_searches.clone(), settings.node_ndots),
            DnsPolicy::ClusterFirst if pod.host_network => {
                (settings.node_searches.clone(), settings.node_ndots)
            }
            DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet => {
                let domain = settings.domain.trim_end_matches('.');
                let mut searches = vec![
                    format!("{}.svc.{domain}", name.namespace),
                    format!("svc.{domain}"),
                    domain.to_owned(),
                ];
                searches.extend(settings.node_searches.iter().cloned());
                (searches, Some(5))
            }
        };
        for search in &pod.config.searches {
            if !searches.contains(search) {
                searches.push(search.clone());
            }
        }
        searches.truncate(MAX_SEARCHES);
        let ndots = pod.config.ndots.or(ndots).unwrap_or(1);
        // With one that is no name nobody knows what a resolver does.
        let searches: Result<Vec<Name>, _> = searches.iter().map(|text| text.parse()).collect();
        Self {
            pod: name.clone(),
            searches: searches.unwrap_or_default(),
            ndots: ndots.min(MAX_NDOTS),
            passed: Passed::default(),
        }
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &ObjectName {
        &self.pod
    }

    /// The domains that it tries in turn; none if one of them is no name.
    #[must_use]
    pub fn searches(&self) -> &[Name] {
        &self.searches
    }

    /// A name with so many dots is tried as it is first.
    #[must_use]
    pub fn ndots(&self) -> u32 {
        self.ndots
    }

    /// The names that it asks for when somebody types `typed`, in their order: with each domain of its
    /// list, and as it is. With a dot at its end, or without a list, only as it is.
    ///
    /// So do glibc, Go and c-ares; musl tries a name of `ndots` dots as it is and no further. What would be too long
    /// ends the list.
    ///
    /// # Errors
    ///
    /// What was typed is no name.
    pub fn tries(&self, typed: &str) -> Result<Vec<Try<'_>>, NameError> {
        let name: Name = typed.parse()?;
        let as_it_is = Try { name, domain: None };
        if typed.ends_with('.') {
            return Ok(vec![as_it_is]);
        }
        let with = |domain| {
            let name = Name::join(name.labels(), domain).ok()?;
            let domain = Some(domain);
            Some(Try { name, domain })
        };
        let mut tries: Vec<_> = self.searches.iter().map_while(with).collect();
        let dots = name.labels().count().saturating_sub(1);
        let at = match dots >= self.ndots as usize {
            true => 0,
            false => tries.len(),
        };
        tries.insert(at, as_it_is);
        Ok(tries)
    }

    pub(crate) fn passed(&self) -> &Passed {
        &self.passed
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.pod.namespace
    }
}

impl Clients {
    /// No pods yet.
    #[must_use]
    pub fn new(settings: SearchSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Takes in a pod of this node, or that it is gone.
    pub fn set_pod(&mut self, name: &ObjectName, pod: Option<PodDns>) {
        let known = self.pods.get(name).map(|known| &known.pod);
        if known == pod.as_ref() {
            return;
        }
        self.changes = self.changes.wrapping_add(1);
        if let Some(known) = self.pods.remove(name) {
            for address in &known.pod.addresses {
                let Some(clients) = self.by_address.get_mut(address) else {
                    continue;
                };
                clients.retain(|client| !Arc::ptr_eq(client, &known.client));
                if clients.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        let Some(pod) = pod.filter(|pod| !pod.addresses.is_empty()) else {
            return;
        };
        let client = Arc::new(Client::new(name, &pod, &self.settings));
        for address in &pod.addresses {
            let clients = self.by_address.entry(*address).or_default();
            if !clients.iter().any(|known| Arc::ptr_eq(known, &client)) {
                clients.push(Arc::clone(&client));
            }
        }
        self.pods.insert(name.clone(), Known { pod, client });
    }

    /// Takes in all pods of this node: who is not named is gone.
    pub fn replace_pods(&mut self, all: impl IntoIterator<Item = (ObjectName, PodDns)>) {
        self.pods.clear();
        self.by_address.clear();
        self.changes = self.changes.wrapping_add(1);
        for (name, pod) in all {
            self.set_pod(&name, Some(pod));
        }
    }

    /// Other settings; pods that are known get them, too.
    pub fn set_settings(&mut self, settings: SearchSettings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        let pods: Vec<_> = self
            .pods
            .drain()
            .map(|(name, known)| (name, known.pod))
            .collect();
        self.replace_pods(pods);
    }

    /// The pod with an address. None if there is no such pod on this node; and none while there are two,
    /// since the address is on its way from one to the other.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&Arc<Client>> {
        match self.by_address.get(&address).map(Vec::as_slice) {
            Some([client]) => Some(client),
            _ => None,
        }
    }

    /// All pods, in no order.
    pub fn pods(&self) -> impl Iterator<Item = (&ObjectName, &PodDns)> {
        self.pods.iter().map(|(name, known)| (name, &known.pod))
    }

    /// How often a pod has changed.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// How many pods there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}
