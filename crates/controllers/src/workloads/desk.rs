//! What has been asked of the API server and is not seen yet.
//!
//! Caches are always a little late. A controller that counted only what it
//! sees would make a pod twice; so everything that is asked for counts from
//! then on, until a watch shows it or the request fails. Names of new objects
//! are chosen here, so both can be told exactly, pod by pod. (Kubernetes
//! counts "expectations" instead, since there the server chooses.)
//!
//! - an object that is being *created* counts as there;
//! - an object that is being *deleted* counts as gone;
//! - an object is *patched* once by each owner in each of its versions: whatever
//!   comes of the patch, a watch shows another version afterwards;
//! - an owner with whom something went wrong is left alone for a while that doubles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::head::Head;
use crate::action::{Action, Key, Kind, Outcome, Part};

/// A creation or deletion that was done but never seen, because a watch had a gap, is forgotten after this.
const NEVER_SEEN: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// As many pods as one owner may ask for at once, in the end.
const LARGEST_BATCH: usize = 500;

type Place = (Kind, ObjectName);

#[derive(Default)]
pub struct Desk {
    pending: BTreeMap<Place, Pending>,
    patches: HashMap<Place, Vec<Asked>>,
    owners: HashMap<Key, Owner>,
    timers: BTreeSet<(Instant, Key)>,
    /// When to look for what was never seen.
    sweep_at: Option<Instant>,
    now: Option<Instant>,
}

/// A creation or deletion that no watch has shown.
struct Pending {
    by: Key,
    /// None for a creation.
    deletes: Option<String>,
    ended: Option<Instant>,
}

/// The last patch of an object by an owner.
struct Asked {
    by: Key,
    version: String,
    ended: bool,
    /// It was refused: the same version may be tried again from then on.
    again_at: Option<Instant>,
}

/// What is remembered of an owner while it is busy or in trouble.
#[derive(Default)]
struct Owner {
    in_flight: usize,
    creations: usize,
    batch: usize,
    failures: u32,
    not_before: Option<Instant>,
    failure: Option<(&'static str, String)>,
}

impl Desk {
    /// The time of what is asked for from now on.
    pub fn set_now(&mut self, now: Instant) {
        self.now = Some(now);
    }

    pub fn now(&self) -> Option<Instant> {
        self.now
    }

    pub fn create(&mut self, by: &Key, kind: Kind, name: ObjectName, object: Value) -> Action {
        let owner = self.owners.entry(by.clone()).or_default();
        owner.in_flight += 1;
        owner.creations += 1;
        let pending = Pending {
            by: by.clone(),
            deletes: None,
            ended: None,
        };
        self.pending.insert((kind, name.clone()), pending);
        Action::Create {
            by: by.clone(),
            kind,
            name,
            object: Box::new(object),
        }
    }

    pub fn delete(&mut self, by: &Key, kind: Kind, name: &ObjectName, uid: &str) -> Action {
        self.owners.entry(by.clone()).or_default().in_flight += 1;
        let pending = Pending {
            by: by.clone(),
            deletes: Some(uid.to_owned()),
            ended: None,
        };
        self.pending.insert((kind, name.clone()), pending);
        Action::Delete {
            by: by.clone(),
            kind,
            name: name.clone(),
            uid: uid.to_owned(),
        }
    }

    /// A patch of an object in this version; none if it was asked for already.
    pub fn patch(
        &mut self,
        by: &Key,
        (kind, name, version): (Kind, &ObjectName, &str),
        part: Part,
        patch: Value,
    ) -> Option<Action> {
        let asked = self.patches.entry((kind, name.clone())).or_default();
        let before = asked.iter().position(|asked| asked.by == *by);
        if let Some(before) = before {
            if !asked[before].allows(version, self.now) {
                return None;
            }
            asked.swap_remove(before);
        }
        asked.push(Asked {
            by: by.clone(),
            version: version.to_owned(),
            ended: false,
            again_at: None,
        });
        self.owners.entry(by.clone()).or_default().in_flight += 1;
        Some(Action::Patch {
            by: by.clone(),
            kind,
            name: name.clone(),
            part,
            patch: Box::new(patch),
        })
    }

