use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use sealane_net::{Family, IpNet};
use sealane_objects::TrafficPolicy;
use sealane_service::{PortChange, PortKey, ServicePort};

use super::chains::{Pickers, static_elements};
use super::element::{Bytes, Data, Element, Map};
use super::fingerprint::Fingerprints;
use super::image::{Image, Loaded};
use super::number::Sizes;
use super::port::{Port, keys, slots_in};
use crate::{Chain, Interval};

/// The Services of one family as elements, and what must be remembered so that a change of one stays small.
///
/// Every change returns the transactions that bring a kernel along; it is
/// assumed that they are applied, in their order.
pub struct ServiceProgram {
    family: Family,
    ports: HashMap<Arc<PortKey>, Port>,
    sizes: Sizes,
    pods: Vec<Interval>,
    /// Where ports have an endpoint on this node.
    hairpins: Shared,
    cluster_ips: Shared,
    half_ids: Numbers,
    /// Numbers of endpoints are never used again, since a client may still be held to one.
    last_endpoint: u32,
}

/// Addresses, and how many ports have each.
#[derive(Default)]
struct Shared(HashMap<IpAddr, u32>);

/// Numbers that are given out, and again after they have come back.
#[derive(Default)]
struct Numbers {
    last: u32,
    free: Vec<u32>,
}

/// What a kernel is to do at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Chains to be made, before elements lead to them.
    pub chains: Vec<Chain>,
    /// Elements to be deleted, before others are added.
    pub delete: Vec<Element>,
    /// Elements to be added.
    pub add: Vec<Element>,
}

/// How many elements one transaction has, about: what 330 Services with ten endpoints come to. The kernel
/// does it in 10 ms, or 40 ms on a busy machine; several go no slower than one that is as large as all.
const ELEMENTS: usize = 4_000;

impl ServiceProgram {
    /// Whose Services they are.
    pub fn family(&self) -> Family {
        self.family
    }

