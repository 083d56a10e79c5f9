//! Removing what no schema knows.

use std::fmt::Write;

use serde_json::Value;

use crate::node::{Additional, Node};

/// Known of every object without being declared.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes unknown fields; their paths, sorted.
pub(crate) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut walk = Walk::default();
    walk.visit(Some(root), root.preserves_unknown, object);
    walk.unknown.sort();
    walk.unknown
}

#[derive(Default)]
struct Walk {
    path: String,
    unknown: Vec<String>,
}

impl Walk {
    /// `node` is absent below what no schema describes: nothing is known there. `keeps` says
    /// whether unknown fields stay; the members of a list have it from the list.
    fn visit(&mut self, node: Option<&Node>, keeps: bool, value: &mut Value) {
        let length = self.path.len();
        match value {
            Value::Object(map) => map.retain(|name, value| {
                if length > 0 {
                    self.path.push('.');
                }
                self.path.push_str(name);
                let stays = self.member(node, keeps, name, value, length == 0);
                self.path.truncate(length);
                stays
            }),
            Value::Array(items) => {
                let below = node.and_then(|node| node.items.as_deref());
                if keeps && below.is_none() {
                    return;
                }
                let keeps = keeps || below.is_some_and(|below| below.preserves_unknown);
                for (index, item) in items.iter_mut().enumerate() {
                    let _ = write!(self.path, "[{index}]");
                    self.visit(below, keeps, item);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn member(
        &mut self,
        node: Option<&Node>,
        keeps: bool,
        name: &str,
        value: &mut Value,
        at_root: bool,
    ) -> bool {
        if node.is_some_and(Node::is_resource) && META_FIELDS.contains(&name) {
            return true;
        }
        let properties = node.and_then(|node| node.properties.get(name));
        let below = match (properties, node.and_then(|node| node.additional.as_ref())) {
            (Some(known), _) | (None, Some(Additional::Schema(known))) => Some(known.as_ref()),
            (None, Some(Additional::Allowed(_))) => None,
            (None, None) if keeps => return true,
            (None, None) => {
                if !(at_root && META_FIELDS.contains(&name)) {
                    self.unknown.push(self.path.clone());
                }
                return false;
            }
        };
        self.visit(
            below,
            below.is_some_and(|below| below.preserves_unknown),
            value,
        );
        true
    }
}
