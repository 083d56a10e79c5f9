//! Server-side apply: a configuration, the object as it is, and who owns what of it.

use serde_json::{Value, json};

use crate::{
    Conflict, Conflicts, FieldSet, Managers, Of, Operation, Shape, Writer,
    check::check,
    compare, fields,
    last_applied::{allowed, renew},
    merge::merge,
    prune::prune,
    update,
    update::ownable,
};

/// Who owns what nobody was known to own before somebody applied.
const BEFORE: &str = "before-first-apply";

/// What an apply makes of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object.
    pub object: Value,
    /// Who owns what of it.
    pub managers: Managers,
}

/// A configuration that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It does not fit its type: what is wrong, and where.
    #[error("{0}")]
    Misfit(String),
    /// It changes what others own.
    #[error("{0}")]
    Conflicts(Conflicts),
}

/// Applies a configuration to the `live` object, which is empty if there is none yet.
///
/// Both are without managed fields and of one version, and the configuration has nothing that the
/// writer cannot write (no status beside a spec). With `force`, what others own is taken.
///
/// # Errors
///
/// [`ApplyError`].
pub fn apply<'a, S: Shape<'a>>(
    of: Of<S>,
    live: &Value,
    config: &Value,
    managers: Managers,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Applied, ApplyError> {
    check(of, config).map_err(|problems| ApplyError::Misfit(problems.to_string()))?;
    let managers = if managers.is_empty() {
        let before = Writer {
            name: BEFORE,
            ..*writer
        };
        update(of, None, live, managers, &before)
    } else {
        managers
    };
    let mut applied = match attempt(of, live, config, managers.clone(), writer, force) {
        Ok(applied) => applied,
        Err(conflicts) => {
            let allowed = allowed(of, live, writer.name, writer.api_version);
            let (mine, others): (Vec<Conflict>, Vec<Conflict>) = conflicts
                .0
                .into_iter()
                .partition(|conflict| allowed.has(&conflict.path));
            if mine.is_empty() || !others.is_empty() {
                return Err(ApplyError::Conflicts(Conflicts(others)));
            }
            attempt(of, live, config, managers, writer, true).map_err(ApplyError::Conflicts)?
        }
    };
    renew(&mut applied.object, config, writer.name);
    Ok(applied)
}

fn attempt<'a, S: Shape<'a>>(
    of: Of<S>,
    live: &Value,
    config: &Value,
    mut managers: Managers,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Applied, Conflicts> {
    let merged = merge(of, Some(live), Some(config)).unwrap_or_else(|| json!({}));
    let set = fields(of, config);
    let mut applier = writer.manager(Operation::Apply, ownable(&set));
    let before = managers.take(&applier);
    let object = match &before {
        Some(before) => {
            let others = managers
                .iter()
                .fold(set, |all, manager| all.union(&manager.fields));
            prune(of, merged, &before.fields, &others)
        }
        None => merged,
    };
    let change = compare(of, live, &object);
    let taken = change.added.union(&change.modified);
    if !force {
        let conflicts = conflicts(&managers, &taken);
        if !conflicts.is_empty() {
            return Err(Conflicts::new(conflicts));
        }
    }
    let same_object = taken.is_empty() && change.removed.is_empty();
    managers.lose(&taken.union(&change.removed));
    // The time tells when something changed: not when the same was said again.
    if let Some(before) = before.filter(|before| same_object && before.fields == applier.fields) {
        applier.time = before.time;
    }
    if !applier.fields.is_empty() {
        managers.put(applier);
    }
    Ok(Applied { object, managers })
}

/// What others own of these fields.
fn conflicts(others: &Managers, taken: &FieldSet) -> Vec<Conflict> {
    let of_one = |manager: &crate::Manager| -> Vec<Conflict> {
        let paths = manager.fields.intersection(taken).paths();
        paths
            .into_iter()
            .map(|path| Conflict::new(manager, path))
            .collect()
    };
    others.iter().flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        last_applied::LAST_APPLIED,
        testing::{THING, any_thing, writer},
    };

    /// An object, and who owns what of it.
    type State = (Value, Managers);

    fn new() -> State {
        (json!({}), Managers::default())
    }

    fn by((live, managers): &State, who: &str, config: &Value) -> Result<State, ApplyError> {
        let applied = apply(THING, live, config, managers.clone(), &writer(who), false)?;
        Ok((applied.object, applied.managers))
    }

    fn forced((live, managers): &State, who: &str, config: &Value) -> State {
        let applied = apply(THING, live, config, managers.clone(), &writer(who), true).unwrap();
        (applied.object, applied.managers)
    }

    fn written((live, managers): &State, who: &str, new: &Value) -> State {
        let old = (live != &json!({})).then_some(live);
        let managers = update(THING, old, new, managers.clone(), &writer(who));
        (new.clone(), managers)
    }

    fn owned((_, managers): &State, who: &str) -> Value {
        let found = managers.iter().find(|manager| manager.name == who);
        found.map_or(Value::Null, |found| found.fields.to_fields_v1())
    }

    #[test]
    fn what_is_left_out_goes_unless_somebody_owns_it() {
        let config = json!({
            "text": "a", "labels": {"a": "x", "b": "x"}, "tags": ["a", "b"],
            "items": [{"name": "a", "value": 1}, {"name": "b"}], "inner": {"text": "x"},
        });
        let state = by(&new(), "one", &config).unwrap();
        assert_eq!(state.0, config);
        let other = json!({"labels": {"b": "x"}, "items": [{"name": "a"}]});
        let state = by(&state, "two", &other).unwrap();
        // Somebody adds fields that nobody applied.
        let mut live = state.0.clone();
        live["items"][1]["text"] = json!("controller");
        live["labels"]["c"] = json!("controller");
        let state = written(&state, "controller", &live);
        let state = by(&state, "one", &json!({"text": "a"})).unwrap();
        // An element goes with all that is in it.
        assert_eq!(
            state.0,
            json!({
                "text": "a", "labels": {"b": "x", "c": "controller"}, "items": [{"name": "a"}],
            })
        );
        assert_eq!(owned(&state, "one"), json!({"f:text": {}}));
    }

    #[test]
    fn changing_what_another_owns_conflicts() {
        let state = by(&new(), "one", &json!({"text": "a", "count": 1})).unwrap();
        let mut live = state.0.clone();
        live["items"] = json!([{"name": "a", "value": 1}]);
        let state = written(&state, "two", &live);
        let config = json!({"text": "b", "count": 2, "items": [{"name": "a", "value": 2}]});
        let refused = by(&state, "three", &config).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Apply failed with 3 conflicts: conflicts with \"one\":\n- .count\n- .text\n\
             conflicts with \"two\" using v1:\n- .items[name=\"a\"].value"
        );
        let one = by(&state, "three", &json!({"text": "b"})).unwrap_err();
        assert_eq!(
            one.to_string(),
            "Apply failed with 1 conflict: conflict with \"one\": .text"
        );
        let state = forced(&state, "three", &config);
        assert_eq!(owned(&state, "one"), Value::Null);
        assert_eq!(
            owned(&state, "two"),
            json!({"f:items": {".": {}, "k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}})
        );
    }

    #[test]
    fn the_same_value_is_shared() {
        let state = by(&new(), "one", &json!({"text": "a"})).unwrap();
        let state = by(&state, "two", &json!({"text": "a"})).unwrap();
        assert_eq!(owned(&state, "one"), owned(&state, "two"));
        // Neither can change it alone, and it stays until both leave it out.
        assert!(by(&state, "one", &json!({"text": "b"})).is_err());
        let state = by(&state, "one", &json!({"count": 1})).unwrap();
        assert_eq!(state.0, json!({"text": "a", "count": 1}));
        let state = by(&state, "two", &json!({"count": 1})).unwrap();
        assert_eq!(state.0, json!({"count": 1}));
    }

    #[test]
    fn what_was_there_before_the_first_apply_is_somebodys() {
        let state = (json!({"text": "a", "count": 1}), Managers::default());
        let refused = by(&state, "one", &json!({"text": "b"})).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("\"before-first-apply\" using v1: .text")
        );
        let state = by(&state, "one", &json!({"text": "a"})).unwrap();
        assert_eq!(
            owned(&state, "before-first-apply"),
            json!({"f:count": {}, "f:text": {}})
        );
    }

    #[test]
    fn times_move_when_something_changes() {
        let time = |(_, managers): &State| managers.iter().next().unwrap().time.clone();
        let config = json!({"text": "a"});
        let state = by(&new(), "one", &config).unwrap();
        let later = |state: &State, config: &Value| {
            let writer = Writer {
                now: "2027-01-01T00:00:00Z",
                ..writer("one")
            };
            let applied = apply(THING, &state.0, config, state.1.clone(), &writer, false).unwrap();
            (applied.object, applied.managers)
        };
        assert_eq!(time(&later(&state, &config)), time(&state));
        for other in [
            json!({"text": "b"}),
            json!({}),
            json!({"text": "a", "on": true}),
        ] {
            let state = by(&new(), "one", &config).unwrap();
            let after = later(&state, &other);
            assert!(
                after.1.is_empty() || time(&after) != time(&state),
                "{other}"
            );
        }
    }

    #[test]
    fn kubectl_moves_from_its_annotation() {
        let last = json!({"apiVersion": "v1", "text": "a", "count": 1}).to_string();
        let live = json!({
            "apiVersion": "v1", "text": "a", "count": 5,
            "metadata": {"annotations": {LAST_APPLIED: last}},
        });
        let state = written(&new(), "kubectl-client-side-apply", &live);
        let text = json!({"apiVersion": "v1", "text": "b"});
        // Others conflict; kubectl itself said it last.
        assert!(by(&state, "somebody", &text).is_err());
        let moved = by(&state, "kubectl", &text).unwrap();
        let renewed = moved.0["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(renewed).unwrap(), text);
        // What somebody changed since is not kubectl's.
        let refused = by(&state, "kubectl", &json!({"apiVersion": "v1", "count": 2}));
        assert!(refused.unwrap_err().to_string().contains(".count"));
    }

    /// Two configurations that have no field in common: no label, no element, no leaf.
    fn any_disjoint() -> impl Strategy<Value = (Value, Value)> {
        (any_thing(), any_thing()).prop_map(|(a, b)| {
            let rest = crate::remove::remove(THING, &b, &fields(THING, &a));
            (a, rest.unwrap_or_else(|| json!({})))
        })
    }

    proptest! {
        #[test]
        fn applying_twice_changes_nothing(base in any_thing(), config in any_thing()) {
            let state = written(&new(), "base", &base);
            let once = forced(&state, "one", &config);
            let twice = by(&once, "one", &config).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn what_is_applied_is_there(base in any_thing(), config in any_thing()) {
            let state = written(&new(), "base", &base);
            let state = forced(&state, "one", &config);
            let missing = fields(THING, &config).difference(&fields(THING, &state.0));
            prop_assert!(missing.is_empty(), "{:?} of {} in {}", missing, config, state.0);
            let own = state.1.iter().find(|manager| manager.name == "one");
            let own = own.map(|own| own.fields.clone()).unwrap_or_default();
            prop_assert_eq!(own, fields(THING, &config));
        }

        #[test]
        fn what_nobody_owns_goes_when_it_is_left_out(a in any_thing(), b in any_thing(), c in any_thing()) {
            let state = by(&new(), "other", &a).unwrap();
            let state = forced(&state, "one", &b);
            let state = forced(&state, "one", &c);
            let all = state.1.iter().fold(FieldSet::default(), |all, manager| all.union(&manager.fields));
            // All that is there is somebody's, since all was applied.
            let unowned = fields(THING, &state.0).difference(&all);
            prop_assert!(unowned.is_empty(), "{:?} in {}", unowned, state.0);
        }

        #[test]
        fn disjoint_appliers_commute((a, b) in any_disjoint()) {
            let first = by(&by(&new(), "a", &a).unwrap(), "b", &b).unwrap();
            let second = by(&by(&new(), "b", &b).unwrap(), "a", &a).unwrap();
            prop_assert_eq!(fields(THING, &first.0), fields(THING, &second.0));
            prop_assert_eq!(first.1.to_value(), second.1.to_value());
        }

        #[test]
        fn leaving_everything_gives_everything_back((a, b) in any_disjoint()) {
            let state = by(&new(), "a", &a).unwrap();
            let both = by(&state, "b", &b).unwrap();
            let again = by(&both, "b", &json!({})).unwrap();
            prop_assert_eq!(again.0, state.0);
            prop_assert_eq!(again.1, state.1);
        }

        #[test]
        fn an_unforced_apply_takes_nothing(a in any_thing(), b in any_thing()) {
            let state = by(&new(), "a", &a).unwrap();
            if let Ok(after) = by(&state, "b", &b) {
                prop_assert_eq!(owned(&after, "a"), owned(&state, "a"));
            } else {
                let (a, b) = (fields(THING, &a), fields(THING, &b));
                prop_assert!(!a.intersection(&b).is_empty());
            }
        }

        #[test]
        fn managers_are_read_as_they_were_written(a in any_thing(), b in any_thing()) {
            let state = written(&forced(&written(&new(), "a", &a), "b", &b), "c", &a);
            let entries = state.1.to_value();
            let read = Managers::parse(&entries).unwrap();
            prop_assert_eq!(read.to_value(), entries);
        }
    }
}
