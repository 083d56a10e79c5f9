//! The collector against a simulated API server, whose news arrive late, kind
//! by kind, with gaps: nothing is ever deleted that has an owner left, and
//! when everything has been said, nothing is left to do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sealane_kube::Change;
use sealane_objects::ObjectName;

use super::action::{Action, Outcome, Policy};
use super::collect::{Collector, Input};
use super::kinds::{KindId, Kinds};
use super::object::{FOREGROUND, Identity, Meta, ORPHAN, Owner, Target, Uid};
use super::tests::{kinds, owner};

/// An API server, as far as owners go.
pub struct World {
    pub kinds: Kinds,
    pub objects: BTreeMap<Uid, (KindId, ObjectName, Meta)>,
    news: BTreeMap<KindId, VecDeque<Change<Meta>>>,
    born: Vec<(KindId, ObjectName, Uid)>,
    versions: u64,
}

impl World {
    pub fn new() -> Self {
        let kinds = kinds();
        let news = kinds.ids().map(|kind| (kind, VecDeque::new())).collect();
        let mut world = Self {
            kinds,
            objects: BTreeMap::new(),
            news,
            born: Vec::new(),
            versions: 0,
        };
        for kind in world.kinds.ids() {
            world.relist(kind);
        }
        world
    }

    pub fn id(&self, kind: &str) -> KindId {
        let named = |id: &KindId| self.kinds.get(*id).kind == kind;
        self.kinds.ids().find(named).unwrap()
    }

    pub fn create(&mut self, kind: KindId, name: ObjectName, owners: Vec<Owner>) -> Uid {
        let uid: Uid = format!("u{}", self.born.len()).into();
        self.born.push((kind, name.clone(), uid.clone()));
        let meta = Meta {
            uid: uid.clone(),
            version: "".into(),
            deleting: false,
            finalizers: Box::default(),
            owners,
        };
        self.write(kind, name, meta);
        uid
    }

    /// As the API server does: the policy becomes a finalizer.
    pub fn delete(&mut self, uid: &str, policy: Policy) {
        let Some((kind, name, mut meta)) = self.objects.get(uid).cloned() else {
            return;
        };
        if meta.deleting && policy == Policy::Orphan {
            return; // Who wants to keep dependents after all comes too late for some of them.
        }
        let kept = meta.finalizers.iter();
        let mut finalizers: Vec<Box<str>> = kept
            .filter(|held| ![FOREGROUND, ORPHAN].contains(&&***held))
            .cloned()
            .collect();
        match policy {
            Policy::Background => {}
            Policy::Foreground => finalizers.push(FOREGROUND.into()),
            Policy::Orphan => finalizers.push(ORPHAN.into()),
        }
        meta.deleting = true;
        meta.finalizers = finalizers.into();
        self.write(kind, name, meta);
    }

    /// A client adds an owner.
    pub fn own(&mut self, child: &str, owner: Owner) {
        if let Some((kind, name, mut meta)) = self.objects.get(child).cloned() {
            meta.owners.push(owner);
            self.write(kind, name, meta);
        }
    }

    fn touch(&mut self, uid: &str) {
        if let Some((kind, name, meta)) = self.objects.get(uid).cloned() {
            self.write(kind, name, meta);
        }
    }

    fn write(&mut self, kind: KindId, name: ObjectName, mut meta: Meta) {
        self.versions += 1;
        meta.version = self.versions.to_string().into();
        let news = self.news.get_mut(&kind).unwrap();
        if meta.deleting && meta.finalizers.is_empty() {
            self.objects.remove(&meta.uid);
            news.push_back(Change::Deleted(name, meta));
        } else {
            self.objects
                .insert(meta.uid.clone(), (kind, name.clone(), meta.clone()));
            news.push_back(Change::Applied(name, meta));
        }
    }

    /// A gap in a watch.
    pub fn relist(&mut self, kind: KindId) {
        let there = self.objects.values().filter(|(k, _, _)| *k == kind);
        let all = there
            .map(|(_, name, meta)| (name.clone(), meta.clone()))
            .collect();
        let news = self.news.get_mut(&kind).unwrap();
        news.clear();
        news.push_back(Change::Reset(all));
    }

    fn exists(&self, object: &Identity) -> bool {
        self.objects
            .get(&object.uid)
            .is_some_and(|(kind, name, _)| {
                *kind == object.kind
                    && *name.namespace == *object.namespace
                    && *name.name == *object.name
            })
    }

