//! How a Deployment gets from one ReplicaSet to the next.
//!
//! ```text
//!  paused, or asked for another number ──> scale in proportion
//!  Recreate       ──> old sets to 0 ──> wait for their pods to be gone ──> new set to all
//!  RollingUpdate  ──> new set up as far as the surge allows
//!                 ──> else old sets down: unhealthy pods first, then as far as availability allows
//!  complete       ──> oldest sets beyond the history limit are removed
//! ```
//!
//! One plan is one step: it is made from what the watches show, its requests
//! carry the versions that it was made from, and the next one is made when
//! these have been answered. Numbers are those of kube-controller-manager.

use std::sync::Arc;

use serde_json::{Value, json};

use super::deployment::{
    DESIRED_REPLICAS, Deployment, HASH_LABEL, MAX_REPLICAS, REVISION, REVISION_HISTORY, Strategy,
};
use super::head::Head;
use super::pod::safe_text;
use super::replica_set::ReplicaSet;
use crate::action::Kind;

/// One step of a rollout.
#[derive(Debug, Default, PartialEq)]
pub struct Step {
    /// The ReplicaSet to be made.
    pub create: Option<Value>,
    pub changes: Vec<SetChange>,
    /// ReplicaSets that nobody will go back to.
    pub remove: Vec<Arc<ReplicaSet>>,
    /// The revision to be shown on the Deployment.
    pub revision: Option<String>,
}

/// A ReplicaSet that is to be changed.
#[derive(Debug, PartialEq)]
pub struct SetChange {
    pub set: Arc<ReplicaSet>,
    pub patch: Value,
    /// From how many to how many, if that changes.
    pub scales: Option<(i32, i32)>,
}

/// The ReplicaSets of a Deployment.
pub struct Sets {
    pub new: Option<Arc<ReplicaSet>>,
    /// Oldest first.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// Tells the one of the current template from the others.
    pub fn of(deployment: &Deployment, mut all: Vec<Arc<ReplicaSet>>) -> Self {
        all.sort_by(|a, b| age(&a.head).cmp(&age(&b.head)));
        let new = all.iter().position(|set| deployment.is_current(set));
        let new = new.map(|index| all.remove(index));
        Self { new, old: all }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

fn age(head: &Head) -> (Option<k8s_openapi::jiff::Timestamp>, &str) {
    (head.created, &head.name.name)
}

/// Decides for one Deployment. `old_pods` says whether pods of old ReplicaSets still run, or have not ended yet.
pub fn step(deployment: &Deployment, sets: &Sets, old_pods: bool) -> Step {
    let mut plan = Plan::new(deployment, sets);
    if deployment.head.deleting {
        return plan.step;
    }
    if deployment.paused || is_rescaled(deployment, sets) {
        plan.keep_up();
        plan.scale();
        if deployment.paused {
            plan.clean_up();
        }
        return plan.finish();
    }
    match deployment.strategy {
        Strategy::Recreate => plan.recreate(old_pods),
        Strategy::RollingUpdate { .. } => plan.roll(),
    }
    if deployment.is_complete(&deployment.status) {
        plan.clean_up();
    }
    plan.finish()
}

/// Whether another number is asked for than when the sets were last scaled.
fn is_rescaled(deployment: &Deployment, sets: &Sets) -> bool {
    let mut active = sets.all().filter(|set| set.replicas > 0);
    active.any(|set| {
        let desired = number(set, DESIRED_REPLICAS);
        desired.is_some_and(|desired| desired != deployment.replicas)
    })
}

fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.head.annotations.get(annotation)?.parse().ok()
}

fn revision(head: &Head) -> i64 {
    let text = head.annotations.get(REVISION);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A step in the making: sizes change in it as if they had changed already.
struct Plan<'a> {
    deployment: &'a Deployment,
    new: Option<Draft>,
    old: Vec<Draft>,
    step: Step,
}

struct Draft {
    set: Arc<ReplicaSet>,
    replicas: i32,
    annotations: Vec<(String, String)>,
    min_ready: Option<u64>,
}

impl Draft {
    fn of(set: &Arc<ReplicaSet>) -> Self {
        Self {
            set: set.clone(),
            replicas: set.replicas,
            annotations: Vec::new(),
            min_ready: None,
        }
    }

