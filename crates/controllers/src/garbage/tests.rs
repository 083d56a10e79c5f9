//! One situation each: what the collector asks for, and in which order.

use std::sync::Arc;

use sealane_objects::ObjectName;

use super::action::Policy;
use super::kinds::{Kind, KindId, Kinds};
use super::object::{Owner, Target};
use super::simulation::Story;

pub fn kinds() -> Kinds {
    let kind = |group: &str, kind: &str, namespaced| Kind {
        group: group.into(),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
        namespaced,
    };
    Kinds::new(vec![
        kind("", "Node", false),
        kind("", "Pod", true),
        kind("apps", "ReplicaSet", true),
    ])
}

pub fn owner(kinds: &Kinds, kind: KindId, name: &str, uid: &str, block: bool) -> Owner {
    let kind = kinds.get(kind);
    let api_version = match kind.group.as_str() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    Owner {
        target: Arc::new(Target {
            api_version: api_version.into(),
            kind: kind.kind.as_str().into(),
            name: name.into(),
            uid: uid.into(),
        }),
        controller: Some(true),
        block: Some(block),
    }
}

impl Story {
    /// Makes an object; owners by uid, those with `!` block.
    fn make(&mut self, kind: &str, name: &str, owners: &[&str]) -> String {
        let owners = owners.iter().map(|uid| self.reference(uid)).collect();
        let kind = self.world.id(kind);
        let namespaced = self.world.kinds.get(kind).namespaced;
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None if namespaced => ("x", name),
            None => ("", name),
        };
        let name = ObjectName::new(namespace, name);
        let uid = self.world.create(kind, name, owners).to_string();
        self.deliver_all();
        uid
    }

    fn reference(&self, uid: &str) -> Owner {
        let (uid, block) = uid
            .strip_suffix('!')
            .map_or((uid, false), |uid| (uid, true));
        match self.world.objects.get(uid) {
            Some((kind, name, _)) => owner(&self.world.kinds, *kind, &name.name, uid, block),
            None => owner(&self.world.kinds, self.world.id("Pod"), "lost", uid, block),
        }
    }

    fn delete(&mut self, uid: &str, policy: Policy) {
        self.world.delete(uid, policy);
        self.deliver_all();
    }

    /// What is asked for until nothing more is, in words.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            self.deliver_all();
            let kinds = self.world.kinds.clone();
            let Some(action) = self.wanted.front() else {
                return told;
            };
            told.push(action.show(&kinds).to_string());
            self.perform();
        }
    }

    fn left(&self) -> Vec<&str> {
        let names = self.world.objects.values().map(|(_, name, _)| &*name.name);
        names.collect()
    }

    fn owners_of(&self, uid: &str) -> Vec<&str> {
        let owners = &self.world.objects[uid].2.owners;
        owners.iter().map(|owner| &*owner.target.uid).collect()
    }
}

fn story() -> Story {
    let mut story = Story::new();
    story.deliver_all();
    story
}

#[test]
fn in_the_background_dependents_follow_their_owner_level_by_level() {
    let mut story = story();
    let set = story.make("ReplicaSet", "set", &[]);
    let pod = story.make("Pod", "pod", &[&set]);
    story.make("Pod", "part", &[&pod]);
    assert_eq!(story.told(), [""; 0]);
    story.delete(&set, Policy::Background);
    assert_eq!(
        story.told(),
        [
            "delete pods x/pod, whose owners are gone",
            "delete pods x/part, whose owners are gone"
        ]
    );
    assert_eq!(story.left(), [""; 0]);
}

#[test]
fn in_the_foreground_an_owner_goes_after_the_dependents_that_block() {
    let mut story = story();
    let set = story.make("ReplicaSet", "set", &[]);
    story.make("Pod", "blocks", &[&format!("{set}!")]);
    let pod = story.make("Pod", "does-not", &[&set]);
    story.make("Pod", "part", &[&format!("{pod}!")]);
    story.delete(&set, Policy::Foreground);
    let told = story.told();
    assert_eq!(
        told,
        [
            "delete pods x/blocks, whose owners are gone",
            "delete pods x/does-not, whose owners are gone, its dependents first",
            "leave replicasets x/set the finalizers []",
            "delete pods x/part, whose owners are gone",
            "leave pods x/does-not the finalizers []",
        ]
    );
    assert_eq!(story.left(), [""; 0]);
}

