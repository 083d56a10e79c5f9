use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use sealane_net::{Family, Protocol};
use sealane_objects::{ObjectName, ServiceNet, ServicePortNet, SliceNet, TrafficPolicy};
use serde::Serialize;

use crate::choose::{Asked, Candidate, choose, share};
use crate::claims::{Claimant, Claims};
use crate::host_ports::title;
use crate::{Endpoint, Frontend, NodeFacts, PodPorts, PortKey, ServicePort};

/// All Services as this node serves them, kept up to date object by object.
///
/// Each method that changes it returns the ports that differ by that.
#[derive(Default)]
pub struct ServiceTable {
    node: NodeFacts,
    services: BTreeMap<Arc<ObjectName>, Entry>,
    /// Under which Service a slice is kept.
    slices: HashMap<ObjectName, Arc<ObjectName>, RandomState>,
    claims: Claims,
    problems: BTreeMap<Arc<ObjectName>, Vec<Problem>>,
    words: HashSet<Arc<str>, RandomState>,
    /// Those that are pods with host ports.
    pods: BTreeSet<Arc<ObjectName>>,
    /// How many of these there have been.
    next_pod: u32,
    /// How many ports all Services have.
    ports: usize,
}

/// What is known of a Service; slices may come before it and stay after it.
#[derive(Default)]
struct Entry {
    service: Option<Arc<ServiceNet>>,
    /// A pod with host ports instead, and as which it came.
    pod: Option<(u32, Arc<PodPorts>)>,
    slices: Vec<(Arc<str>, SliceNet)>,
    ports: Vec<Arc<ServicePort>>,
}

/// A port that is served otherwise than before.
#[derive(Clone, Debug, PartialEq)]
pub struct PortChange {
    /// Which one.
    pub key: Arc<PortKey>,
    /// How it was served; none if it is new.
    pub before: Option<Arc<ServicePort>>,
    /// How it is served now; none if it is gone.
    pub after: Option<Arc<ServicePort>>,
}

/// Why something that a Service asks for is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Problem {
    /// Another Service has the frontend.
    Taken {
        /// The frontend; of a node port with the unspecified address.
        frontend: Frontend,
        /// Who has it.
        by: Arc<ObjectName>,
    },
    /// Two ports of the Service have one number and protocol: the first counts.
    Twice {
        /// The number.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Taken { frontend, by } if frontend.address.is_unspecified() => write!(
                f,
                "node port {} {} belongs to {}",
                frontend.port,
                frontend.protocol,
                title(by)
            ),
            Problem::Taken { frontend, by } => {
                write!(f, "{frontend} belongs to {}", title(by))
            }
            Problem::Twice { port, protocol } => {
                write!(f, "port {port} {protocol} is there twice; the first counts")
            }
        }
    }
}

impl ServiceTable {
    /// An empty table for a node.
    pub fn new(node: NodeFacts) -> Self {
        Self {
            node,
            ..Self::default()
        }
    }

    /// The node that it is for.
    pub fn node(&self) -> &NodeFacts {
        &self.node
    }

    /// Takes in what has changed of the node; that may concern every Service.
    pub fn set_node(&mut self, node: NodeFacts) -> Vec<PortChange> {
        if node == self.node {
            return Vec::new();
        }
        let before = self.all_wanted();
        self.node = node;
        let after = self.all_wanted();
        // All are decided on again, those that win and lose by it included.
        for (old, new) in before.iter().zip(&after) {
            self.claims.replace(pair(old), pair(new), &mut Vec::new());
        }
        let all = self.services.keys().cloned().collect();
        self.recompute(all)
    }

    /// Takes in a Service, or that it is gone.
    pub fn set_service(
        &mut self,
        name: &ObjectName,
        service: Option<ServiceNet>,
    ) -> Vec<PortChange> {
        let mut concerned = Concerned::new();
        self.put_service(name, service, &mut concerned);
        self.recompute(concerned)
    }

