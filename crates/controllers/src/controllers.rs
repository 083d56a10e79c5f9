//! All controllers, side by side: each sees every input, none sees another.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use sealane_ipam::SubnetError;
use serde_json::{Map, Value};

use crate::action::{Action, Controller, Input};
use crate::endpoints::EndpointSlices;
use crate::lifecycle::{Lifecycle, Settings};
use crate::scheduler::Scheduler;
use crate::subnets::{Cut, Subnets};
use crate::workloads::Workloads;

pub struct Controllers {
    all: Vec<(&'static str, Box<dyn Controller + Send>)>,
}

impl Controllers {
    /// # Errors
    /// When a range cannot be cut as asked.
    pub fn new(cuts: Vec<Cut>, nodes: Settings) -> Result<Self, SubnetError> {
        Ok(Self {
            all: vec![
                ("subnets", Box::new(Subnets::new(cuts)?)),
                ("scheduler", Box::new(Scheduler::default())),
                ("nodes", Box::new(Lifecycle::new(nodes))),
                ("workloads", Box::new(workloads())),
                ("endpoints", Box::new(EndpointSlices::new(seed()))),
            ],
        })
    }

    /// Shows all of them what happened and gathers what they want.
    pub fn handle(&mut self, input: &Input, now: Instant, actions: &mut Vec<Action>) {
        for (_, controller) in &mut self.all {
            controller.handle(input, now, actions);
        }
    }

    /// Shows all of them the clock on the wall.
    pub fn set_wall(&mut self, now: Instant, wall: Timestamp) {
        for (_, controller) in &mut self.all {
            controller.set_wall(now, wall);
        }
    }

    /// When the first of them wants a tick.
    pub fn wake_at(&self) -> Option<Instant> {
        self.all
            .iter()
            .filter_map(|(_, controller)| controller.wake_at())
            .min()
    }

    /// What each of them knows.
    pub fn state(&self, now: Instant) -> Value {
        let states = self
            .all
            .iter()
            .map(|(name, c)| ((*name).to_owned(), c.state(now)));
        Value::Object(states.collect::<Map<_, _>>())
    }
}

fn workloads() -> Workloads {
    Workloads::new(Instant::now(), Timestamp::now(), seed())
}

/// Any number that differs between processes does.
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