    /// All Services, on a kernel that holds `observed`: ids and slots that are there are kept, so that what is
    /// right is not touched. With what brings the kernel along.
    pub fn restore<'a>(
        family: Family,
        observed: &Image,
        pods: &[IpNet],
        ports: impl IntoIterator<Item = &'a Arc<ServicePort>>,
    ) -> (Self, Vec<Transaction>) {
        let program = Self::adopt(family, observed, pods, ports);
        let transactions = program.difference(observed);
        (program, transactions)
    }

    /// As [`ServiceProgram::restore`], without what brings the kernel along: that is what
    /// [`ServiceProgram::bring_along`] makes, piece by piece.
    pub fn adopt<'a>(
        family: Family,
        observed: &Image,
        pods: &[IpNet],
        ports: impl IntoIterator<Item = &'a Arc<ServicePort>>,
    ) -> Self {
        let mut program = Self {
            family,
            ports: HashMap::new(),
            sizes: observed.sizes(),
            pods: Interval::of_networks(family, pods.iter().copied()),
            hairpins: Shared::default(),
            cluster_ips: Shared::default(),
            half_ids: Numbers::default(),
            last_endpoint: last_endpoint(observed),
        };
        let known = observed.sizes();
        let first = Sizes::first();
        for (style, step) in first.beyond(&known) {
            program.sizes.grow(style, step);
        }
        let mut ports: Vec<_> = ports
            .into_iter()
            .filter(|p| p.key.family == family)
            .collect();
        ports.sort_by(|a, b| a.key.cmp(&b.key));
        let ids = program.find_ids(observed, &ports);
        program.ports.reserve(ports.len());
        for (port, half_id) in ports.into_iter().zip(ids) {
            let sticky = port.affinity_seconds.is_some();
            let half_id = half_id.unwrap_or_else(|| program.half_ids.take());
            let slots = |local: u32| slots_in(observed, 2 * half_id + local, sticky, family);
            let mut made = Port {
                half_id,
                served: Arc::clone(port),
                cluster: slots(0),
                local: slots(1),
            };
            program.fill(&mut made);
            program.count_in(&made, &mut Vec::new());
            program.ports.insert(Arc::clone(&port.key), made);
        }
        program
    }

    /// Which ports have an id in the kernel. One that two lay claim to stays with the first.
    fn find_ids(&mut self, observed: &Image, ports: &[&Arc<ServicePort>]) -> Vec<Option<u32>> {
        if observed.is_empty() {
            return vec![None; ports.len()];
        }
        let id_at = |map, key: &Bytes| match observed.get(map, key) {
            Some(Data::Value(value)) => value.mark_at(0),
            _ => None,
        };
        let mut taken = HashSet::new();
        let ids = ports.iter().map(|port| {
            let found = keys(port).find_map(|key| {
                id_at(Map::Frontends, &key).or_else(|| id_at(Map::InsideIds, &key))
            });
            found.map(|id| id / 2).filter(|id| taken.insert(*id))
        });
        let ids = ids.collect();
        // Slots of an id that nobody has found are deleted late, so it must not be given out again before.
        let slots = [Map::Eps, Map::StickyEps]
            .into_iter()
            .flat_map(|map| observed.of_map(map));
        let seen = slots.filter_map(|(key, _)| key.mark_at(4)).map(|id| id / 2);
        self.half_ids.last = seen.chain(taken).max().unwrap_or(0);
        ids
    }

    /// Takes in changes of Services.
    pub fn update(&mut self, changes: &[PortChange]) -> Vec<Transaction> {
        let mut edit = Edit::default();
        let known = self.sizes.clone();
        let mut returned = Vec::new();
        let family = self.family;
        for change in changes.iter().filter(|c| c.key.family == family) {
            returned.extend(self.change(change, &mut edit));
        }
        // Only now: the slots of those that have gone are still there when others are added.
        self.half_ids.free.extend(returned);
        edit.pickers = Pickers::between(self.family, &self.sizes, &known);
        edit.finish()
    }

    /// Takes in that pods of this node have other addresses.
    pub fn set_pods(&mut self, pods: &[IpNet]) -> Vec<Transaction> {
        let mut edit = Edit::default();
        edit.removed.extend(self.pods_elements());
        self.pods = Interval::of_networks(self.family, pods.iter().copied());
        edit.added.extend(self.pods_elements());
        edit.finish()
    }

    /// What brings a kernel that holds `observed` to what this program says. None when it is so.
    pub fn difference(&self, observed: &Image) -> Vec<Transaction> {
        let mut transactions = Vec::new();
        let mut take = |transaction: &Transaction| -> Result<(), Infallible> {
            transactions.push(transaction.clone());
            Ok(())
        };
        match self.bring_along(observed.clone(), &mut take) {
            Ok(()) => transactions,
        }
    }

    /// Hands out, one after the other, the transactions that bring a kernel that holds `observed` to what this
    /// program says. No more than one of them is held at a time, for there may be a million elements.
    ///
    /// What is too much goes last: ids that are new here are not those of anything that is there.
    ///
    /// # Errors
    /// That of `apply`, which is not called again then.
    pub fn bring_along<E>(
        &self,
        observed: Image,
        apply: &mut impl FnMut(&Transaction) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut edit = Edit {
            pickers: Pickers::between(self.family, &self.sizes, &observed.sizes()),
            ..Edit::default()
        };
        let made = edit.pickers.elements.iter();
        let made: HashSet<(Map, Bytes)> = made.map(|element| (element.map, element.key)).collect();
        let may_be_made = |element: &Element| matches!(element.map, Map::Pickers | Map::Draws);
        let mut rest = observed;
        edit.removed.extend(self.take_surplus_ranges(&mut rest));
        let mut outcome = Ok(());
        self.each_group(|elements| {
            if outcome.is_err() {
                return elements.clear();
            }
            if edit.added.len() + elements.len() > ELEMENTS {
                outcome = std::mem::take(&mut edit)
                    .finish()
                    .iter()
                    .try_for_each(&mut *apply);
            }
            for element in elements.drain(..) {
                match rest.remove(element.map, &element.key) {
                    Some(known) if known == element => {}
                    // It comes with its chain.
                    None if may_be_made(&element) && made.contains(&(element.map, element.key)) => {
                    }
                    known => {
                        edit.removed.extend(known);
                        edit.added.push(element);
                    }
                }
            }
        });
        outcome?;
        // Chains that are no longer needed stay, and so does what leads to them; clients' pins are theirs.
        let surplus = rest.iter();
        let surplus = surplus.filter(|e| e.map != Map::Pickers && !e.map.spec().dynamic);
        edit.removed.extend(surplus);
        edit.finish().iter().try_for_each(apply)
    }

    /// Ranges that are too much: they go in the first transaction, since none may be added that overlaps one that
    /// is there.
    fn take_surplus_ranges(&self, observed: &mut Image) -> Vec<Element> {
        let guarded = self.ports.values();
        let guarded = guarded.filter(|port| port.served.source_ranges.is_some());
        let mut wanted = self.pickers().elements;
        wanted.extend(self.pods_elements());
        guarded.for_each(|port| port.put_elements(&mut wanted));
        let wanted: HashSet<_> = wanted.iter().map(|e| (e.map, e.key)).collect();
        let maps = Map::ALL.into_iter().filter(|map| map.spec().interval);
        let keys = maps.flat_map(|map| observed.of_map(map).map(move |(key, _)| (map, *key)));
        let surplus: Vec<_> = keys.filter(|at| !wanted.contains(at)).collect();
        let taken = surplus.into_iter();
        taken
            .filter_map(|(map, key)| observed.remove(map, &key))
            .collect()
    }

    /// Whether a kernel holds what this program says can be told from these, which are small.
    pub fn fingerprints(&self) -> Fingerprints {
        let mut fingerprints = Fingerprints::default();
        self.each_group(|elements| elements.drain(..).for_each(|e| fingerprints.expect(&e)));
        fingerprints
    }

    /// What a kernel holds that has followed: for tests and for tracing.
    pub fn loaded(&self) -> Loaded {
        let mut elements = Vec::new();
        self.each_group(|group| elements.append(group));
        Loaded::of(self.family, Image::of(elements))
    }

    /// How many ports are programmed.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// All elements; those of a port together, and to be taken out.
    fn each_group(&self, mut take: impl FnMut(&mut Vec<Element>)) {
        let mut group = static_elements();
        group.extend(self.pickers().elements);
        group.extend(self.pods_elements());
        group.extend(self.hairpins.0.keys().copied().map(hairpin));
        take(&mut group);
        for port in self.ports.values() {
            port.put_elements(&mut group);
            take(&mut group);
        }
        // Last, for what a cluster IP has not is refused.
        let all = self.cluster_ips.0.keys().copied();
        group.extend(all.map(cluster_ip));
        take(&mut group);
    }

    fn pickers(&self) -> Pickers {
        Pickers::between(self.family, &self.sizes, &Sizes::default())
    }

    fn pods_elements(&self) -> Vec<Element> {
        let each = self.pods.iter();
        each.map(|pods| Element::range(Map::Pods, Bytes::default(), pods))
            .collect()
    }

    /// Does one change; the id that has become free by that.
    fn change(&mut self, change: &PortChange, edit: &mut Edit) -> Option<u32> {
        let old = self.ports.remove(&change.key);
        if let Some(old) = &old {
            old.put_elements(&mut edit.removed);
            self.count_out(old, &mut edit.removed);
        }
        let Some(served) = &change.after else {
            return old.map(|old| old.half_id);
        };
        let sticky = served.affinity_seconds.is_some();
        let (half_id, cluster, local) = match old {
            Some(old) if old.served.affinity_seconds.is_some() == sticky => {
                (old.half_id, old.cluster, old.local)
            }
            Some(old) => (old.half_id, Default::default(), Default::default()),
            None => (self.half_ids.take(), Default::default(), Default::default()),
        };
        let mut port = Port {
            half_id,
            served: Arc::clone(served),
            cluster,
            local,
        };
        self.fill(&mut port);
        port.put_elements(&mut edit.added);
        self.count_in(&port, &mut edit.added);
        self.ports.insert(Arc::clone(&change.key), port);
        None
    }

    /// Gives its endpoints their slots and numbers, and makes sure of chains for so many.
    fn fill(&mut self, port: &mut Port) {
        let sticky = port.served.affinity_seconds.is_some();
        let last = &mut self.last_endpoint;
        let mut number = || {
            *last += u32::from(sticky);
            if sticky { *last } else { 0 }
        };
        port.cluster.update(&port.served.cluster, &mut number);
        port.local.update(&port.served.local, &mut number);
        for (style, step) in port.needs() {
            self.sizes.grow(style, step);
        }
    }

    fn count_in(&mut self, port: &Port, added: &mut Vec<Element>) {
        for address in port.hairpins() {
            added.extend(self.hairpins.add(address).map(hairpin));
        }
        if let Some(address) = port.served.cluster_ip {
            added.extend(self.cluster_ips.add(address).map(cluster_ip));
        }
    }

    fn count_out(&mut self, port: &Port, removed: &mut Vec<Element>) {
        for address in port.hairpins() {
            removed.extend(self.hairpins.remove(address).map(hairpin));
        }
        if let Some(address) = port.served.cluster_ip {
            removed.extend(self.cluster_ips.remove(address).map(cluster_ip));
        }
    }

    /// The id whose endpoints a frontend's clients get, for tests and `/debug/state`.
    pub fn id_of(&self, key: &PortKey, policy: TrafficPolicy) -> Option<u32> {
        self.ports.get(key).map(|port| port.id(policy))
    }
}

