//! Rules in CEL (`x-kubernetes-validations`).

use serde_json::Value;

use crate::node::Node;
use crate::path::Path;
use crate::problem::Problem;

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule;

impl Rule {
    pub fn read(_raw: &Value) -> Self {
        Self
    }
}

/// What the rules say of a value.
pub(crate) fn judge(
    _node: &Node,
    _value: &Value,
    _old: Option<&Value>,
    _at: &Path<'_>,
) -> Vec<Problem> {
    Vec::new()
}