#[test]
fn orphans_lose_their_reference_before_their_owner_goes_and_stay() {
    let mut story = story();
    let set = story.make("ReplicaSet", "set", &[]);
    let other = story.make("ReplicaSet", "other", &[]);
    let pod = story.make("Pod", "pod", &[&set, &other]);
    story.delete(&set, Policy::Orphan);
    assert_eq!(
        story.told(),
        [
            "leave pods x/pod the owners [other]",
            "leave replicasets x/set the finalizers []"
        ]
    );
    assert_eq!(story.owners_of(&pod), [other]);
}

#[test]
fn an_object_stays_for_the_last_of_its_owners_and_forgets_the_others() {
    let mut story = story();
    let (a, b) = (
        story.make("ReplicaSet", "a", &[]),
        story.make("ReplicaSet", "b", &[]),
    );
    let pod = story.make("Pod", "pod", &[&a, &b]);
    story.delete(&a, Policy::Background);
    assert_eq!(story.told(), ["leave pods x/pod the owners [b]"]);
    assert_eq!(story.owners_of(&pod), [b.as_str()]);
    story.delete(&b, Policy::Background);
    assert_eq!(story.told(), ["delete pods x/pod, whose owners are gone"]);
}

#[test]
fn an_owner_that_was_never_seen_is_asked_for_before_anything_is_deleted() {
    let mut story = story();
    story.make("Pod", "pod", &["nobody"]);
    assert_eq!(
        story.told(),
        [
            "look for owner pods x/lost",
            "delete pods x/pod, whose owners are gone"
        ]
    );
}

#[test]
fn an_owner_whose_news_are_late_is_found_by_asking() {
    let mut story = story();
    let kind = story.world.id("ReplicaSet");
    let set = story
        .world
        .create(kind, ObjectName::new("x", "set"), vec![]);
    let owner = owner(&story.world.kinds, kind, "set", &set, true);
    let pods = story.world.id("Pod");
    story
        .world
        .create(pods, ObjectName::new("x", "pod"), vec![owner]);
    story.deliver(pods);
    let kinds = story.world.kinds.clone();
    let asked: Vec<_> = story
        .wanted
        .iter()
        .map(|a| a.show(&kinds).to_string())
        .collect();
    assert_eq!(asked, ["look for owner replicasets x/set"]);
    story.settle();
    assert_eq!(story.left(), ["set", "pod"]);
}

#[test]
fn an_owner_in_another_namespace_is_none_and_a_cluster_wide_one_is() {
    let mut story = story();
    let node = story.make("Node", "node", &[]);
    story.make("Pod", "of-node", &[&node]);
    let far = story.make("ReplicaSet", "y/far", &[]);
    story.make("Pod", "mistaken", &[&far]);
    assert_eq!(
        story.told(),
        [
            "record event: pods x/mistaken names apps/v1/ReplicaSet far (uid u2) as an owner",
            "delete pods x/mistaken, whose owners are gone"
        ]
    );
    assert_eq!(story.left(), ["node", "of-node", "far"]);
}

#[test]
fn a_cluster_wide_object_with_a_namespaced_owner_is_left_alone() {
    let mut story = story();
    story.make("Node", "node", &["nobody"]);
    assert_eq!(story.told(), [""; 0]);
}

#[test]
fn two_that_own_each_other_do_not_wait_for_ever() {
    let mut story = story();
    let a = story.make("ReplicaSet", "a", &[]);
    let b = story.make("ReplicaSet", "b", &[&format!("{a}!")]);
    let reference = story.reference(&format!("{b}!"));
    story.world.own(&a, reference);
    story.delete(&a, Policy::Foreground);
    story.settle();
    assert_eq!(story.left(), [""; 0]);
}

#[test]
fn nothing_is_judged_before_every_kind_is_listed() {
    let mut story = Story::new();
    let set = story.world.id("ReplicaSet");
    let uid = story.world.create(set, ObjectName::new("x", "set"), vec![]);
    let reference = owner(&story.world.kinds, set, "set", &uid, false);
    let pods = story.world.id("Pod");
    story
        .world
        .create(pods, ObjectName::new("x", "pod"), vec![reference]);
    while story.deliver(pods) {}
    story.world.relist(set);
    assert!(story.wanted.is_empty() && !story.collector.is_synced());
    story.deliver_all();
    assert!(story.wanted.is_empty() && story.collector.is_synced());
}
