//! Rules in CEL: they compile, and cost no more than may be.

use serde_json::Value;

use crate::node::Node;
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn check(_root: &Node, _raw: &Value, _at: &Path<'_>, _problems: &mut Vec<Problem>) {}
