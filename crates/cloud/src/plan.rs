use std::net::Ipv4Addr;
use std::time::Duration;

use sealane_net::Ipv4Net;
use sealane_net::ec2::{NetworkInterface, Observed, PREFIX_LEN, size};
use serde::Serialize;

use crate::memory::is_idle;
use crate::{Action, Barrier, Limit, Memory, Targets, Usage};

/// What to do now, and what is to be known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// In this order; none of them needs the answer of another.
    pub actions: Vec<Action>,
    /// What stops us, where more is wanted than can be had.
    pub limit: Option<Limit>,
    /// Addresses of pods that no interface has any more.
    pub lost: Vec<Ipv4Addr>,
    /// When something is due although nothing happens.
    pub next: Option<Duration>,
}

impl Plan {
    /// Ranges that no pod may get any more.
    pub fn withdrawn(&self) -> Vec<Ipv4Net> {
        let ranges = self.actions.iter().flat_map(Action::withdraws);
        ranges.copied().collect()
    }
}

/// What to do about the machine's addresses. `memory` has [looked](Memory::look) at the same.
pub fn plan(
    observed: &Observed,
    usage: &Usage,
    targets: &Targets,
    memory: &Memory,
    now: Duration,
) -> Plan {
    let round = Round {
        observed,
        usage,
        targets,
        memory,
        now,
        serving: observed.serving(),
    };
    let mut plan = Plan {
        lost: round.lost(),
        ..Plan::default()
    };
    let missing = round.missing();
    match round.stands(&Barrier::Everything) {
        Some(why) if missing > 0 => plan.limit = Some(Limit::Api { why: why.into() }),
        Some(_) => {}
        None => round.act(missing, &mut plan),
    }
    plan.next = round.next();
    plan
}

struct Round<'a> {
    observed: &'a Observed,
    usage: &'a Usage,
    targets: &'a Targets,
    memory: &'a Memory,
    now: Duration,
    serving: Vec<&'a NetworkInterface>,
}

impl Round<'_> {
    fn act(&self, missing: usize, plan: &mut Plan) {
        self.keep_no_longer_than_the_machine(plan);
        if missing > 0 {
            self.fill(missing, plan);
        } else {
            self.delete_loose(plan);
            self.give_back(plan);
        }
    }

    fn stands(&self, barrier: &Barrier) -> Option<&str> {
        self.memory.barriers.stands(barrier, self.now)
    }

    fn may_move(&self, interface: &NetworkInterface) -> bool {
        self.stands(&Barrier::Moving(interface.id.clone()))
            .is_none()
    }

    fn total(&self) -> usize {
        self.serving.iter().map(|interface| interface.size()).sum()
    }

    /// Addresses that pods have although nobody routes them to this machine.
    fn lost(&self) -> Vec<Ipv4Addr> {
        let ranges = || self.serving.iter().flat_map(|interface| &interface.ranges);
        let leased = self.usage.leased.iter().copied();
        leased
            .filter(|address| !ranges().any(|range| range.contains(address)))
            .collect()
    }

    fn idle_prefixes(&self) -> usize {
        let ranges = self.serving.iter().flat_map(|interface| &interface.ranges);
        ranges
            .filter(|range| is_prefix(range) && is_idle(range, self.usage))
            .count()
    }

    /// How many addresses or prefixes more there should be.
    fn missing(&self) -> usize {
        if self.serving.is_empty() {
            return 0;
        }
        let addresses = self.targets.wanted(self.usage).saturating_sub(self.total());
        let prefixes = self.targets.free_prefixes();
        let prefixes = prefixes.saturating_sub(self.idle_prefixes());
        self.targets.units(addresses).max(prefixes)
    }

    fn keep_no_longer_than_the_machine(&self, plan: &mut Plan) {
        for interface in &self.serving {
            let Some(attachment) = &interface.attachment else {
                continue;
            };
            if interface.ours && !attachment.ends_with_instance && self.may_move(interface) {
                plan.actions.push(Action::EndWithInstance {
                    interface: interface.id.clone(),
                    attachment: attachment.id.clone(),
                });
            }
        }
    }

    fn loose(&self) -> impl Iterator<Item = &NetworkInterface> {
        let interfaces = self.observed.interfaces.iter();
        interfaces.filter(|interface| interface.ours && interface.attachment.is_none())
    }
}

