//! Removing what no schema knows.

use serde_json::Value;

use crate::node::{Additional, Node};
use crate::path::Path;

/// Known of every object without being declared.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes unknown fields; their paths, sorted.
pub(crate) fn prune(root: &Node, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    visit(
        Some(root),
        root.preserves_unknown,
        object,
        &Path::ROOT,
        &mut unknown,
    );
    unknown.sort();
    unknown
}

/// `node` is absent below what no schema describes: nothing is known there. `keeps` says
/// whether unknown fields stay; the members of a list have it from the list.
fn visit(
    node: Option<&Node>,
    keeps: bool,
    value: &mut Value,
    at: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let below = match known(node, keeps, name) {
                Known::Whole => return true,
                Known::As(below) => below,
                Known::Not => {
                    if !(at.is_root() && META_FIELDS.contains(&name.as_str())) {
                        unknown.push(at.field(name).to_string());
                    }
                    return false;
                }
            };
            let keeps = below.is_some_and(|below| below.preserves_unknown);
            visit(below, keeps, value, &at.field(name), unknown);
            true
        }),
        Value::Array(items) => {
            let below = node.and_then(|node| node.items.as_deref());
            if keeps && below.is_none() {
                return;
            }
            let keeps = keeps || below.is_some_and(|below| below.preserves_unknown);
            for (index, item) in items.iter_mut().enumerate() {
                visit(below, keeps, item, &at.index(index), unknown);
            }
        }
        _ => {}
    }
}

/// What is known of a field.
enum Known<'a> {
    /// It stays, whatever is in it.
    Whole,
    /// It stays, and this is what is known of what is in it.
    As(Option<&'a Node>),
    Not,
}

fn known<'a>(node: Option<&'a Node>, keeps: bool, name: &str) -> Known<'a> {
    let Some(node) = node else {
        return if keeps { Known::Whole } else { Known::Not };
    };
    if node.is_resource() && META_FIELDS.contains(&name) {
        return Known::Whole;
    }
    match (node.properties.get(name), &node.additional) {
        (Some(known), _) | (None, Some(Additional::Schema(known))) => Known::As(Some(known)),
        (None, Some(Additional::Allowed(_))) => Known::As(None),
        (None, None) if keeps => Known::Whole,
        (None, None) => Known::Not,
    }
}
