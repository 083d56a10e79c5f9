//! Who owns what after a write that is no apply.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{Element, FieldSet, Managers, Of, Operation, Shape, Writer, compare};

/// What nobody owns: what an object is, and what only the server decides.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    let field = Element::field;
    let mut set = FieldSet::of(&[
        &[field("apiVersion")],
        &[field("kind")],
        &[field("metadata")],
    ]);
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
});

/// What of these fields can have an owner.
pub(crate) fn ownable(fields: &FieldSet) -> FieldSet {
    fields.difference(&STRIPPED)
}

/// The managers after `writer` made `new` of `old`, or made it at all.
///
/// What it changed or added is its own and nobody else's now. An object that nobody owns anything
/// of is left so: its managers were forgotten, or it is older than they are.
pub fn update<'a, S: Shape<'a>>(
    of: Of<S>,
    old: Option<&Value>,
    new: &Value,
    mut managers: Managers,
    writer: &Writer<'_>,
) -> Managers {
    if old.is_some() && managers.is_empty() {
        return managers;
    }
    let nothing = json!({});
    let change = compare(of, old.unwrap_or(&nothing), new);
    let taken = change.added.union(&change.modified);
    managers.lose(&taken.union(&change.removed));
    let own = ownable(&taken);
    if !own.is_empty() {
        managers.gain(writer.manager(Operation::Update, own));
        managers.cap();
    }
    managers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{THING, set, writer};

    fn owned(managers: &Managers, name: &str) -> FieldSet {
        let found = managers.iter().find(|manager| manager.name == name);
        found.map(|found| found.fields.clone()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_is_the_writers() {
        let first = json!({"text": "a", "count": 1, "metadata": {"name": "x", "uid": "u"}});
        let managers = update(THING, None, &first, Managers::default(), &writer("a"));
        assert_eq!(owned(&managers, "a"), set(&["text", "count"]));
        let second = json!({"text": "b", "on": true, "metadata": {"name": "x", "uid": "u"}});
        let managers = update(THING, Some(&first), &second, managers, &writer("b"));
        // The first one's text was taken, its count is gone.
        assert_eq!(owned(&managers, "a"), FieldSet::default());
        assert_eq!(owned(&managers, "b"), set(&["text", "on"]));
        let same = update(
            THING,
            Some(&second),
            &second,
            managers.clone(),
            &writer("c"),
        );
        assert_eq!(same, managers);
    }

    #[test]
    fn what_nobody_owns_is_not_tracked() {
        let (old, new) = (json!({"text": "a"}), json!({"text": "b"}));
        let managers = update(THING, Some(&old), &new, Managers::default(), &writer("a"));
        assert!(managers.is_empty());
    }

    #[test]
    fn the_oldest_of_many_writers_are_joined() {
        let mut managers = Managers::default();
        let mut old = json!({"labels": {"0": ""}});
        managers = update(THING, None, &old, managers, &writer("w0"));
        for at in 1..15 {
            let mut new = old.clone();
            new["labels"][at.to_string()] = json!("");
            let (name, now) = (format!("w{at}"), format!("2026-01-01T00:00:{at:02}Z"));
            let writer = Writer {
                now: &now,
                ..writer(&name)
            };
            managers = update(THING, Some(&old), &new, managers, &writer);
            old = new;
        }
        assert_eq!(managers.iter().count(), 10);
        let ancient = owned(&managers, "ancient-changes");
        assert_eq!(
            ancient,
            set(&[
                "labels", "labels.0", "labels.1", "labels.2", "labels.3", "labels.4", "labels.5"
            ])
        );
        assert_eq!(owned(&managers, "w14"), set(&["labels.14"]));
    }
}