    /// A patch of an object that watches show with its head.
    pub fn patch_of(&mut self, by: &Key, head: &Head, part: Part, patch: Value) -> Option<Action> {
        self.patch(by, (head.kind, &head.name, &head.version), part, patch)
    }

    /// Names of objects of a kind that are on their way for an owner.
    pub fn creating<'a>(&'a self, by: &'a Key, kind: Kind) -> impl Iterator<Item = &'a ObjectName> {
        let first = (kind, ObjectName::new(by.name.namespace.clone(), ""));
        self.pending
            .range(first..)
            .take_while(move |((k, name), _)| *k == kind && name.namespace == by.name.namespace)
            .filter(move |(_, pending)| pending.by == *by && pending.deletes.is_none())
            .map(|((_, name), _)| name)
    }

    /// Whether an owner has asked for objects of a kind to be made or deleted and does not see it yet.
    pub fn is_waiting(&self, by: &Key, kind: Kind) -> bool {
        let first = (kind, ObjectName::new(by.name.namespace.clone(), ""));
        let mut there = self
            .pending
            .range(first..)
            .take_while(|((k, name), _)| *k == kind && name.namespace == by.name.namespace);
        there.any(|(_, pending)| pending.by == *by)
    }

    /// Whether an object is on its way out.
    pub fn is_deleting(&self, kind: Kind, name: &ObjectName, uid: &str) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let pending = self.pending.get(&(kind, name.clone()));
        pending.is_some_and(|pending| pending.deletes.as_deref() == Some(uid))
    }

    /// Whether this owner has asked for a change of that object, in this version of it.
    pub fn is_patching(&self, by: &Key, kind: Kind, name: &ObjectName, version: &str) -> bool {
        let asked = self.patches.get(&(kind, name.clone()));
        let mut asked = asked.into_iter().flatten();
        asked.any(|asked| asked.by == *by && asked.version == version)
    }

    /// Whether an owner waits for answers.
    pub fn is_busy(&self, by: &Key) -> bool {
        self.owners.get(by).is_some_and(|owner| owner.in_flight > 0)
    }

    /// How many of `wanted` objects an owner may ask for now.
    ///
    /// One, then two, then four: if the first fails, the others would too.
    pub fn batch(&mut self, by: &Key, wanted: usize) -> usize {
        let Some(owner) = self.owners.get_mut(by) else {
            return wanted.min(1);
        };
        if wanted == 0 {
            owner.batch = 0;
        }
        if owner.creations > 0 {
            return 0;
        }
        wanted.min(owner.batch.max(1))
    }

    /// Whether more of the objects that an owner asked for are still being made.
    pub fn is_creating(&self, by: &Key) -> bool {
        self.owners.get(by).is_some_and(|owner| owner.creations > 0)
    }

    /// Whether an owner is being left alone.
    pub fn rests(&self, by: &Key, now: Instant) -> bool {
        let owner = self.owners.get(by);
        owner.is_some_and(|owner| owner.not_before.is_some_and(|at| at > now))
    }

    /// What went wrong last, until something goes right.
    pub fn failure(&self, by: &Key) -> Option<(&'static str, &str)> {
        let failure = self.owners.get(by)?.failure.as_ref();
        failure.map(|(reason, message)| (*reason, &**message))
    }