/// Getting more.
impl Round<'_> {
    fn fill(&self, mut missing: usize, plan: &mut Plan) {
        let mut free = FreeIn::new(self);
        let mut no_subnet = None;
        for interface in &self.serving {
            let places = self.places_left(interface).min(missing);
            if places == 0
                || self
                    .stands(&Barrier::Interface(interface.id.clone()))
                    .is_some()
            {
                continue;
            }
            let count = free.take(&interface.subnet, places);
            if count < places {
                no_subnet = Some(&interface.subnet);
            }
            if count > 0 {
                missing -= count;
                plan.actions.push(Action::Assign {
                    interface: interface.id.clone(),
                    unit: self.targets.unit,
                    count,
                });
            }
        }
        if missing == 0 {
            return self.delete_loose(plan);
        }
        plan.limit = match no_subnet {
            // Another interface would be in the same subnet.
            Some(subnet) => Some(self.subnet_limit(subnet)),
            None => self.one_more_interface(missing, &mut free, plan).err(),
        };
    }

    fn one_more_interface(
        &self,
        missing: usize,
        free: &mut FreeIn<'_, '_>,
        plan: &mut Plan,
    ) -> Result<(), Limit> {
        self.may_attach()?;
        if let Some(loose) = self.loose().next() {
            // EC2 needs a moment before it knows an interface everywhere.
            if !self.may_move(loose) {
                return Ok(());
            }
            plan.actions.push(Action::Attach {
                interface: loose.id.clone(),
                device: self.free_device(),
            });
            return Ok(());
        }
        if let Some(why) = self.stands(&Barrier::Creating) {
            return Err(self.interface_limit(format!("EC2 makes no further one: {why}")));
        }
        let first = self.serving[0];
        // The interface itself takes one address; with none beside it it is of no use.
        let places = self
            .observed
            .limits
            .addresses
            .saturating_sub(1)
            .min(missing);
        let count = free.take_beside_one(&first.subnet, places);
        if count == 0 {
            return Err(self.subnet_limit(&first.subnet));
        }
        plan.actions.push(Action::Create {
            subnet: first.subnet.clone(),
            groups: first.groups.clone(),
            unit: self.targets.unit,
            count,
        });
        Ok(())
    }

    fn may_attach(&self) -> Result<(), Limit> {
        let (attached, limits) = (self.observed.attached(), self.observed.limits);
        if attached >= limits.interfaces || self.stands(&Barrier::Attaching).is_some() {
            let last = self.serving[self.serving.len() - 1];
            return Err(Limit::Instance {
                kind: self.observed.instance.kind.clone(),
                interfaces: attached,
                each: limits.addresses.min(last.ranges.len() + 1),
                addresses: self.total(),
            });
        }
        match self.targets.interfaces {
            Some(most) if attached >= most => Err(self.interface_limit(format!(
                "--max-eni {most} allows no further interface; raise it, or let the node run fewer pods (maxPods)"
            ))),
            _ => Ok(()),
        }
    }

    fn places_left(&self, interface: &NetworkInterface) -> usize {
        let places = self.observed.limits.addresses.saturating_sub(1);
        places.saturating_sub(interface.ranges.len())
    }

    fn free_device(&self) -> u8 {
        let interfaces = self.observed.interfaces.iter();
        let taken: Vec<u8> = interfaces.filter_map(|i| i.device()).collect();
        (1..=u8::MAX)
            .find(|device| !taken.contains(device))
            .unwrap_or(u8::MAX)
    }

    fn subnet_limit(&self, subnet: &str) -> Limit {
        Limit::Subnet {
            subnet: subnet.to_owned(),
            range: self.observed.subnets.get(subnet).map(|known| known.range),
            unit: self.targets.unit,
        }
    }

    fn interface_limit(&self, why: String) -> Limit {
        let last = self.serving[self.serving.len() - 1];
        Limit::Interface {
            interface: last.id.clone(),
            places: last.ranges.len(),
            addresses: self.total(),
            why,
        }
    }
}