    /// An owner that is there and does not wait for this dependent to go.
    fn holds(&self, dependent: &Identity, target: &Target) -> bool {
        let Some(kind) = self.kinds.resolve(&target.api_version, &target.kind) else {
            return true;
        };
        let namespaced = self.kinds.get(kind).namespaced;
        if namespaced && dependent.namespace.is_empty() {
            return true;
        }
        let named = Identity {
            kind,
            namespace: if namespaced {
                dependent.namespace.clone()
            } else {
                "".into()
            },
            name: target.name.clone(),
            uid: target.uid.clone(),
        };
        self.exists(&named) && !self.objects[&target.uid].2.waits_for_dependents()
    }

    /// Carries an action out, and complains when it harms.
    pub fn perform(&mut self, action: &Action) -> Outcome {
        let (object, version) = match action {
            Action::Look(owner) if self.exists(owner) => return Outcome::Done,
            Action::Look(_) => return Outcome::Gone,
            Action::TellWrongNamespace { .. } => return Outcome::Done,
            Action::Delete {
                object, version, ..
            }
            | Action::SetOwners {
                object, version, ..
            }
            | Action::SetFinalizers {
                object, version, ..
            } => (object, version),
        };
        let Some((kind, name, mut meta)) = self.objects.get(&object.uid).cloned() else {
            return Outcome::Gone;
        };
        if meta.version != *version {
            return Outcome::Outdated;
        }
        match action {
            Action::Delete { policy, .. } => {
                let holds = |owner: &Owner| self.holds(object, &owner.target);
                let held = meta.owners.iter().any(holds);
                assert!(!held, "deleted, although it has an owner left: {meta:?}");
                self.delete(&object.uid.clone(), *policy);
                return Outcome::Done;
            }
            Action::SetOwners { owners, .. } => {
                for gone in meta.owners.iter().filter(|owner| {
                    let same = |kept: &&Owner| kept.target == owner.target;
                    !owners.iter().any(|kept| same(&kept))
                }) {
                    let left = self.objects.get(&gone.target.uid);
                    let leaves = left.is_some_and(|(_, _, owner)| owner.leaves_dependents());
                    let harm = self.holds(object, &gone.target) && !leaves;
                    assert!(!harm, "loses an owner that is there: {meta:?}");
                }
                meta.owners.clone_from(owners);
            }
            Action::SetFinalizers { finalizers, .. } => meta.finalizers = finalizers.clone().into(),
            Action::Look(_) | Action::TellWrongNamespace { .. } => {}
        }
        self.write(kind, name, meta);
        Outcome::Done
    }
}

/// A collector at work in a world.
pub struct Story {
    pub world: World,
    pub collector: Collector,
    pub wanted: VecDeque<Action>,
    now: Instant,
}

impl Story {
    pub fn new() -> Self {
        let world = World::new();
        let now = Instant::now();
        Self {
            collector: Collector::new(world.kinds.clone(), now),
            world,
            wanted: VecDeque::new(),
            now,
        }
    }

    pub fn tell(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.collector.handle(input, self.now, &mut actions);
        self.wanted.extend(actions);
    }

    /// Brings the next news of a kind.
    pub fn deliver(&mut self, kind: KindId) -> bool {
        let next = self.world.news.get_mut(&kind).unwrap().pop_front();
        let Some(change) = next else { return false };
        self.tell(Input::Changed(kind, change));
        true
    }

    pub fn deliver_all(&mut self) {
        for kind in self.world.kinds.ids() {
            while self.deliver(kind) {}
        }
    }

    pub fn perform(&mut self) -> bool {
        let Some(action) = self.wanted.pop_front() else {
            return false;
        };
        let outcome = self.world.perform(&action);
        self.tell(Input::Ended(action, outcome));
        true
    }

    /// The server refuses the next request.
    fn refuse(&mut self) {
        if let Some(action) = self.wanted.pop_front() {
            self.tell(Input::Ended(action, Outcome::Refused("no".into())));
        }
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        if self.collector.wake_at().is_some_and(|at| at <= self.now) {
            self.tell(Input::Tick);
        }
    }