    pub fn wake(&mut self, at: Instant, key: &Key) {
        self.timers.insert((at, key.clone()));
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.sweep_at).min()
    }

    /// Owners whose time has come.
    pub fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.timers.pop_first()
        {
            due.push(key);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            due.extend(self.sweep(now));
        }
        due
    }

    fn sweep(&mut self, now: Instant) -> Vec<Key> {
        let never_seen = |pending: &Pending| pending.ended.is_some_and(|at| at + NEVER_SEEN <= now);
        let forgotten = self.pending.values().filter(|p| never_seen(p));
        let owners = forgotten.map(|pending| pending.by.clone()).collect();
        self.pending.retain(|_, pending| !never_seen(pending));
        let next = self.pending.values().filter_map(|p| p.ended).min();
        self.sweep_at = next.map(|ended| ended + NEVER_SEEN);
        owners
    }

    /// A watch shows this object. Says whose wait it ends.
    pub fn seen(
        &mut self,
        kind: Kind,
        name: &ObjectName,
        uid: &str,
        deleting: bool,
    ) -> Option<Key> {
        let place = (kind, name.clone());
        let pending = self.pending.get(&place)?;
        let ends = match &pending.deletes {
            None => true,
            Some(deleted) => deleting || *deleted != *uid,
        };
        ends.then(|| self.pending.remove(&place))?.map(|p| p.by)
    }

    /// A watch shows the end of this object. Says whose wait it ends.
    pub fn gone(&mut self, kind: Kind, name: &ObjectName) -> Option<Key> {
        let place = (kind, name.clone());
        self.patches.remove(&place);
        self.pending.remove(&place).map(|pending| pending.by)
    }

    /// Forgets an owner that is gone.
    pub fn forget(&mut self, key: &Key) {
        self.owners.remove(key);
    }

    /// For `/debug/state`.
    pub fn state(&self) -> Value {
        let failures = self.owners.iter().filter_map(|(key, owner)| {
            let (_, message) = owner.failure.as_ref()?;
            Some((key.to_string(), message))
        });
        json!({
            "unseen": self.pending.len(),
            "timers": self.timers.len(),
            "failures": failures.collect::<BTreeMap<_, _>>(),
        })
    }

    /// A request has ended.
    pub fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        let (by, kind, name) = match action {
            Action::Create { by, kind, name, .. }
            | Action::Patch { by, kind, name, .. }
            | Action::Delete { by, kind, name, .. } => (by, *kind, name),
            _ => return,
        };
        let place = (kind, name.clone());
        if let Action::Patch { .. } = action {
            self.patch_ended(&place, by, outcome, now);
        } else {
            self.pending_ended(&place, outcome, now);
        }
        let Some(owner) = self.owners.get_mut(by) else {
            return;
        };
        owner.in_flight = owner.in_flight.saturating_sub(1);
        if let Action::Create { .. } = action {
            owner.creation_ended(outcome);
        }
        if let Outcome::Refused(message) = outcome {
            owner.failure = match action {
                Action::Create { .. } => Some(("FailedCreate", message.clone())),
                Action::Delete { .. } => Some(("FailedDelete", message.clone())),
                _ => owner.failure.take(),
            };
            let until = now + owner.pause();
            owner.not_before = Some(until);
            self.wake(until, by);
        } else if !matches!(action, Action::Patch { .. }) {
            owner.failure = None;
            owner.failures = 0;
        }
    }

    fn patch_ended(&mut self, place: &Place, by: &Key, outcome: &Outcome, now: Instant) {
        let asked = self.patches.get_mut(place).into_iter().flatten();
        for asked in asked.filter(|asked| asked.by == *by) {
            asked.ended = true;
            if let Outcome::Refused(_) = outcome {
                asked.again_at = Some(now + FIRST_PAUSE);
            }
        }
    }

    fn pending_ended(&mut self, place: &Place, outcome: &Outcome, now: Instant) {
        let failed = match outcome {
            Outcome::Refused(_) => true,
            // Somebody else's object has that name; or it is ours, and the watch shows it.
            Outcome::Outdated | Outcome::Done | Outcome::Keeps(_) => false,
            // Nothing to create it in; or nothing left to delete, as the watch will show.
            Outcome::Gone => self.pending.get(place).is_some_and(|p| p.deletes.is_none()),
        };
        if failed {
            self.pending.remove(place);
        } else if let Some(pending) = self.pending.get_mut(place) {
            pending.ended = Some(now);
            self.sweep_at.get_or_insert(now + NEVER_SEEN);
        }
    }
}

impl Asked {
    /// Whether its object may be patched again, now that it has this version.
    fn allows(&self, version: &str, now: Option<Instant>) -> bool {
        let again = self.again_at.is_some_and(|at| now >= Some(at));
        self.ended && (self.version != version || again)
    }
}

impl Owner {
    fn creation_ended(&mut self, outcome: &Outcome) {
        self.creations = self.creations.saturating_sub(1);
        if let Outcome::Refused(_) = outcome {
            self.batch = 0;
        } else if self.creations == 0 {
            self.batch = (self.batch.max(1) * 2).min(LARGEST_BATCH);
        }
    }

    fn pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(20))
            .min(LONGEST_PAUSE);
        self.failures += 1;
        pause
    }
}
