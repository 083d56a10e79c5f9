//! The collector as a state machine: news of objects and ends of requests go in, requests come out.
//!
//! ```text
//!  news of an object ──> graph ──> judge it, its dependents, its waiting owners ──> request
//!                                                                                     │
//!           judged again when the object, or one of its owners, changes <── ended ────┘
//! ```
//!
//! One request at most is made for each version of an object. Whatever it
//! ends with, done, gone or outdated, news of that object follow and lead to
//! the next judgement; a refusal is tried again after a pause.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sealane_kube::Change;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::action::{Action, Outcome};
use super::graph::{Graph, Object};
use super::judge::{Evidence, Look, Looks};
use super::kinds::{KindId, Kinds};
use super::object::{Identity, Meta, Uid};

/// A kind that cannot be listed holds up the others no longer than this.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);
/// Until a request that was refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    Changed(KindId, Change<Meta>),
    Ended(Action, Outcome),
    /// Time has passed.
    Tick,
}

pub struct Collector {
    kinds: Kinds,
    graph: Graph,
    looks: Looks,
    work: HashMap<Uid, Work>,
    paused: BTreeSet<(Instant, Uid)>,
    waiting_for: Waiting,
    /// What has to be judged before this input is done with.
    suspects: BTreeSet<Uid>,
}

/// Where a request for an object has got to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Asked,
    /// This version has had its request.
    Spent(Box<str>),
    /// It was refused; `paused` says until when.
    Paused,
}

/// Kinds that have not been listed yet: until they are, an owner that is not known may still come.
struct Waiting {
    kinds: BTreeSet<KindId>,
    until: Option<Instant>,
}

impl Collector {
    /// Starts knowing nothing. All of `kinds` are expected to be listed.
    pub fn new(kinds: Kinds, now: Instant) -> Self {
        let waiting_for = Waiting {
            kinds: kinds.ids().collect(),
            until: Some(now + SYNC_PATIENCE),
        };
        Self {
            kinds,
            graph: Graph::default(),
            looks: Looks::new(),
            work: HashMap::new(),
            paused: BTreeSet::new(),
            waiting_for,
            suspects: BTreeSet::new(),
        }
    }

    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Whether every kind has been listed, or waited for long enough.
    pub fn is_synced(&self) -> bool {
        self.waiting_for.until.is_none()
    }

