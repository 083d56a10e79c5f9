//! What an applier owned and leaves out now.

use serde_json::{Value, json};

use crate::{FieldSet, Of, Shape, fields, remove::remove};

/// The merged object without the fields that the applier owned `before` and that nobody owns
/// now, neither it nor another manager.
pub(crate) fn prune<'a, S: Shape<'a>>(
    of: Of<S>,
    merged: Value,
    before: &FieldSet,
    owned: &FieldSet,
) -> Value {
    if before.is_empty() {
        return merged;
    }
    let set = |value: &Value| with_structs(of, &fields(of, value));
    let (all, before, owned) = (
        set(&merged),
        with_structs(of, before),
        with_structs(of, owned),
    );
    // Everything that was owned goes, with all that is in it; what somebody owns comes back.
    let left = remove(of, &merged, &before).map(|left| set(&left));
    let gone = all.difference(&left.unwrap_or_default().union(&owned));
    let pruned = remove(of, &merged, &gone).unwrap_or_else(|| json!({}));
    // So does what nobody owns, but was never the applier's.
    let gone = all.difference(&set(&pruned)).intersection(&before);
    remove(of, &merged, &gone).unwrap_or_else(|| json!({}))
}

/// The set with the structs on the way to its paths, which are not in sets of their own.
fn with_structs<'a, S: Shape<'a>>(of: Of<S>, set: &FieldSet) -> FieldSet {
    let mut all = FieldSet::default();
    for node in &set.nodes {
        let (of, declared) = match (node.element.name(), of) {
            (Some(name), of) => {
                let member = of.member(name);
                (member.of, member.declared)
            }
            (None, of) => (of.element(), false),
        };
        let member = node.member || (declared && !node.below.is_empty());
        all.push(node.element.clone(), member, with_structs(of, &node.below));
    }
    all
}
