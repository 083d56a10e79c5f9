//! Random stories: pods come and go, requests fail, the agent is killed; an EC2 made of a few lists answers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use sealane_cloud::{Action, Barrier, Memory, Targets, Usage, plan};
use sealane_net::ec2::{Attachment, Limits, NetworkInterface, Observed, Subnet, Unit};
use sealane_net::{Ipv4Net, Mac};

/// Forgets nothing and checks what it is asked for.
struct Ec2 {
    observed: Observed,
    /// Blocks of 16 addresses: how many of each somebody has.
    next: u32,
    made: u32,
}

const RANGE: &str = "10.0.0.0/23";

impl Ec2 {
    fn new(limits: Limits) -> Self {
        let mut ec2 = Self {
            observed: Observed {
                limits,
                ..Observed::default()
            },
            next: 0,
            made: 0,
        };
        ec2.observed.interfaces = vec![ec2.interface()];
        ec2.observed.interfaces[0].ours = false;
        ec2.observed.interfaces[0].attachment = Some(Attachment {
            id: "a-0".into(),
            device: 0,
            ends_with_instance: true,
        });
        ec2.count();
        ec2
    }

    fn interface(&mut self) -> NetworkInterface {
        self.made += 1;
        NetworkInterface {
            id: format!("eni-{}", self.made),
            subnet: "subnet".into(),
            mac: Mac([2; 6]),
            primary: Ipv4Addr::new(10, 9, 9, self.made as u8),
            ranges: BTreeSet::new(),
            groups: vec![],
            ours: true,
            attachment: None,
        }
    }

    fn taken(&self) -> Vec<Ipv4Net> {
        let interfaces = self.observed.interfaces.iter();
        interfaces.flat_map(|i| i.ranges.iter().copied()).collect()
    }

    fn count(&mut self) {
        let range: Ipv4Net = RANGE.parse().unwrap();
        let taken: usize = self.taken().iter().map(sealane_net::ec2::size).sum();
        let free = 512 - taken;
        let subnet = Subnet { range, free };
        self.observed.subnets.insert("subnet".into(), subnet);
    }

    /// One that overlaps nothing, if there is any.
    fn allocate(&mut self, unit: Unit) -> Option<Ipv4Net> {
        let size = unit.size() as u32;
        let taken = self.taken();
        let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
        for n in 0..512 / size {
            self.next = (self.next + 1) % (512 / size);
            let address = Ipv4Addr::from(base + self.next * size);
            let range = Ipv4Net::new(address, 32 - size.ilog2() as u8).unwrap();
            let overlaps = |other: &Ipv4Net| other.contains(&range) || range.contains(other);
            if !taken.iter().any(overlaps) {
                return Some(range);
            }
            let _ = n;
        }
        None
    }

    fn assign(&mut self, id: &str, unit: Unit, count: usize) -> Result<(), Barrier> {
        let places = self.observed.limits.addresses - 1;
        for _ in 0..count {
            let range = self.allocate(unit);
            let range = range.ok_or_else(|| Barrier::Subnet("subnet".into()))?;
            let interface = self.observed.interface_mut(id).unwrap();
            assert!(interface.ranges.len() < places, "more than the type allows");
            interface.ranges.insert(range);
        }
        Ok(())
    }

    fn carry_out(&mut self, action: &Action, leased: &BTreeSet<Ipv4Addr>) -> Result<(), Barrier> {
        for range in action.withdraws() {
            assert!(
                !leased.iter().any(|address| range.contains(address)),
                "{action} takes a pod's address"
            );
        }
        match action {
            Action::Assign {
                interface,
                unit,
                count,
            } => self.assign(interface, *unit, *count)?,
            Action::Release { interface, ranges } => {
                let interface = self.observed.interface_mut(interface).unwrap();
                for range in ranges {
                    assert!(interface.ranges.remove(range));
                }
            }
            Action::Create { unit, count, .. } => {
                let interface = self.interface();
                let id = interface.id.clone();
                self.observed.interfaces.push(interface);
                self.assign(&id, *unit, *count)?;
            }
            Action::Attach { interface, device } => {
                assert!(self.observed.attached() < self.observed.limits.interfaces);
                let interfaces = &mut self.observed.interfaces;
                assert!(interfaces.iter().all(|i| i.device() != Some(*device)));
                self.observed.interface_mut(interface).unwrap().attachment = Some(Attachment {
                    id: format!("a-{device}"),
                    device: *device,
                    ends_with_instance: false,
                });
            }
            Action::EndWithInstance { interface, .. } => {
                let interface = self.observed.interface_mut(interface).unwrap();
                interface.attachment.as_mut().unwrap().ends_with_instance = true;
            }
            Action::Detach { interface, .. } => {
                let interface = self.observed.interface_mut(interface).unwrap();
                assert!(interface.ours, "an interface that we did not make");
                interface.attachment = None;
            }
            Action::Delete { interface } => {
                let found = self.observed.interface_mut(interface).unwrap();
                assert!(found.ours && found.attachment.is_none());
                self.observed.interfaces.retain(|i| i.id != *interface);
            }
        }
        self.count();
        Ok(())
    }