fn hairpin(address: IpAddr) -> Element {
    let key = Bytes::default().address(address).address(address);
    Element::member(Map::Hairpin, key)
}

fn cluster_ip(address: IpAddr) -> Element {
    Element::member(Map::ClusterIps, Bytes::default().address(address))
}

fn last_endpoint(observed: &Image) -> u32 {
    let numbers = observed.of_map(Map::Endpoints);
    let numbers = numbers.filter_map(|(key, _)| key.mark_at(0));
    let pins = observed.of_map(Map::Affinity);
    let pins = pins.filter_map(|(_, data)| match data {
        Data::Value(value) => value.mark_at(0),
        _ => None,
    });
    numbers.chain(pins).max().unwrap_or(0)
}

impl Shared {
    /// The address, if it is the first port that has it.
    fn add(&mut self, address: IpAddr) -> Option<IpAddr> {
        let count = self.0.entry(address).or_default();
        *count += 1;
        (*count == 1).then_some(address)
    }

    /// The address, if it was the last port that had it.
    fn remove(&mut self, address: IpAddr) -> Option<IpAddr> {
        let count = self.0.get_mut(&address)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.0.remove(&address);
        Some(address)
    }
}

impl Numbers {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.last += 1;
            self.last
        })
    }
}

/// Elements that come and go; one that does both is left alone.
#[derive(Default)]
struct Edit {
    pickers: Pickers,
    removed: Vec<Element>,
    added: Vec<Element>,
}

