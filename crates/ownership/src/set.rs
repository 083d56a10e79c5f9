//! Sets of paths.

use std::cmp::Ordering;

use crate::Element;

/// A set of paths through an object: the fields that somebody owns.
///
/// A tree. A path is in the set if its last node is a member; what is below a member need not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// In order, each element once; each a member or with members below.
    pub(crate) nodes: Vec<Node>,
}

/// A step from one node of the tree to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) element: Element,
    pub(crate) member: bool,
    pub(crate) below: FieldSet,
}

impl Node {
    fn some(self) -> Option<Self> {
        (self.member || !self.below.is_empty()).then_some(self)
    }
}

impl FieldSet {
    /// Of these paths.
    pub fn of(paths: &[&[Element]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// Whether there is no path in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.node_mut(first);
        match rest {
            [] => node.member = true,
            rest => node.below.insert(rest),
        }
    }

    /// The node with this element, made if it is absent.
    fn node_mut(&mut self, element: &Element) -> &mut Node {
        let found = self
            .nodes
            .binary_search_by(|node| node.element.cmp(element));
        let at = found.unwrap_or_else(|at| {
            let node = Node {
                element: element.clone(),
                member: false,
                below: Self::default(),
            };
            self.nodes.insert(at, node);
            at
        });
        &mut self.nodes[at]
    }

    /// Adds a node after all others, or where it belongs. A node that says nothing is left out.
    pub(crate) fn push(&mut self, element: Element, member: bool, below: Self) {
        let node = Node {
            element,
            member,
            below,
        };
        let Some(node) = node.some() else { return };
        match self.nodes.last() {
            Some(last) if last.element >= node.element => {
                let place = self.node_mut(&node.element);
                place.member |= node.member;
                place.below = std::mem::take(&mut place.below).union(&node.below);
            }
            _ => self.nodes.push(node),
        }
    }

    pub(crate) fn get(&self, element: &Element) -> Option<&Node> {
        let at = self
            .nodes
            .binary_search_by(|node| node.element.cmp(element));
        at.ok().map(|at| &self.nodes[at])
    }

    pub(crate) fn get_field(&self, name: &str) -> Option<&Node> {
        let at = self
            .nodes
            .binary_search_by(|node| node.element.cmp_field(name));
        at.ok().map(|at| &self.nodes[at])
    }

    /// Whether this path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// All its paths, in order.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, to: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for node in &self.nodes {
            to.push(node.element.clone());
            if node.member {
                paths.push(to.clone());
            }
            node.below.collect(to, paths);
            to.pop();
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |pair| match pair {
            Pair::Left(node) | Pair::Right(node) => Some(node.clone()),
            Pair::Both(a, b) => Some(Node {
                element: a.element.clone(),
                member: a.member || b.member,
                below: a.below.union(&b.below),
            }),
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |pair| match pair {
            Pair::Left(_) | Pair::Right(_) => None,
            Pair::Both(a, b) => Some(Node {
                element: a.element.clone(),
                member: a.member && b.member,
                below: a.below.intersection(&b.below),
            }),
        })
    }

    /// What is not in `other`: path by path, so that `a.b` stays when `other` has `a`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.zip(other, |pair| match pair {
            Pair::Left(node) => Some(node.clone()),
            Pair::Right(_) => None,
            Pair::Both(a, b) => Some(Node {
                element: a.element.clone(),
                member: a.member && !b.member,
                below: a.below.difference(&b.below),
            }),
        })
    }

    /// What is neither in `other` nor below what is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.zip(other, |pair| match pair {
            Pair::Left(node) => Some(node.clone()),
            Pair::Right(_) => None,
            Pair::Both(_, b) if b.member => None,
            Pair::Both(a, b) => Some(Node {
                element: a.element.clone(),
                member: a.member,
                below: a.below.recursive_difference(&b.below),
            }),
        })
    }

    /// Walks two sets side by side; nodes that say nothing are left out of the result.
    fn zip(&self, other: &Self, keep: impl Fn(Pair<'_>) -> Option<Node>) -> Self {
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        let mut nodes = Vec::new();
        loop {
            let pair = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(a), None) => Pair::Left(a),
                (None, Some(b)) => Pair::Right(b),
                (Some(a), Some(b)) => match a.element.cmp(&b.element) {
                    Ordering::Less => Pair::Left(a),
                    Ordering::Greater => Pair::Right(b),
                    Ordering::Equal => Pair::Both(a, b),
                },
            };
            if !matches!(pair, Pair::Right(_)) {
                left.next();
            }
            if !matches!(pair, Pair::Left(_)) {
                right.next();
            }
            nodes.extend(keep(pair).and_then(Node::some));
        }
    }
}

/// The nodes with one element in two sets.
enum Pair<'a> {
    Left(&'a Node),
    Right(&'a Node),
    Both(&'a Node, &'a Node),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_set, set};

    #[test]
    fn sets_hold_paths_not_what_is_below_them() {
        let ab = set(&["a.b", "c"]);
        assert!(ab.has(&[Element::field("a"), Element::field("b")]));
        assert!(!ab.has(&[Element::field("a")]));
        assert_eq!(ab.difference(&set(&["a", "c"])), set(&["a.b"]));
        assert_eq!(ab.recursive_difference(&set(&["a"])), set(&["c"]));
        assert_eq!(ab.intersection(&set(&["a", "a.b"])), set(&["a.b"]));
        assert_eq!(ab.union(&set(&["a"])), set(&["a", "a.b", "c"]));
        assert_eq!(set(&["b", "a", "a.c"]).paths().len(), 3);
        assert!(FieldSet::of(&[&[]]).is_empty());
    }

    proptest! {
        #[test]
        fn sets_obey_the_laws_of_sets(a in any_set(), b in any_set(), c in any_set()) {
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
            prop_assert_eq!(a.difference(&b).intersection(&b), FieldSet::default());
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert_eq!(a.union(&b).difference(&b), a.difference(&b));
            for path in a.paths() {
                prop_assert!(a.has(&path) && a.union(&b).has(&path));
                prop_assert_eq!(a.difference(&b).has(&path), !b.has(&path));
            }
            prop_assert_eq!(
                a.paths().iter().fold(FieldSet::default(), |mut set, path| {
                    set.insert(path);
                    set
                }),
                a
            );
        }
    }
}