    fn note(&mut self, key: &str, value: String) {
        if self.set.head.annotations.get(key) != Some(&value) {
            self.annotations.retain(|(held, _)| held != key);
            self.annotations.push((key.to_owned(), value));
        }
    }

    /// Its status may be late and still count pods that it has to give up.
    fn available(&self) -> i32 {
        self.set.status.available_replicas.min(self.replicas)
    }

    fn change(self) -> Option<SetChange> {
        let before = self.set.replicas;
        let mut patch = json!({"metadata": {
            "uid": self.set.head.uid, "resourceVersion": self.set.head.version,
        }});
        for (key, value) in &self.annotations {
            patch["metadata"]["annotations"][key] = json!(value);
        }
        if let Some(seconds) = self.min_ready {
            patch["spec"]["minReadySeconds"] = json!(seconds);
        }
        if self.replicas != before {
            patch["spec"]["replicas"] = json!(self.replicas);
        }
        let changed = patch.get("spec").is_some() || !self.annotations.is_empty();
        changed.then(|| SetChange {
            scales: (self.replicas != before).then_some((before, self.replicas)),
            set: self.set,
            patch,
        })
    }
}

impl<'a> Plan<'a> {
    fn new(deployment: &'a Deployment, sets: &Sets) -> Self {
        Self {
            deployment,
            new: sets.new.as_ref().map(Draft::of),
            old: sets.old.iter().map(Draft::of).collect(),
            step: Step::default(),
        }
    }

    fn finish(mut self) -> Step {
        let drafts = self.new.into_iter().chain(self.old);
        self.step.changes = drafts.filter_map(Draft::change).collect();
        let removed = |change: &SetChange| self.step.remove.contains(&change.set);
        self.step.changes.retain(|change| !removed(change));
        self.step
    }

    fn sizes(&self) -> i32 {
        let drafts = self.old.iter().chain(&self.new);
        drafts.map(|draft| draft.replicas).sum()
    }

    fn roll(&mut self) {
        self.keep_up();
        if self.new.is_none() {
            return self.make();
        }
        if !self.raise_new() {
            self.lower_old();
        }
    }

    fn recreate(&mut self, old_pods: bool) {
        self.keep_up();
        let active = self.old.iter().any(|draft| draft.replicas > 0);
        if active {
            for draft in &mut self.old {
                set_size(self.deployment, draft, 0);
            }
        } else if !old_pods {
            let replicas = self.deployment.replicas;
            match &mut self.new {
                None => self.make(),
                Some(new) => set_size(self.deployment, new, replicas),
            }
        }
    }

    /// The new set's annotations follow the Deployment's.
    fn keep_up(&mut self) {
        let Some(new) = &mut self.new else { return };
        for (key, value) in copied_annotations(self.deployment) {
            new.note(key, value.to_owned());
        }
        let seconds = self.deployment.min_ready.as_secs();
        if new.set.min_ready.as_secs() != seconds {
            new.min_ready = Some(seconds);
        }
        let highest = self.old.iter().map(|draft| revision(&draft.set.head)).max();
        let next = highest.unwrap_or(0) + 1;
        let held = revision(&new.set.head);
        if held < next {
            let before = new.set.head.annotations.get(REVISION).cloned();
            let history = new.set.head.annotations.get(REVISION_HISTORY).cloned();
            if let Some(before) = before {
                let history = history.filter(|h| !h.is_empty());
                let history = history.map_or(before.clone(), |h| format!("{h},{before}"));
                new.note(REVISION_HISTORY, history);
            }
            new.note(REVISION, next.to_string());
        }
        self.show_revision(held.max(next));
    }

    fn show_revision(&mut self, revision: i64) {
        let revision = revision.to_string();
        if self.deployment.head.annotations.get(REVISION) != Some(&revision) {
            self.step.revision = Some(revision);
        }
    }

