//! Since when a Service's slices have been out of date: what
//! `endpoints.kubernetes.io/last-change-trigger-time` says, and what nodes
//! measure their network programming latency from.
//!
//! The change that counts is the first of those that one write tells: a pod that
//! turned ready or not ready, or the Service that was made. It waits until the
//! write is done or nothing is left to write.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use sealane_objects::ObjectName;

use super::service::Service;
use crate::view::PodView;

/// The annotation of slices.
pub const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What is known of each Service.
#[derive(Debug, Default)]
pub struct Triggers(BTreeMap<ObjectName, Known>);

#[derive(Debug, Default)]
struct Known {
    /// When each pod last turned ready or not ready.
    pods: BTreeMap<String, Timestamp>,
    /// The first change that is not written yet.
    waiting: Option<Timestamp>,
}

impl Triggers {
    /// Takes in how a Service's pods are now; the time of the first change that is not written.
    /// Of a Service that was there before us (`has_slices`) nobody knows what is new.
    pub fn look<'a>(
        &mut self,
        service: &Service,
        pods: impl Iterator<Item = (&'a ObjectName, &'a PodView)>,
        has_slices: bool,
    ) -> Option<Timestamp> {
        let name = &service.head.name;
        let is_new = !self.0.contains_key(name);
        let known = self.0.entry(name.clone()).or_default();
        let now: BTreeMap<String, Timestamp> = pods
            .filter_map(|(pod, view)| Some((pod.name.clone(), view.facts.ready_turned?)))
            .collect();
        let turned = now
            .iter()
            .filter(|(pod, at)| known.pods.get(*pod).is_none_or(|before| *at > before))
            .map(|(_, at)| *at)
            .min();
        let first = match (is_new, has_slices) {
            (false, _) => turned,
            (true, false) => service.head.created,
            (true, true) => None,
        };
        known.pods = now;
        known.waiting = known.waiting.into_iter().chain(first).min();
        known.waiting
    }

    /// What a Service waits for is written.
    pub fn written(&mut self, service: &ObjectName) {
        if let Some(known) = self.0.get_mut(service) {
            known.waiting = None;
        }
    }

    pub fn forget(&mut self, service: &ObjectName) {
        self.0.remove(service);
    }
}
