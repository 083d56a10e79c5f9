//! What is wrong with an object.
//!
//! In the order of kube-apiserver: types and limits, whole Kubernetes objects that are embedded,
//! doubled members of sets and maps; then, unless what was found makes it pointless, the rules.
//!
//! **Unchanged values keep passing.** On an update, what is wrong with a value that was so
//! before is not held against the update. Old and new are compared place by place, members of
//! lists only where the list says what tells them apart.

mod embedded;
mod keyed_lists;
mod value;

use std::sync::Arc;

use serde_json::Value;

use crate::cel;
use crate::node::Node;
use crate::path::Path;
use crate::problem::{Problem, ProblemKind};

/// After these, rules are not looked at: they would speak of values that are not there.
const BLOCKING: [ProblemKind; 5] = [
    ProblemKind::NotSupported,
    ProblemKind::Required,
    ProblemKind::TooLong,
    ProblemKind::TooMany,
    ProblemKind::TypeInvalid,
];

pub(crate) fn validate(root: &Arc<Node>, object: &Value, old: Option<&Value>) -> Vec<Problem> {
    let mut problems = shape(root, object, old, &Path::ROOT);
    if problems
        .iter()
        .any(|problem| BLOCKING.contains(&problem.kind))
    {
        if root.below.rules {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            problems.push(Problem::invalid("", Value::Null, detail));
        }
        return problems;
    }
    if root.below.rules {
        problems.extend(cel::judge(root, object, old, &Path::ROOT));
    }
    problems
}

/// All but the rules. `at` is where the value stands.
pub(crate) fn shape(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    at: &Path<'_>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    value::check(node, value, old, at, &mut problems);
    if node.below.embedded {
        embedded::check(node, value, old, at, &mut problems);
    }
    if node.below.keyed_lists {
        let mut doubled = Vec::new();
        keyed_lists::check(node, value, at, &mut doubled);
        if !doubled.is_empty() && !old.is_some_and(|old| had_doubles(node, old)) {
            problems.extend(doubled);
        }
    }
    problems
}

fn had_doubles(node: &Node, old: &Value) -> bool {
    let mut before = Vec::new();
    keyed_lists::check(node, old, &Path::ROOT, &mut before);
    !before.is_empty()
}