    /// A new set, as large as it may be at once.
    fn make(&mut self) {
        let deployment = self.deployment;
        let name = set_name(deployment);
        let hash = name.rsplit('-').next().unwrap_or_default().to_owned();
        let highest = self.old.iter().map(|draft| revision(&draft.set.head)).max();
        let next = highest.unwrap_or(0) + 1;
        let size = self.room_for_new(0);
        let mut template = deployment.template.clone();
        template["metadata"]["labels"][HASH_LABEL] = json!(hash);
        let mut annotations = json!({
            REVISION: next.to_string(),
            DESIRED_REPLICAS: deployment.replicas.to_string(),
            MAX_REPLICAS: (deployment.replicas + deployment.max_surge()).to_string(),
        });
        for (key, value) in copied_annotations(deployment) {
            annotations[key] = json!(value);
        }
        let mut spec = json!({
            "replicas": size,
            "selector": deployment.selector.and(HASH_LABEL, &hash),
            "template": template,
        });
        if !deployment.min_ready.is_zero() {
            spec["minReadySeconds"] = json!(deployment.min_ready.as_secs());
        }
        self.step.create = Some(json!({
            "apiVersion": Kind::ReplicaSet.api_version(),
            "kind": Kind::ReplicaSet.to_string(),
            "metadata": {
                "name": name,
                "namespace": deployment.head.name.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [deployment.head.reference()],
            },
            "spec": spec,
        }));
        self.show_revision(next);
    }

    /// How large the new set, which has `held` pods, may be.
    fn room_for_new(&self, held: i32) -> i32 {
        let wanted = self.deployment.replicas;
        if self.deployment.strategy == Strategy::Recreate {
            return wanted;
        }
        let room = wanted + self.deployment.max_surge() - self.sizes();
        if room <= 0 {
            return held;
        }
        held + room.min(wanted - held)
    }

    fn raise_new(&mut self) -> bool {
        let wanted = self.deployment.replicas;
        let Some(held) = self.new.as_ref().map(|new| new.replicas) else {
            return false;
        };
        let size = if held >= wanted {
            wanted
        } else {
            self.room_for_new(held)
        };
        if let Some(new) = &mut self.new {
            set_size(self.deployment, new, size);
        }
        size != held
    }

    fn lower_old(&mut self) {
        let deployment = self.deployment;
        let least = deployment.replicas - deployment.max_unavailable();
        let new = self.new.as_ref();
        let new_missing = new.map_or(0, |new| new.replicas - new.available());
        let surplus = self.sizes() - least - new_missing;
        if surplus <= 0 {
            return;
        }
        // Unhealthy pods first: nobody misses them.
        let mut left = surplus;
        for draft in self.old.iter_mut().filter(|draft| draft.replicas > 0) {
            let unhealthy = (draft.replicas - draft.available()).clamp(0, left);
            set_size(deployment, draft, draft.replicas - unhealthy);
            left -= unhealthy;
        }
        let available = self.old.iter().chain(&self.new).map(Draft::available);
        let mut left = available.sum::<i32>() - least;
        for draft in self.old.iter_mut().filter(|draft| draft.replicas > 0) {
            let fewer = draft.replicas.clamp(0, left.max(0));
            set_size(deployment, draft, draft.replicas - fewer);
            left -= fewer;
        }
    }

    /// Follows a new number while more than one set has pods, or while paused.
    fn scale(&mut self) {
        let deployment = self.deployment;
        if let Some(one) = self.only_one() {
            return set_size(deployment, one, deployment.replicas);
        }
        if self
            .new
            .as_ref()
            .is_some_and(|new| is_saturated(deployment, new))
        {
            for draft in &mut self.old {
                if draft.replicas > 0 {
                    set_size(deployment, draft, 0);
                }
            }
            return;
        }
        if deployment.strategy != Strategy::Recreate {
            self.scale_in_proportion();
        }
    }

    /// The only set with pods; or, if none has any, the new one or the youngest.
    fn only_one(&mut self) -> Option<&mut Draft> {
        let active = |draft: &&mut Draft| draft.replicas > 0;
        let drafts = || self.old.iter().chain(&self.new);
        match drafts().filter(|draft| draft.replicas > 0).count() {
            0 if self.new.is_some() => self.new.as_mut(),
            0 => self.old.last_mut(),
            1 => self.old.iter_mut().chain(&mut self.new).find(active),
            _ => None,
        }
    }

