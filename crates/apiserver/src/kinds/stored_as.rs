//! Kinds that are another view of a stored kind: the same objects under other names of fields.

use serde_json::Value;

use super::Kind;

/// How a kind is stored.
pub struct StoredAs {
    /// The kind that is stored.
    pub kind: &'static Kind,
    /// Top-level fields: the stored name, the served name.
    pub renames: &'static [(&'static str, &'static str)],
    /// What else makes a served object one that is stored, and back.
    pub reshape: Option<(Reshape, Reshape)>,
}

/// Changes an object in place.
type Reshape = fn(&mut Value);

impl Kind {
    /// A served object in the form that is stored.
    pub fn to_stored(&self, mut object: Value) -> Value {
        if let Some(stored) = &self.stored_as {
            let renames = stored
                .renames
                .iter()
                .map(|(stored, served)| (*served, *stored));
            rename(&mut object, renames);
            if let Some((to_stored, _)) = stored.reshape {
                to_stored(&mut object);
            }
            name(&mut object, stored.kind);
        }
        object
    }

    /// A stored object in the form that is served.
    pub fn to_served(&self, mut object: Value) -> Value {
        if let Some(stored) = &self.stored_as {
            rename(&mut object, stored.renames.iter().copied());
            if let Some((_, to_served)) = stored.reshape {
                to_served(&mut object);
            }
            name(&mut object, self);
        }
        object
    }
}

fn name(object: &mut Value, kind: &Kind) {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
}

/// Takes all old names out before the new ones go in, since one may be the other's.
fn rename<'a>(object: &mut Value, renames: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let moved: Vec<(&str, Value)> = renames
        .filter_map(|(from, to)| Some((to, map.remove(from)?)))
        .collect();
    map.extend(moved.into_iter().map(|(to, value)| (to.to_owned(), value)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::kinds::Kinds;

    #[test]
    fn an_event_has_two_views() {
        let kind = Kinds::default()
            .find("events.k8s.io", "v1", "events")
            .unwrap();
        let served = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "note": "hello", "regarding": {"kind": "Pod"}, "type": "Normal",
        });
        let stored = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "message": "hello", "involvedObject": {"kind": "Pod"}, "type": "Normal",
        });
        assert_eq!(kind.to_stored(served.clone()), stored);
        assert_eq!(kind.to_served(stored), served);
    }
}