    fn usable(&self) -> Vec<Ipv4Addr> {
        let serving = self.observed.serving();
        let ranges = serving.iter().flat_map(|interface| &interface.ranges);
        ranges
            .flat_map(|range| {
                let first = u32::from(range.network());
                (0..sealane_net::ec2::size(range) as u32).map(move |n| Ipv4Addr::from(first + n))
            })
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add,
    Delete(usize),
    /// The next request fails in this way.
    Fail,
    Kill,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Add),
        4 => (0usize..64).prop_map(Step::Delete),
        1 => Just(Step::Fail),
        1 => Just(Step::Kill),
        2 => (1u64..400).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

fn targets() -> impl Strategy<Value = Targets> {
    let unit = prop_oneof![Just(Unit::Address), Just(Unit::Prefix)];
    (unit, prop::option::of(0usize..6), 0usize..9, 0usize..3).prop_map(
        |(unit, warm, minimum, warm_prefixes)| Targets {
            unit,
            warm,
            minimum,
            warm_prefixes,
            ..Targets::default()
        },
    )
}

struct World {
    ec2: Ec2,
    targets: Targets,
    memory: Memory,
    usage: Usage,
    now: Duration,
    fail: bool,
}

impl World {
    /// Plans and carries out until there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.memory.look(&self.ec2.observed, &self.usage, self.now);
            let plan = plan(
                &self.ec2.observed,
                &self.usage,
                &self.targets,
                &self.memory,
                self.now,
            );
            assert!(plan.lost.is_empty(), "{plan:?}");
            if plan.actions.is_empty() {
                return;
            }
            for action in &plan.actions {
                let result = match std::mem::take(&mut self.fail) {
                    true => Err(Barrier::Everything),
                    false => self.ec2.carry_out(action, &self.usage.leased),
                };
                if let Err(barrier) = result {
                    let barriers = &mut self.memory.barriers;
                    barriers.refused(barrier, "no".into(), self.now, 0.5);
                    break;
                }
            }
            self.serve();
        }
        panic!("no end of actions: {:?}", self.ec2.observed);
    }

    fn serve(&mut self) {
        for address in self.ec2.usable() {
            if self.usage.waiting > 0 && self.usage.leased.insert(address) {
                self.usage.waiting -= 1;
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add => {
                self.usage.waiting += 1;
                self.serve();
            }
            Step::Delete(n) => {
                if let Some(address) = self.usage.leased.iter().nth(*n).copied() {
                    self.usage.leased.remove(&address);
                    self.serve();
                }
            }
            Step::Fail => self.fail = true,
            Step::Kill => self.memory = Memory::default(),
            Step::Wait(seconds) => self.now += Duration::from_secs(*seconds),
        }
        self.settle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No pod's address is given back, no limit exceeded, it always comes to rest, and once
    /// everything passes again the targets are met or a limit says why not.
    #[test]
    fn pods_keep_their_addresses_and_targets_are_met(
        steps in steps(), targets in targets(), interfaces in 1usize..4, addresses in 2usize..8,
    ) {
        let limits = Limits { interfaces, addresses };
        let mut world = World {
            ec2: Ec2::new(limits),
            targets,
            memory: Memory::default(),
            usage: Usage::default(),
            now: Duration::from_secs(1),
            fail: false,
        };
        for step in &steps {
            world.step(step);
        }
        world.fail = false;
        for _ in 0..3 {
            world.step(&Step::Wait(400));
        }
        let World { ec2, usage, targets, memory, now, .. } = &world;
        let at_rest = plan(&ec2.observed, usage, targets, memory, *now);
        prop_assert!(at_rest.actions.is_empty(), "{:?}", at_rest);
        let free = ec2.usable().len() - usage.leased.len();
        let met = usage.waiting == 0 && free >= targets.warm.unwrap_or(0);
        prop_assert!(met || at_rest.limit.is_some(), "{:?} {:?}", at_rest, ec2.observed);
        // Nothing is held that nobody wants: at most the targets and what does not divide.
        let most = usage.leased.len() + targets.warm.unwrap_or(5).max(targets.minimum)
            + (targets.warm_prefixes + usage.leased.len() + 1) * if targets.unit == Unit::Prefix { 16 } else { 0 };
        prop_assert!(ec2.usable().len() <= most.max(targets.minimum + 16), "{:?}", ec2.observed);
        prop_assert!(ec2.observed.interfaces.iter().all(|i| i.attachment.is_some()));
    }
}
