//! Defaults are right values: of their type, known, within the limits and rules of their place.

use std::sync::Arc;

use serde_json::Value;

use crate::cel;
use crate::node::Node;
use crate::path::Path;
use crate::problem::Problem;
use crate::prune::prune;
use crate::validate;

pub(super) fn check(node: &Arc<Node>, raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    if !node.below.defaults {
        return;
    }
    if let Some(default) = &node.default {
        one(node, default, &at.field("default"), problems);
    }
    if let Some(items) = &node.items {
        check(items, &raw["items"], &at.field("items"), problems);
    }
    let properties = at.field("properties");
    for (name, property) in &node.properties {
        check(
            property,
            &raw["properties"][name.as_ref()],
            &properties.key(name),
            problems,
        );
    }
}

fn one(node: &Arc<Node>, default: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let mut pruned = default.clone();
    prune(node, &mut pruned);
    if pruned != *default {
        let detail = "must not have unknown fields";
        problems.push(Problem::invalid(at, default.clone(), detail));
    }
    let wrong = validate::shape(node, default, None, at);
    if wrong.is_empty() {
        problems.extend(cel::judge(node, default, Some(default), at));
        problems.extend(cel::judge(node, default, None, at));
    } else {
        problems.extend(wrong);
    }
}