    /// Until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            self.deliver_all();
            if self.perform() {
                continue;
            }
            let Some(at) = self.collector.wake_at() else {
                return;
            };
            self.tick(at.saturating_duration_since(self.now));
        }
        panic!("never at rest; next: {:?}", self.wanted.front());
    }

    fn check_at_rest(&self) {
        for (kind, name, meta) in self.world.objects.values() {
            assert!(!meta.deleting, "left behind: {name} {meta:?}");
            let identity = Identity {
                kind: *kind,
                namespace: name.namespace.as_str().into(),
                name: name.name.as_str().into(),
                uid: meta.uid.clone(),
            };
            for owner in &meta.owners {
                let holds = self.world.holds(&identity, &owner.target);
                assert!(holds, "{name} is left with {owner:?}");
            }
        }
        let state = self.collector.state();
        assert_eq!(state["objects"], self.world.objects.len());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create {
        kind: usize,
        namespace: usize,
        name: usize,
        /// Earlier births, and whether each is blocked.
        owners: Vec<(usize, bool)>,
    },
    Delete(usize, u8),
    Touch(usize),
    Relist(usize),
    Deliver(usize),
    Perform,
    Refuse,
    Tick,
    /// A circle that a client makes by hand.
    Adopt(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let owners = prop::collection::vec((0..12usize, any::<bool>()), 0..3);
    prop_oneof![
        4 => (0..3usize, 0..2usize, 0..4usize, owners).prop_map(
            |(kind, namespace, name, owners)| Step::Create { kind, namespace, name, owners }),
        3 => (0..12usize, 0..3u8).prop_map(|(which, policy)| Step::Delete(which, policy)),
        1 => (0..12usize).prop_map(Step::Touch),
        1 => (0..3usize).prop_map(Step::Relist),
        6 => (0..3usize).prop_map(Step::Deliver),
        6 => Just(Step::Perform),
        1 => Just(Step::Refuse),
        1 => Just(Step::Tick),
        1 => (0..12usize, 0..12usize).prop_map(|(child, parent)| Step::Adopt(child, parent)),
    ]
}

impl Story {
    fn take(&mut self, step: &Step) {
        let kind = |index: usize| self.world.kinds.ids().nth(index).unwrap();
        match step {
            Step::Create {
                kind: index,
                namespace,
                name,
                owners,
            } => {
                let kind = kind(*index);
                let namespaced = self.world.kinds.get(kind).namespaced;
                let namespace = if namespaced {
                    ["x", "y"][*namespace]
                } else {
                    ""
                };
                let name = ObjectName::new(namespace, ["a", "b", "c", "d"][*name]);
                let taken = |(k, n, _): &(KindId, ObjectName, Meta)| *k == kind && *n == name;
                if !self.world.objects.values().any(taken) {
                    let owners = owners
                        .iter()
                        .map(|(which, block)| self.born(*which, *block));
                    let owners = owners.collect();
                    self.world.create(kind, name, owners);
                }
            }
            Step::Delete(which, policy) => {
                let policies = [Policy::Background, Policy::Foreground, Policy::Orphan];
                if let Some((_, _, uid)) = self.world.born.get(*which).cloned() {
                    self.world.delete(&uid, policies[usize::from(*policy)]);
                }
            }
            Step::Touch(which) => {
                if let Some((_, _, uid)) = self.world.born.get(*which).cloned() {
                    self.world.touch(&uid);
                }
            }
            Step::Relist(index) => {
                let kind = kind(*index);
                self.world.relist(kind);
            }
            Step::Deliver(index) => {
                let kind = kind(*index);
                self.deliver(kind);
            }
            Step::Perform => drop(self.perform()),
            Step::Refuse => self.refuse(),
            Step::Tick => self.tick(Duration::from_secs(3)),
            Step::Adopt(child, parent) => {
                let parent = self.born(*parent, true);
                let child = self.world.born.get(*child).map(|(_, _, uid)| uid.clone());
                if let Some(child) = child {
                    self.world.own(&child, parent);
                }
            }
        }
    }

    /// A reference to something that was born at some time, or never.
    fn born(&self, which: usize, block: bool) -> Owner {
        match self.world.born.get(which) {
            Some((kind, name, uid)) => owner(&self.world.kinds, *kind, &name.name, uid, block),
            None => {
                let target = Target {
                    api_version: "v1".into(),
                    kind: "Pod".into(),
                    name: "never".into(),
                    uid: Arc::from("never"),
                };
                Owner {
                    target: Arc::new(target),
                    controller: None,
                    block: Some(block),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_owned_is_deleted_and_nothing_unowned_is_left(steps in prop::collection::vec(step(), 1..60)) {
        let mut story = Story::new();
        for step in &steps {
            story.take(step);
        }
        story.settle();
        story.check_at_rest();
    }
}
