//! Who owns whom, as the watches have told so far.
//!
//! A node of the graph is an object, or the place of one that others name as
//! their owner and that no watch has shown: yet, or any more. Nodes are found
//! by uid. A place that nobody names any longer is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::kinds::KindId;
use super::object::{Identity, Meta, Owner, Target, Uid};

/// All objects, and the places of their owners.
#[derive(Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node>,
    /// Names of namespaces, each kept once.
    namespaces: BTreeSet<Arc<str>>,
}

/// An object, or the place of one.
#[derive(Default)]
pub struct Node {
    pub presence: Presence,
    /// Objects that name this one as an owner.
    pub dependents: BTreeSet<Uid>,
    /// How they name it: in the same words, unless someone is mistaken.
    targets: Vec<Arc<Target>>,
}

/// What is known of an object's being there.
#[derive(Default)]
pub enum Presence {
    /// No watch has shown it.
    #[default]
    Unseen,
    /// A watch has shown its end.
    Gone,
    Here(Box<Object>),
}

/// An object that is there.
pub struct Object {
    pub kind: KindId,
    pub namespace: Arc<str>,
    pub name: Box<str>,
    pub meta: Meta,
}

impl Graph {
    pub fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub fn object(&self, uid: &str) -> Option<&Object> {
        self.node(uid)?.object()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All objects that are there.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.nodes.values().filter_map(Node::object)
    }

    /// Objects that are there and name this one as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Object> {
        let named = self.node(uid).into_iter().flat_map(|n| &n.dependents);
        named.filter_map(|uid| self.object(uid))
    }

    /// Puts an object in, or what has become of it.
    pub fn insert(&mut self, kind: KindId, namespace: &str, name: &str, mut meta: Meta) {
        let uid = meta.uid.clone();
        self.unlink(&uid, |owner| {
            meta.owners.iter().any(|o| o.target.uid == owner.target.uid)
        });
        for owner in &mut meta.owners {
            self.link(&uid, owner);
        }
        let object = Object {
            kind,
            namespace: self.namespace(namespace),
            name: name.into(),
            meta,
        };
        self.nodes.entry(uid).or_default().presence = Presence::Here(Box::new(object));
    }

    /// Takes an object out. Its place stays while anybody names it.
    pub fn remove(&mut self, uid: &Uid) {
        self.unlink(uid, |_| false);
        if let Some(node) = self.nodes.get_mut(uid) {
            node.presence = Presence::Gone;
            self.forget_if_unnamed(uid);
        }
    }

    fn namespace(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.namespaces.get(name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.namespaces.insert(new.clone());
        new
    }

    /// Makes `dependent` a dependent of what `owner` names, and lets it share the words.
    fn link(&mut self, dependent: &Uid, owner: &mut Owner) {
        let node = self.nodes.entry(owner.target.uid.clone()).or_default();
        node.dependents.insert(dependent.clone());
        match node.targets.iter().find(|known| **known == owner.target) {
            Some(known) => owner.target = known.clone(),
            None => node.targets.push(owner.target.clone()),
        }
    }

    /// Undoes the links of an object to its owners, but for those that are to be kept.
    fn unlink(&mut self, uid: &Uid, keep: impl Fn(&Owner) -> bool) {
        let Some(object) = self.object(uid) else {
            return;
        };
        let left: Vec<_> = object.meta.owners.iter().filter(|o| !keep(o)).collect();
        let left: Vec<_> = left.into_iter().map(|o| o.target.uid.clone()).collect();
        for owner in left {
            if let Some(node) = self.nodes.get_mut(&owner) {
                node.dependents.remove(uid);
                if node.dependents.is_empty() {
                    node.targets = Vec::new();
                }
                self.forget_if_unnamed(&owner);
            }
        }
    }

    fn forget_if_unnamed(&mut self, uid: &Uid) {
        let unnamed = self
            .nodes
            .get(uid)
            .is_some_and(|node| node.object().is_none() && node.dependents.is_empty());
        if unnamed {
            self.nodes.remove(uid);
        }
    }
}

impl Node {
    pub fn object(&self) -> Option<&Object> {
        match &self.presence {
            Presence::Here(object) => Some(object),
            Presence::Unseen | Presence::Gone => None,
        }
    }
}

impl Object {
    pub fn identity(&self) -> Identity {
        Identity {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.meta.uid.clone(),
        }
    }

    /// The reference by which it names that owner.
    pub fn reference_to(&self, owner: &str) -> Option<&Owner> {
        self.meta.owners.iter().find(|o| *o.target.uid == *owner)
    }
}