    /// Takes in all pods of this node with host ports: what is not named is gone.
    pub fn replace_host_ports(&mut self, all: Vec<PodPorts>) -> Vec<PortChange> {
        let mut all: BTreeMap<_, _> = all.into_iter().map(|pod| (pod.name(), pod)).collect();
        let mut concerned = Concerned::new();
        for name in self.pods.clone() {
            let pod = all.remove(&*name);
            self.put_pod(&name, pod, &mut concerned);
        }
        for (name, pod) in all {
            self.put_pod(&Arc::new(name), Some(pod), &mut concerned);
        }
        self.recompute(concerned)
    }

    fn put_pod(
        &mut self,
        name: &Arc<ObjectName>,
        pod: Option<PodPorts>,
        concerned: &mut Concerned,
    ) {
        let known = self.services.get(name).and_then(|e| e.pod.as_ref());
        if known.map(|(_, known)| &**known) == pod.as_ref() {
            return;
        }
        let order = known.map_or(self.next_pod, |(order, _)| *order);
        self.next_pod = self.next_pod.max(order.saturating_add(1));
        match pod {
            Some(_) => self.pods.insert(Arc::clone(name)),
            None => self.pods.remove(name),
        };
        let pod = pod.map(|pod| (order, Arc::new(pod)));
        self.edit(Arc::clone(name), |entry| entry.pod = pod, concerned);
    }

    fn put_service(
        &mut self,
        name: &ObjectName,
        service: Option<ServiceNet>,
        concerned: &mut Concerned,
    ) {
        let known = self.services.get_key_value(name);
        let before = known.and_then(|(_, entry)| entry.service.as_deref());
        if before == service.as_ref() {
            return;
        }
        let name = known.map_or_else(|| Arc::new(name.clone()), |(name, _)| Arc::clone(name));
        self.edit(
            name,
            |entry| entry.service = service.map(Arc::new),
            concerned,
        );
    }

    /// Changes what asks for frontends.
    fn edit(
        &mut self,
        name: Arc<ObjectName>,
        change: impl FnOnce(&mut Entry),
        concerned: &mut Concerned,
    ) {
        let entry = self.services.entry(Arc::clone(&name)).or_default();
        let before = wanted(&name, entry, &self.node);
        change(entry);
        let after = wanted(&name, entry, &self.node);
        self.claims.replace(pair(&before), pair(&after), concerned);
        concerned.push(name);
    }

    /// Takes in an EndpointSlice, or that it is gone.
    pub fn set_slice(&mut self, name: &ObjectName, slice: Option<SliceNet>) -> Vec<PortChange> {
        let mut concerned = Concerned::new();
        self.put_slice(name, slice, &mut concerned);
        self.recompute(concerned)
    }

    /// Takes in all Services there are: what is not named is gone.
    pub fn replace_services(
        &mut self,
        all: impl IntoIterator<Item = (ObjectName, ServiceNet)>,
    ) -> Vec<PortChange> {
        let known = self.services.iter();
        let known = known.filter(|(_, entry)| entry.service.is_some());
        let mut gone: BTreeSet<_> = known.map(|(name, _)| Arc::clone(name)).collect();
        let mut concerned = Concerned::new();
        for (name, service) in all {
            gone.remove(&name);
            self.put_service(&name, Some(service), &mut concerned);
        }
        for name in gone {
            self.put_service(&name, None, &mut concerned);
        }
        self.recompute(concerned)
    }

    /// Takes in all EndpointSlices there are: what is not named is gone.
    pub fn replace_slices(
        &mut self,
        all: impl IntoIterator<Item = (ObjectName, SliceNet)>,
    ) -> Vec<PortChange> {
        let mut concerned = Concerned::new();
        let mut gone: HashSet<ObjectName> = self.slices.keys().cloned().collect();
        for (name, slice) in all {
            gone.remove(&name);
            self.put_slice(&name, Some(slice), &mut concerned);
        }
        for name in gone {
            self.put_slice(&name, None, &mut concerned);
        }
        let changes = self.recompute(concerned);
        self.words.retain(|word| Arc::strong_count(word) > 1);
        changes
    }

