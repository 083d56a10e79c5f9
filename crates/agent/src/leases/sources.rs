//! Where addresses come from: the node's subnets or single addresses that its cloud gives it, and
//! the blocks that it has of named pools.
//!
//! An address that is given back rests before it can be leased again. One that
//! is asked for by name does not wait for that: who asks knows what had it
//! before, and a pod that is made anew keeps its address so.

use std::{net::IpAddr, sync::Arc, time::Duration};

use sealane_ipam::{ClaimError, Pool, Resting, TooSmall};
use sealane_net::{Family, IpNet};

use super::LeaseError;

/// All ranges of addresses that pods of this node may have.
#[derive(Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
    resting: Resting,
    /// The address last given out of each range, so that reuse stays late over restarts.
    last: Vec<IpAddr>,
}

/// One range.
#[derive(Debug)]
pub struct Source {
    pub pool: Pool,
    /// The named pool that it is a block of; `None` for what every pod may have.
    pub of: Option<Arc<str>>,
    /// Every address is a pod's, and no other pod is on its link.
    pub whole: bool,
    /// Whether pods get its addresses, or only those that have one keep it.
    pub open: bool,
}

/// A block of a named pool that this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub pool: Arc<str>,
    pub range: IpNet,
    /// The pool has the range still.
    pub open: bool,
}

/// The named pool that a pod's addresses come from, for the families that it has.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub name: &'a str,
    pub ranges: &'a [IpNet],
}

/// Ranges that an address can come from, in the order in which they are tried.
struct Candidates<'a> {
    family: Family,
    named: Option<Named<'a>>,
    indexes: Vec<usize>,
}

impl Sources {
    /// Goes on with what was known before a restart.
    pub fn resumed_with(last: Vec<IpAddr>, resting: Resting) -> Self {
        Self {
            list: Vec::new(),
            resting,
            last,
        }
    }

    pub fn last(&self) -> &[IpAddr] {
        &self.last
    }

    pub fn resting(&self) -> &Resting {
        &self.resting
    }

    /// The node's subnets first.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// What pods without a named pool get addresses of.
    pub fn common(&self) -> impl Iterator<Item = &Source> {
        self.list.iter().filter(|source| source.of.is_none())
    }

    /// How many addresses of a range are leased, and how many rest.
    pub fn used(&self, pool: &Pool) -> (usize, usize) {
        let resting = self.resting.count_in(&pool.subnet());
        (pool.leased().saturating_sub(resting), resting)
    }

    /// Takes the node's subnets. `taken` are leased or held.
    pub fn set_subnets(&mut self, subnets: &[IpNet], taken: &[IpAddr]) -> Result<(), TooSmall> {
        let known = self.common().filter(|source| !source.whole);
        let known = known.map(|source| source.pool.subnet());
        if known.eq(subnets.iter().copied()) {
            return Ok(());
        }
        let made: Vec<Source> = subnets
            .iter()
            .map(|subnet| {
                let pool = Pool::new(*subnet, self.taken(taken))?;
                Ok(self.resumed(pool, None, false))
            })
            .collect::<Result<_, _>>()?;
        self.list.retain(|source| source.whole);
        self.list.splice(0..0, made);
        Ok(())
    }

    /// Takes the ranges, or single addresses, that the node has by other ways and that any pod may get.
    /// `taken` are leased or held. What is not named any more is not leased again.
    pub fn set_ranges(&mut self, ranges: &[IpNet], taken: &[IpAddr]) {
        let is = |source: &Source, range: &IpNet| {
            source.whole && source.of.is_none() && source.pool.subnet() == *range
        };
        for source in &mut self.list {
            if source.whole && source.of.is_none() {
                source.open = ranges.iter().any(|range| is(source, range));
            }
        }
        self.list
            .retain(|source| source.open || source.of.is_some() || source.pool.leased() > 0);
        for range in ranges {
            if !self.list.iter().any(|source| is(source, range)) {
                let pool = Pool::whole(*range, self.taken(taken));
                let source = self.resumed(pool, None, true);
                self.list.push(source);
            }
        }
    }