/// A frontend is served as soon as it has a number, so that is added when all else is there, and deleted before.
fn rank(map: Map) -> u8 {
    match map {
        Map::Gates | Map::Pickers | Map::Draws | Map::Pods => 0,
        Map::Endpoints => 1,
        Map::Eps | Map::StickyEps | Map::SourceRanges | Map::Hairpin | Map::Affinity => 2,
        Map::Frontends | Map::InsideIds => 3,
        Map::Inside => 4,
        Map::PickerOf => 5,
        // What it has is served first, what it has not is refused last.
        Map::ClusterIps => 6,
    }
}

/// What must go before anything is added: numbers of frontends, and ranges, since none may be added that overlaps one
/// that is there. The rest goes last, and what serves others before what they lead to.
fn haste(map: Map) -> u8 {
    match map.spec().interval {
        true => u8::MAX,
        false => rank(map),
    }
}

impl Edit {
    fn finish(mut self) -> Vec<Transaction> {
        if self.removed.is_empty() {
            return self.fill();
        }
        let place = |e: &Element| (rank(e.map), e.map, e.key);
        self.removed.sort_unstable_by_key(place);
        self.added.sort_unstable_by_key(place);
        let mut early: Vec<(Option<Element>, Element)> = Vec::with_capacity(self.added.len());
        let mut late: Vec<Element> = Vec::new();
        let mut removed = self.removed.into_iter().peekable();
        for element in self.added {
            while let Some(gone) = removed.next_if(|gone| place(gone) < place(&element)) {
                late.push(gone);
            }
            match removed.next_if(|gone| place(gone) == place(&element)) {
                Some(gone) if gone == element => {}
                gone => early.push((gone, element)),
            }
        }
        late.extend(removed);
        late.sort_by_key(|gone| std::cmp::Reverse(haste(gone.map)));
        let mut transactions: Vec<Transaction> =
            self.pickers.into_transaction().into_iter().collect();
        let cut = late.partition_point(|gone| haste(gone.map) >= rank(Map::Inside));
        let rest = late.split_off(cut);
        // What goes first is no reason for a transaction of its own.
        let mut now = Transaction {
            delete: late,
            ..Transaction::default()
        };
        for (gone, element) in early {
            if now.len() >= ELEMENTS {
                transactions.push(std::mem::take(&mut now));
            }
            now.delete.extend(gone);
            now.add.push(element);
        }
        transactions.push(now);
        for chunk in rest.chunks(ELEMENTS) {
            transactions.push(Transaction {
                delete: chunk.to_vec(),
                ..Transaction::default()
            });
        }
        transactions.retain(|transaction| !transaction.is_empty());
        transactions
    }

    /// Where nothing goes: keys are compared with those of nobody.
    fn fill(mut self) -> Vec<Transaction> {
        self.added.sort_by_key(|e| (rank(e.map), e.map));
        let mut transactions: Vec<Transaction> =
            self.pickers.into_transaction().into_iter().collect();
        while !self.added.is_empty() {
            let rest = self.added.split_off(self.added.len().min(ELEMENTS));
            let add = std::mem::replace(&mut self.added, rest);
            transactions.push(Transaction {
                add,
                ..Transaction::default()
            });
        }
        transactions
    }
}

impl Pickers {
    /// Chains, and what leads to them.
    fn into_transaction(self) -> Option<Transaction> {
        let Self { chains, elements } = self;
        let any = !elements.is_empty();
        any.then_some(Transaction {
            chains,
            delete: Vec::new(),
            add: elements,
        })
    }
}

impl Transaction {
    /// How many elements it deletes and adds.
    pub fn len(&self) -> usize {
        self.delete.len() + self.add.len()
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.chains.is_empty()
    }
}