    fn scale_in_proportion(&mut self) {
        let deployment = self.deployment;
        let allowed = match deployment.replicas {
            0 => 0,
            replicas => replicas + deployment.max_surge(),
        };
        let to_add = allowed - self.sizes();
        let drafts = self.old.iter_mut().chain(&mut self.new);
        let mut active: Vec<_> = drafts.filter(|draft| draft.replicas > 0).collect();
        // Large ones first; of the same size the younger when there is more, the older when there is less.
        active.sort_by(|a, b| {
            let by_age = age(&a.set.head).cmp(&age(&b.set.head));
            let by_age = if to_add > 0 { by_age.reverse() } else { by_age };
            b.replicas.cmp(&a.replicas).then(by_age)
        });
        let mut added = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for draft in &active {
            let part = proportion(deployment, draft, to_add, added);
            added += part;
            sizes.push(draft.replicas + part);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (draft, size) in active.into_iter().zip(sizes) {
            set_size(deployment, draft, size);
        }
    }

    /// Sets without pods that are older than the history is long.
    fn clean_up(&mut self) {
        let Some(limit) = self.deployment.history else {
            return;
        };
        let mut kept: Vec<_> = self.old.iter().map(|draft| &draft.set).collect();
        kept.retain(|set| !set.head.deleting);
        let Some(surplus) = kept.len().checked_sub(limit) else {
            return;
        };
        kept.sort_by_key(|set| revision(&set.head));
        let idle = |set: &&&Arc<ReplicaSet>| {
            set.status.replicas == 0
                && set.replicas == 0
                && set.head.generation <= set.status.observed_generation
        };
        let removed = kept.iter().take(surplus).filter(idle);
        self.step.remove = removed.map(|set| Arc::clone(set)).collect();
    }
}

/// Gives a set a size, and notes what it is a part of.
fn set_size(deployment: &Deployment, draft: &mut Draft, size: i32) {
    draft.replicas = size;
    if size > 0 || draft.set.replicas > 0 {
        let most = deployment.replicas + deployment.max_surge();
        draft.note(DESIRED_REPLICAS, deployment.replicas.to_string());
        draft.note(MAX_REPLICAS, most.to_string());
    }
}

fn is_saturated(deployment: &Deployment, new: &Draft) -> bool {
    let wanted = deployment.replicas;
    new.replicas == wanted
        && number(&new.set, DESIRED_REPLICAS) == Some(wanted)
        && new.available() == wanted
}

/// A set's part of what is to be added, of which `added` is given out already.
fn proportion(deployment: &Deployment, draft: &Draft, to_add: i32, added: i32) -> i32 {
    if draft.replicas == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let part = fraction(deployment, draft);
    let left = to_add - added;
    if to_add > 0 {
        part.min(left)
    } else {
        part.max(left)
    }
}

fn fraction(deployment: &Deployment, draft: &Draft) -> i32 {
    if deployment.replicas == 0 {
        return -draft.replicas;
    }
    let most = f64::from(deployment.replicas + deployment.max_surge());
    let before = number(&draft.set, MAX_REPLICAS).filter(|most| *most > 0);
    let before = f64::from(before.unwrap_or(deployment.status.replicas).max(1));
    let size = f64::from(draft.replicas) * most / before;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "sizes are small whole numbers after rounding"
    )]
    let size = size.round() as i32;
    size - draft.replicas
}

/// What a ReplicaSet takes over from its Deployment.
fn copied_annotations(deployment: &Deployment) -> impl Iterator<Item = (&str, &str)> {
    const OWN: [&str; 5] = [
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    ];
    let all = deployment.head.annotations.iter();
    all.map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| !OWN.contains(key))
}

/// The Deployment's name and a hash of its template; another hash after a collision.
pub fn set_name(deployment: &Deployment) -> String {
    let text = deployment.template.to_string();
    let mut hash = fnv(0x811c_9dc5, text.as_bytes());
    if let Some(collisions) = deployment.status.collision_count {
        hash = fnv(hash, &collisions.to_le_bytes());
    }
    format!("{}-{}", deployment.head.name.name, safe_text(hash))
}

/// FNV-1a, 32 bit.
pub fn fnv(start: u32, bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(start, step)
}