    /// Takes the node's blocks of named pools. `taken` are leased or held.
    pub fn set_blocks(&mut self, blocks: &[Block], taken: &[IpAddr]) {
        let is = |source: &Source, block: &Block| {
            source.of.as_ref() == Some(&block.pool) && source.pool.subnet() == block.range
        };
        self.list
            .retain(|source| source.of.is_none() || blocks.iter().any(|block| is(source, block)));
        for block in blocks {
            if let Some(source) = self.list.iter_mut().find(|source| is(source, block)) {
                source.open = block.open;
                continue;
            }
            let pool = Pool::whole(block.range, self.taken(taken));
            let source = Source {
                open: block.open,
                ..self.resumed(pool, Some(Arc::clone(&block.pool)), true)
            };
            self.list.push(source);
        }
        // Of what is gone; before the subnets are known nothing is.
        if self.common().next().is_some() {
            let list = &self.list;
            let is_ours = |last: &IpAddr| list.iter().any(|s| s.pool.subnet().contains(last));
            self.last.retain(is_ours);
        }
    }

    fn taken<'a>(&'a self, others: &'a [IpAddr]) -> impl Iterator<Item = IpAddr> + 'a {
        let resting = self.resting.iter().map(|rest| rest.address);
        others.iter().copied().chain(resting)
    }

    fn resumed(&self, pool: Pool, of: Option<Arc<str>>, whole: bool) -> Source {
        let subnet = pool.subnet();
        let last = self.last.iter().find(|last| subnet.contains(*last));
        let pool = match last {
            Some(last) => pool.resumed_after(*last),
            None => pool,
        };
        Source {
            pool,
            of,
            whole,
            open: true,
        }
    }

    /// One address for each family of the node, or none at all: those that are
    /// asked for, and others of the named pool where it has the family.
    pub fn choose(
        &mut self,
        asked: &[IpAddr],
        named: Option<Named<'_>>,
        now: Duration,
    ) -> Result<Vec<IpNet>, LeaseError> {
        let of_family = |family: &Family| {
            let mut common = self.common();
            common.any(|source| Family::from(source.pool.subnet()) == *family)
        };
        let families: Vec<Family> = Family::ALL.into_iter().filter(of_family).collect();
        self.refuse_misfits(asked, &families)?;
        self.end_rests(now);
        let mut chosen = Vec::with_capacity(families.len());
        let asked_of = |family| asked.iter().find(move |ip| Family::from(**ip) == family);
        // What may be refused comes first: a refusal then uses up no address.
        let (first, last): (Vec<Family>, Vec<Family>) = families
            .iter()
            .partition(|family| asked_of(**family).is_some());
        for family in first.into_iter().chain(last) {
            let candidates = self.candidates(family, named);
            let result = match asked_of(family) {
                Some(address) => self.claim_of(&candidates, *address),
                None => self.allocate_of(&candidates),
            };
            match result {
                Ok(address) => chosen.push(address),
                Err(error) => {
                    self.undo(chosen.iter().map(IpNet::addr));
                    return Err(error);
                }
            }
        }
        chosen.sort_by_key(|address| Family::from(*address));
        // Those that were asked for tell nothing about where the search goes on.
        if asked.is_empty() {
            self.note_last(&chosen);
        }
        Ok(chosen)
    }

    fn refuse_misfits(&self, asked: &[IpAddr], families: &[Family]) -> Result<(), LeaseError> {
        for (n, address) in asked.iter().enumerate() {
            let family = Family::from(*address);
            if !families.contains(&family) {
                return Err(self.not_ours(*address, self.common()));
            }
            if asked[..n]
                .iter()
                .any(|other| Family::from(*other) == family)
            {
                return Err(LeaseError::OneTooMany {
                    address: *address,
                    family,
                });
            }
        }
        Ok(())
    }