    /// A port as it is served.
    pub fn get(&self, key: &PortKey) -> Option<&Arc<ServicePort>> {
        let entry = self.services.get(&*key.service)?;
        entry.ports.iter().find(|port| *port.key == *key)
    }

    /// The ports of a Service, in the order of their keys.
    pub fn ports_of(&self, service: &ObjectName) -> &[Arc<ServicePort>] {
        let entry = self.services.get(service);
        entry.map_or(&[], |entry| &entry.ports)
    }

    /// All ports, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ServicePort>> {
        self.services.values().flat_map(|entry| &entry.ports)
    }

    /// How many ports there are, without counting them.
    pub fn len(&self) -> usize {
        self.ports
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ports == 0
    }

    /// The Service as it was taken in.
    pub fn service(&self, name: &ObjectName) -> Option<&ServiceNet> {
        self.services.get(name)?.service.as_deref()
    }

    /// The slices of a Service by name, as they were taken in.
    pub fn slices_of(&self, service: &ObjectName) -> &[(Arc<str>, SliceNet)] {
        let entry = self.services.get(service);
        entry.map_or(&[], |entry| &entry.slices)
    }

    /// Whoever still serves at a port, ready or not and wherever: flows that are open may go on there.
    pub fn serving(&self, key: &PortKey) -> BTreeSet<(IpAddr, u16)> {
        let all = candidates(self.slices_of(&key.service), key);
        let serving = all.iter().filter(|c| c.endpoint.serving);
        serving.map(|c| (c.endpoint.address, c.port)).collect()
    }

    /// What is not served as it was asked for, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&ObjectName, &Problem)> {
        let each = self.problems.iter();
        each.flat_map(|(name, list)| list.iter().map(move |problem| (&**name, problem)))
    }

    fn intern(&mut self, word: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        self.words.insert(Arc::clone(word));
        Arc::clone(word)
    }

    fn intern_name(&self, name: ObjectName) -> Arc<ObjectName> {
        let known = self.services.get_key_value(&name);
        known.map_or_else(|| Arc::new(name), |(name, _)| Arc::clone(name))
    }

    fn put_slice(&mut self, name: &ObjectName, slice: Option<SliceNet>, concerned: &mut Concerned) {
        let slice = slice.filter(|slice| !slice.service.is_empty());
        let word = Arc::from(name.name.as_str());
        if let Some(owner) = self.slices.get(name).cloned() {
            if let Some(entry) = self.services.get_mut(&owner) {
                let known = entry.slices.iter().position(|(n, _)| *n == word);
                if let Some(at) = known {
                    if slice.as_ref() == Some(&entry.slices[at].1) {
                        return;
                    }
                    entry.slices.remove(at);
                }
            }
            self.slices.remove(name);
            concerned.push(owner);
        }
        let Some(mut slice) = slice else { return };
        for endpoint in &mut slice.endpoints {
            if let Some(node) = &endpoint.node {
                endpoint.node = Some(self.intern(node));
            }
        }
        let owner = ObjectName::new(name.namespace.clone(), &*slice.service);
        let owner = self.intern_name(owner);
        let entry = self.services.entry(Arc::clone(&owner)).or_default();
        entry.slices.push((word, slice));
        entry.slices.sort_by(|a, b| a.0.cmp(&b.0));
        self.slices.insert(name.clone(), Arc::clone(&owner));
        concerned.push(owner);
    }

    fn all_wanted(&self) -> Vec<Option<Claim>> {
        let all = self.services.iter();
        all.map(|(name, entry)| wanted(name, entry, &self.node))
            .collect()
    }

    /// Decides again what these come to.
    fn recompute(&mut self, mut names: Concerned) -> Vec<PortChange> {
        /// When one entry in so many is concerned, all are walked: each is looked for by comparing names otherwise.
        const FEW: usize = 16;
        names.sort_unstable();
        names.dedup();
        let mut changes = Vec::new();
        // What is decided depends on no other entry.
        let mut services = std::mem::take(&mut self.services);
        if names.len() < services.len() / FEW {
            for name in names {
                let Some(entry) = services.get_mut(&name) else {
                    continue;
                };
                if self.renew(&name, entry, &mut changes) {
                    services.remove(&name);
                }
            }
        } else {
            let mut names = names.into_iter().peekable();
            services.retain(|name, entry| {
                // One that has an entry no more may be named, too.
                while names.next_if(|concerned| concerned < name).is_some() {}
                let concerned = names.next_if(|concerned| concerned == name).is_some();
                !(concerned && self.renew(name, entry, &mut changes))
            });
        }
        self.services = services;
        changes
    }

    /// Whether nothing is left of it.
    fn renew(
        &mut self,
        name: &Arc<ObjectName>,
        entry: &mut Entry,
        changes: &mut Vec<PortChange>,
    ) -> bool {
        let (ports, problems) = self.derive(name, entry);
        if problems.is_empty() {
            self.problems.remove(name);
        } else {
            self.problems.insert(Arc::clone(name), problems);
        }
        let before = std::mem::replace(&mut entry.ports, ports.clone());
        self.ports = self.ports + ports.len() - before.len();
        compare(before, ports, changes);
        entry.service.is_none() && entry.slices.is_empty() && entry.pod.is_none()
    }

    fn derive(
        &self,
        name: &Arc<ObjectName>,
        entry: &Entry,
    ) -> (Vec<Arc<ServicePort>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let has = |f: &Frontend| self.claims.winner(f).is_none_or(|winner| winner == name);
        let wanted = wanted(name, entry, &self.node).map(|(_, wanted)| wanted);
        let wanted = wanted.unwrap_or_default();
        for frontend in wanted.iter().filter(|f| !has(f)) {
            if let Some(by) = self.claims.winner(frontend) {
                let (frontend, by) = (*frontend, Arc::clone(by));
                problems.push(Problem::Taken { frontend, by });
            }
        }
        if let Some((_, pod)) = &entry.pod {
            return (pod.serve(name, &self.node, has), problems);
        }
        let Some(service) = entry.service.as_deref().filter(|s| !s.skipped) else {
            return (Vec::new(), problems);
        };
        let mut ports: Vec<Arc<ServicePort>> = Vec::new();
        for (index, port) in service.ports.iter().enumerate() {
            let same = |p: &ServicePortNet| (p.port, p.protocol) == (port.port, port.protocol);
            if service.ports[..index].iter().any(same) {
                let (port, protocol) = (port.port, port.protocol);
                problems.push(Problem::Twice { port, protocol });
                continue;
            }
            for family in Family::ALL {
                ports.extend(self.port(name, service, port, family, entry, &has));
            }
        }
        ports.sort_by(|a, b| a.key.cmp(&b.key));
        ports.dedup_by(|a, b| a.key == b.key);
        (ports, problems)
    }

    /// `None` when the Service has no frontend of the family at this port.
    fn port(
        &self,
        name: &Arc<ObjectName>,
        service: &ServiceNet,
        port: &ServicePortNet,
        family: Family,
        entry: &Entry,
        has: &impl Fn(&Frontend) -> bool,
    ) -> Option<Arc<ServicePort>> {
        let at = |address, port_number| Frontend {
            address,
            protocol: port.protocol,
            port: port_number,
        };
        let ours = |addresses: &[IpAddr], number: u16| -> Vec<IpAddr> {
            let family = addresses.iter().filter(|a| Family::from(**a) == family);
            family.copied().filter(|a| has(&at(*a, number))).collect()
        };
        let mut known = entry.ports.iter().map(|p| &p.key);
        let key = PortKey {
            service: Arc::clone(name),
            name: Arc::clone(&port.name),
            protocol: port.protocol,
            family,
        };
        let key = match known.find(|known| ***known == key) {
            Some(known) => Arc::clone(known),
            None => Arc::new(key),
        };
        let node_port = port
            .node_port
            .filter(|_| serves_family(service, family))
            .filter(|number| has(&at(unspecified(family), *number)));
        let node_port_addresses = node_port.map_or_else(Vec::new, |number| {
            let here = self.node.addresses(family);
            here.filter(|a| has(&at(*a, number))).collect()
        });
        let external_ips = if self.node.external_ips {
            ours(&service.external_ips, port.port)
        } else {
            Vec::new()
        };
        let mut served = ServicePort {
            key,
            port: port.port,
            cluster_ip: ours(&service.cluster_ips, port.port).first().copied(),
            external_ips,
            load_balancer_ips: ours(&service.load_balancer_ips, port.port),
            source_ranges: None,
            node_port,
            node_port_addresses,
            internal_policy: service.internal_policy,
            external_policy: service.external_policy,
            affinity_seconds: service.affinity_seconds,
            health_check_node_port: service.health_check_node_port,
            local_ready: match service.health_check_node_port {
                Some(_) => local_ready(&entry.slices, &self.node),
                None => 0,
            },
            cluster: share(Vec::new()),
            local: share(Vec::new()),
            has_endpoints: false,
        };
        let outside = !served.external_ips.is_empty()
            || !served.load_balancer_ips.is_empty()
            || served.node_port.is_some();
        if served.cluster_ip.is_none() && !outside {
            return None;
        }
        if !served.load_balancer_ips.is_empty() {
            let ranges = service.source_ranges.as_ref();
            let fits = |r: &&sealane_net::IpNet| Family::from(**r) == family;
            served.source_ranges =
                ranges.map(|r| r.iter().filter(fits).copied().collect::<Vec<_>>().into());
        }
        let asked = Asked {
            internal: service.internal_policy,
            external: service.external_policy,
            from_outside: outside,
        };
        let all = candidates(&entry.slices, &served.key);
        let mut chosen = choose(&all, asked, &self.node);
        if !outside && service.internal_policy == TrafficPolicy::Local {
            // Nobody asks for those of other nodes.
            chosen.cluster = Vec::new();
        }
        let old = entry.ports.iter().find(|p| p.key == served.key);
        served.cluster = keep(old.map(|p| &p.cluster), chosen.cluster);
        served.local = keep(old.map(|p| &p.local), chosen.local);
        served.has_endpoints = chosen.has_endpoints;
        match old {
            Some(old) if **old == served => Some(Arc::clone(old)),
            _ => Some(Arc::new(served)),
        }
    }
}

