//! CronJobs: their plans, carried out.

use std::sync::Arc;
use std::time::Instant;

use sealane_objects::ObjectName;

use super::Workloads;
use super::cron_job;
use super::head::status_change;
use crate::action::{About, Action, Key, Kind, Part};

impl Workloads {
    pub(super) fn plan_cron_job(&mut self, key: &Key, now: Instant, actions: &mut Vec<Action>) {
        let Some(cron) = self.cron_jobs.get(&key.name).cloned() else {
            return;
        };
        if !self.jobs.is_synced() {
            return;
        }
        let own = self.jobs.values().filter(|job| {
            job.head.is_controlled_by(&cron.head.uid)
                && !self
                    .desk
                    .is_deleting(Kind::Job, &job.head.name, &job.head.uid)
        });
        let own: Vec<_> = own.map(Arc::clone).collect();
        let own: Vec<_> = own.iter().map(|job| &**job).collect();
        let busy = self.desk.is_waiting(key, Kind::Job) || self.desk.rests(key, now);
        let wall = self.clock.wall(now);
        let plan = cron_job::plan(&cron, &own, busy, wall);
        let named = |name: &str| ObjectName::new(&*key.name.namespace, name);
        if !self.desk.rests(key, now) {
            for (name, uid) in &plan.delete {
                actions.push(self.desk.delete(key, Kind::Job, &named(name), uid));
            }
        }
        if let Some((name, at)) = plan.create {
            let job = cron.job(&name, at);
            actions.push(self.desk.create(key, Kind::Job, named(&name), job));
        }
        if let Some(patch) = status_change(&cron.head, &cron.status, &plan.status) {
            let patch = self.desk.patch_of(key, &cron.head, Part::Status, patch);
            actions.extend(patch);
        }
        let events = plan.tell.into_iter();
        actions.extend(events.map(|(severity, reason, message)| Action::Tell {
            about: About::of(&cron.head),
            severity,
            reason,
            message,
        }));
        if let Some(next) = plan.next
            && self.alarms.insert((next, key.clone()))
        {
            self.desk.wake(now + cron_job::wait(wall, next), key);
        }
    }

    /// Whose time has come by the clock on the wall, which a machine that slept goes by alone.
    pub(super) fn ring_alarms(&mut self, now: Instant) {
        let wall = self.clock.wall(now);
        while self.alarms.first().is_some_and(|(at, _)| *at <= wall)
            && let Some((_, key)) = self.alarms.pop_first()
        {
            self.concerned.insert(key);
        }
    }
}