    pub fn handle(&mut self, input: Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Changed(kind, change) => self.changed(kind, change),
            Input::Ended(Action::Look(owner), outcome) => self.looked(owner, &outcome, now),
            Input::Ended(action, outcome) => self.ended(&action, &outcome, now),
            Input::Tick => self.tick(now),
        }
        if self.is_synced() {
            self.judge_suspects(actions);
        }
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let pause = self.paused.first().map(|(until, _)| *until);
        let looks = self.looks.values().filter_map(Look::at);
        looks.chain(pause).chain(self.waiting_for.until).min()
    }

    /// What it knows, for `/debug/state`.
    pub fn state(&self) -> Value {
        let objects = || self.graph.objects();
        json!({
            "synced": self.is_synced(),
            "kinds": self.kinds.ids().count(),
            "nodes": self.graph.len(),
            "objects": objects().count(),
            "owned": objects().filter(|object| !object.meta.owners.is_empty()).count(),
            "waiting": objects().filter(|object| object.meta.waits_for_dependents()).count(),
            "looks": self.looks.len(),
            "in_work": self.work.values().filter(|work| **work == Work::Asked).count(),
            "paused": self.paused.len(),
        })
    }

    fn changed(&mut self, kind: KindId, change: Change<Meta>) {
        match change {
            Change::Reset(all) => self.reset(kind, all),
            Change::Applied(name, meta) => self.applied(kind, &name, meta),
            Change::Deleted(_, meta) => self.deleted(&meta.uid),
        }
    }

    fn reset(&mut self, kind: KindId, all: Vec<(ObjectName, Meta)>) {
        let still: BTreeSet<_> = all.iter().map(|(_, meta)| meta.uid.clone()).collect();
        let known = self.graph.objects().filter(|object| object.kind == kind);
        let gone: Vec<_> = known
            .map(|object| object.meta.uid.clone())
            .filter(|uid| !still.contains(uid))
            .collect();
        for uid in gone {
            self.deleted(&uid);
        }
        for (name, meta) in all {
            self.applied(kind, &name, meta);
        }
        self.doubt_looks(kind);
        self.waiting_for.kinds.remove(&kind);
        if self.waiting_for.kinds.is_empty() && self.waiting_for.until.take().is_some() {
            self.suspect_all();
        }
    }

    fn applied(&mut self, kind: KindId, name: &ObjectName, meta: Meta) {
        let uid = meta.uid.clone();
        let before = self.graph.object(&uid).map(Fate::of);
        self.suspect_waiting_owners(&uid);
        self.graph.insert(kind, &name.namespace, &name.name, meta);
        self.suspect_waiting_owners(&uid);
        if before != self.graph.object(&uid).map(Fate::of) {
            self.suspect_dependents(&uid);
        }
        self.forget_looks(&uid);
        self.suspects.insert(uid);
    }

    fn deleted(&mut self, uid: &Uid) {
        self.suspect_waiting_owners(uid);
        self.suspect_dependents(uid);
        self.graph.remove(uid);
        self.work.remove(uid);
        self.forget_looks(uid);
    }

    fn suspect_all(&mut self) {
        self.suspects
            .extend(self.graph.objects().map(|object| object.meta.uid.clone()));
    }

    fn suspect_dependents(&mut self, uid: &str) {
        let dependents = self.graph.node(uid).into_iter().flat_map(|n| &n.dependents);
        self.suspects.extend(dependents.cloned());
    }

    /// Owners that may have waited for a change of this one.
    fn suspect_waiting_owners(&mut self, uid: &str) {
        let owners = self.graph.object(uid).map(|object| &object.meta.owners);
        for owner in owners.into_iter().flatten() {
            let uid = &owner.target.uid;
            if self.graph.object(uid).is_some_and(|o| o.meta.deleting) {
                self.suspects.insert(uid.clone());
            }
        }
    }

    /// What a watch has shown need not be asked for.
    fn forget_looks(&mut self, uid: &str) {
        if !self.looks.is_empty() {
            let graph = &self.graph;
            self.looks
                .retain(|owner, _| *owner.uid != *uid && graph.node(&owner.uid).is_some());
        }
    }

    /// Owners of this kind that were found by asking, and that a list does not show, may have gone
    /// in the gap before it: nothing else will tell.
    fn doubt_looks(&mut self, kind: KindId) {
        let doubted: Vec<_> = self
            .looks
            .extract_if(|owner, _| owner.kind == kind)
            .map(|(owner, _)| owner.uid)
            .collect();
        for uid in doubted {
            self.suspect_dependents(&uid);
        }
    }

    fn looked(&mut self, owner: Identity, outcome: &Outcome, now: Instant) {
        let uid = owner.uid.clone();
        if let Some(look) = self.looks.get_mut(&owner) {
            *look = match outcome {
                Outcome::Done => Look::Found,
                Outcome::Gone => Look::Absent,
                Outcome::Outdated | Outcome::Refused(_) => Look::AskAgain {
                    at: now + REFUSED_PAUSE,
                },
            };
        }
        self.suspect_dependents(&uid);
    }

    fn ended(&mut self, action: &Action, outcome: &Outcome, now: Instant) {
        let Some((uid, version)) = action.judged() else {
            return;
        };
        let Some(work) = self.work.get_mut(uid) else {
            return;
        };
        *work = match outcome {
            Outcome::Done | Outcome::Gone | Outcome::Outdated => Work::Spent(version.into()),
            Outcome::Refused(_) => {
                self.paused.insert((now + REFUSED_PAUSE, uid.clone()));
                Work::Paused
            }
        };
        self.suspects.insert(uid.clone());
    }

    fn tick(&mut self, now: Instant) {
        if self.waiting_for.until.is_some_and(|until| until <= now) {
            self.waiting_for.until = None;
            self.suspect_all();
        }
        while self.paused.first().is_some_and(|(until, _)| *until <= now)
            && let Some((_, uid)) = self.paused.pop_first()
        {
            if self.work.get(&uid) == Some(&Work::Paused) {
                self.work.remove(&uid);
            }
            self.suspects.insert(uid);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let again: Vec<_> = self
            .looks
            .extract_if(|_, look| due(look.at()))
            .map(|(owner, _)| owner.uid)
            .collect();
        for uid in again {
            self.suspect_dependents(&uid);
        }
    }

    fn judge_suspects(&mut self, actions: &mut Vec<Action>) {
        while let Some(uid) = self.suspects.pop_first() {
            let Some(object) = self.graph.object(&uid) else {
                continue;
            };
            let version = &object.meta.version;
            if self.work.get(&uid).is_some_and(|w| w.stops(version)) {
                continue;
            }
            let evidence = Evidence {
                kinds: &self.kinds,
                graph: &self.graph,
                looks: &self.looks,
            };
            for action in evidence.judge(object) {
                if let Action::Look(owner) = &action {
                    self.looks.insert(owner.clone(), Look::Asking);
                }
                if action.judged().is_some() {
                    self.work.insert(uid.clone(), Work::Asked);
                }
                actions.push(action);
            }
        }
    }
}

/// What dependents care for in an owner.
#[derive(PartialEq, Eq)]
struct Fate {
    waits: bool,
    leaves: bool,
}

impl Fate {
    fn of(object: &Object) -> Self {
        Self {
            waits: object.meta.waits_for_dependents(),
            leaves: object.meta.leaves_dependents(),
        }
    }
}

impl Work {
    /// Whether nothing may be asked for the object in this version now.
    fn stops(&self, version: &str) -> bool {
        match self {
            Self::Asked | Self::Paused => true,
            Self::Spent(spent) => **spent == *version,
        }
    }
}

impl Look {
    fn at(&self) -> Option<Instant> {
        match self {
            Self::AskAgain { at } => Some(*at),
            Self::Asking | Self::Found | Self::Absent => None,
        }
    }
}