type Claim = (Claimant, Vec<Frontend>);
/// Those that a change may concern, in any order, some of them twice.
type Concerned = Vec<Arc<ObjectName>>;

fn wanted(name: &Arc<ObjectName>, entry: &Entry, node: &NodeFacts) -> Option<Claim> {
    if let Some((order, pod)) = &entry.pod {
        return Some(pod.claim(name, *order, node));
    }
    let service = entry.service.as_ref()?;
    Some(claim(name, service, node))
}

fn pair(claim: &Option<Claim>) -> Option<(&Claimant, &[Frontend])> {
    claim.as_ref().map(|(claimant, all)| (claimant, &all[..]))
}

/// The frontends that a Service asks for. Node ports are asked for at the unspecified address, and at each of the
/// node's, where somebody's external address may be the same.
fn claim(
    name: &Arc<ObjectName>,
    service: &ServiceNet,
    node: &NodeFacts,
) -> (Claimant, Vec<Frontend>) {
    let claimant = Claimant {
        created: service.created,
        service: Arc::clone(name),
    };
    let mut wanted = Vec::new();
    if service.skipped {
        return (claimant, wanted);
    }
    let external: &[IpAddr] = if node.external_ips {
        &service.external_ips
    } else {
        &[]
    };
    for port in &service.ports {
        let at = |address, number| Frontend {
            address,
            protocol: port.protocol,
            port: number,
        };
        let own = service.cluster_ips.iter();
        let own = own.chain(&service.load_balancer_ips).chain(external);
        wanted.extend(own.map(|address| at(*address, port.port)));
        if let Some(number) = port.node_port {
            for family in Family::ALL
                .into_iter()
                .filter(|f| serves_family(service, *f))
            {
                let addresses = node.addresses(family).chain([unspecified(family)]);
                wanted.extend(addresses.map(|address| at(address, number)));
            }
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    (claimant, wanted)
}

fn serves_family(service: &ServiceNet, family: Family) -> bool {
    let ips = &mut service.cluster_ips.iter();
    ips.any(|ip| Family::from(*ip) == family)
}

pub(crate) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The endpoints of all slices that have the port, each with the number that it has there.
fn candidates<'a>(slices: &'a [(Arc<str>, SliceNet)], key: &PortKey) -> Vec<Candidate<'a>> {
    let mut all = Vec::new();
    for (_, slice) in slices {
        if slice.family != Some(key.family) {
            continue;
        }
        for port in slice.ports.iter() {
            if (&port.name, port.protocol) != (&key.name, key.protocol) || port.port == 0 {
                continue;
            }
            let usable = |e: &&sealane_objects::SliceEndpoint| is_usable(e.address, key.family);
            let endpoints = slice.endpoints.iter().filter(usable);
            all.extend(endpoints.map(|endpoint| Candidate {
                endpoint,
                port: port.port,
            }));
        }
    }
    all
}