/// What is left of each subnet while a plan is made.
struct FreeIn<'r, 'a> {
    round: &'r Round<'a>,
    taken: usize,
}

impl<'r, 'a> FreeIn<'r, 'a> {
    fn new(round: &'r Round<'a>) -> Self {
        Self { round, taken: 0 }
    }

    fn take(&mut self, subnet: &str, wanted: usize) -> usize {
        let barrier = Barrier::Subnet(subnet.to_owned());
        if self.round.stands(&barrier).is_some() {
            return 0;
        }
        let Some(known) = self.round.observed.subnets.get(subnet) else {
            return wanted;
        };
        // All our interfaces are in one subnet but the first, which an administrator may have put elsewhere.
        let unit = self.round.targets.unit.size();
        let count = wanted.min(known.free.saturating_sub(self.taken) / unit);
        self.taken += count * unit;
        count
    }

    fn take_beside_one(&mut self, subnet: &str, wanted: usize) -> usize {
        self.taken += 1;
        self.take(subnet, wanted)
    }
}

/// Giving back.
impl Round<'_> {
    fn delete_loose(&self, plan: &mut Plan) {
        for interface in self.loose().filter(|loose| self.may_move(loose)) {
            plan.actions.push(Action::Delete {
                interface: interface.id.clone(),
            });
        }
    }

    fn give_back(&self, plan: &mut Plan) {
        let mut spare = Spare {
            addresses: self.total().saturating_sub(self.targets.wanted(self.usage)),
            prefixes: self
                .idle_prefixes()
                .saturating_sub(self.targets.free_prefixes()),
        };
        for interface in self.serving.iter().rev() {
            if !self.may_move(interface) {
                continue;
            }
            let long_idle = |range: &&Ipv4Net| {
                let idle = self.memory.idle_for(range, self.now);
                idle.is_some_and(|idle| idle >= self.targets.idle)
            };
            let idle = interface.ranges.iter().rev().filter(long_idle);
            let ranges: Vec<Ipv4Net> = idle.filter(|range| spare.take(range)).copied().collect();
            plan.actions.extend(given_back(interface, ranges));
        }
    }

    /// When a barrier falls, or something has been idle for long enough.
    fn next(&self) -> Option<Duration> {
        let idle = self.memory.idle().map(|since| since + self.targets.idle);
        let later = idle.filter(|at| *at > self.now);
        later.chain(self.memory.barriers.next(self.now)).min()
    }
}

/// An interface of ours of which nothing is left goes as a whole.
fn given_back(interface: &NetworkInterface, ranges: Vec<Ipv4Net>) -> Option<Action> {
    match &interface.attachment {
        Some(attachment) if interface.ours && ranges.len() == interface.ranges.len() => {
            Some(Action::Detach {
                interface: interface.id.clone(),
                attachment: attachment.id.clone(),
                ranges,
            })
        }
        _ if ranges.is_empty() => None,
        _ => Some(Action::Release {
            interface: interface.id.clone(),
            ranges,
        }),
    }
}

struct Spare {
    addresses: usize,
    prefixes: usize,
}

impl Spare {
    fn take(&mut self, range: &Ipv4Net) -> bool {
        let fits = self.addresses >= size(range) && (!is_prefix(range) || self.prefixes > 0);
        if fits {
            self.addresses -= size(range);
            self.prefixes -= usize::from(is_prefix(range));
        }
        fits
    }
}

fn is_prefix(range: &Ipv4Net) -> bool {
    range.prefix_len() <= PREFIX_LEN
}

#[cfg(test)]
mod tests;