    fn candidates<'a>(&self, family: Family, named: Option<Named<'a>>) -> Candidates<'a> {
        let named = named.filter(|pool| {
            let mut families = pool.ranges.iter().map(|range| Family::from(*range));
            families.any(|of| of == family)
        });
        let wanted = named.map(|pool| pool.name);
        let fits = |source: &Source| {
            source.open
                && source.of.as_deref() == wanted
                && Family::from(source.pool.subnet()) == family
        };
        let indexes = self.list.iter().enumerate();
        Candidates {
            family,
            named,
            indexes: indexes
                .filter(|(_, s)| fits(s))
                .map(|(index, _)| index)
                .collect(),
        }
    }

    fn allocate_of(&mut self, candidates: &Candidates<'_>) -> Result<IpNet, LeaseError> {
        let mut used_up = None;
        for index in &candidates.indexes {
            let source = &mut self.list[*index];
            match source.pool.allocate() {
                Ok(address) => return Ok(source.lease_of(address)),
                Err(exhausted) => used_up = Some(exhausted),
            }
        }
        let ranges = candidates.indexes.iter().map(|i| &self.list[*i].pool);
        let until = ranges
            .clone()
            .filter_map(|pool| self.resting.next_in(&pool.subnet()))
            .min();
        match (candidates.named, used_up, until) {
            (Some(named), ..) => Err(LeaseError::NoBlock {
                pool: named.name.to_owned(),
                family: candidates.family,
                address: None,
                until,
            }),
            (None, Some(exhausted), Some(until)) => Err(LeaseError::Resting {
                subnet: exhausted.subnet,
                resting: self.resting.count_in(&exhausted.subnet),
                size: exhausted.size,
                until,
            }),
            (None, Some(exhausted), None) => Err(LeaseError::Exhausted(exhausted)),
            (None, None, _) => Err(LeaseError::NoSubnet),
        }
    }

    fn claim_of(
        &mut self,
        candidates: &Candidates<'_>,
        address: IpAddr,
    ) -> Result<IpNet, LeaseError> {
        // What the node has given up, or is about to, is nobody's to ask for.
        let given_up = |source: &Source| source.whole && source.of.is_none() && !source.open;
        let contains = |i: &&usize| {
            let source = &self.list[**i];
            source.pool.subnet().contains(&address) && !given_up(source)
        };
        let Some(index) = candidates.indexes.iter().find(contains) else {
            return Err(match candidates.named {
                Some(named) if named.ranges.iter().any(|range| range.contains(&address)) => {
                    LeaseError::NoBlock {
                        pool: named.name.to_owned(),
                        family: candidates.family,
                        address: Some(address),
                        until: None,
                    }
                }
                Some(named) => LeaseError::NotOurs {
                    address,
                    ranges: format!("pool {}: {}", named.name, joined(named.ranges.iter())),
                },
                None => self.not_ours(address, self.common()),
            });
        };
        let source = &mut self.list[*index];
        if self.resting.end(address) {
            source.pool.release(address);
        }
        match source.pool.claim(address) {
            Ok(()) => Ok(source.lease_of(address)),
            Err(ClaimError::Leased { address }) => Err(LeaseError::Taken {
                address,
                holder: String::new(),
            }),
            Err(_) => Err(self.not_ours(address, self.common())),
        }
    }

    fn not_ours<'a>(
        &self,
        address: IpAddr,
        sources: impl Iterator<Item = &'a Source>,
    ) -> LeaseError {
        LeaseError::NotOurs {
            address,
            ranges: joined(sources.map(|source| source.pool.subnet())),
        }
    }

    fn note_last(&mut self, chosen: &[IpNet]) {
        for address in chosen.iter().map(IpNet::addr) {
            let of = self.list.iter().map(|source| source.pool.subnet());
            let range = of.into_iter().find(|range| range.contains(&address));
            self.last
                .retain(|last| !range.is_some_and(|range| range.contains(last)));
            self.last.push(address);
        }
    }

    /// Takes one address for somebody who has it already; false when somebody else does, or it is in no range.
    pub fn claim(&mut self, address: IpAddr) -> bool {
        if self.resting.end(address) {
            self.undo([address]);
        }
        self.list
            .iter_mut()
            .any(|source| source.pool.claim(address).is_ok())
    }

    /// Gives back what nobody was told of.
    pub fn undo(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            for source in &mut self.list {
                source.pool.release(address);
            }
        }
    }

    /// Gives addresses back; they rest first.
    pub fn give_back(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Duration) {
        for address in addresses {
            let leased = |source: &Source| source.pool.is_leased(address);
            // What is of a former range is nobody's to give out.
            if self.list.iter().any(leased) {
                self.resting.begin(address, now);
            }
        }
        self.end_rests(now);
    }

    /// Frees what has rested long enough.
    pub fn end_rests(&mut self, now: Duration) {
        let over = self.resting.over(now);
        self.undo(over);
    }
}

impl Source {
    /// In a subnet of the node its other pods are on the link.
    fn lease_of(&self, address: IpAddr) -> IpNet {
        let length = match self.whole {
            false => self.pool.subnet().prefix_len(),
            true => Family::from(address).address_bits(),
        };
        IpNet::new(address, length).expect("a pool's address is of its subnet's family")
    }
}

/// Ranges in a sentence.
pub fn joined<T: ToString>(ranges: impl Iterator<Item = T>) -> String {
    let all: Vec<String> = ranges.map(|range| range.to_string()).collect();
    all.join(" and ")
}