/// A pod of two families has an address, and a slice, in each. Who terminates is not counted, so that load
/// balancers stop sending while he still serves (KEP-1669).
fn local_ready(slices: &[(Arc<str>, SliceNet)], node: &NodeFacts) -> usize {
    let count = |family| {
        let slices = slices.iter().map(|(_, slice)| slice);
        let endpoints = slices
            .filter(|slice| slice.family == Some(family))
            .flat_map(|slice| slice.endpoints.iter());
        let here = endpoints.filter(|e| e.ready && e.node.as_deref() == Some(&*node.name));
        let usable = here.filter(|e| is_usable(e.address, family));
        usable.map(|e| e.address).collect::<BTreeSet<_>>().len()
    };
    Family::ALL.into_iter().map(count).max().unwrap_or(0)
}

/// What the API server refuses too, for somebody who writes slices himself could otherwise reach what listens on
/// the loopback of nodes (CVE-2021-25740 and the like).
fn is_usable(address: IpAddr, family: Family) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    Family::from(address) == family
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !link_local
}

fn keep(old: Option<&Arc<[Endpoint]>>, new: Vec<Endpoint>) -> Arc<[Endpoint]> {
    match old {
        Some(old) if **old == *new => Arc::clone(old),
        _ => share(new),
    }
}

fn compare(
    before: Vec<Arc<ServicePort>>,
    after: Vec<Arc<ServicePort>>,
    changes: &mut Vec<PortChange>,
) {
    if before == after {
        return;
    }
    if before.is_empty() {
        changes.extend(after.into_iter().map(|port| PortChange {
            key: Arc::clone(&port.key),
            before: None,
            after: Some(port),
        }));
        return;
    }
    let mut after: BTreeMap<_, _> = after.into_iter().map(|p| (Arc::clone(&p.key), p)).collect();
    for old in before {
        let new = after.remove(&old.key);
        if new.as_ref() != Some(&old) {
            changes.push(PortChange {
                key: Arc::clone(&old.key),
                before: Some(old),
                after: new,
            });
        }
    }
    changes.extend(after.into_iter().map(|(key, new)| PortChange {
        key,
        before: None,
        after: Some(new),
    }));
}
