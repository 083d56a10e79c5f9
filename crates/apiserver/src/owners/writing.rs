//! A write: who writes, through what, and what becomes of the owners.

use jiff::Timestamp;
use sealane_ownership::{Managers, Writer, update};
use serde_json::Value;

use super::shape_of;
use crate::{
    kinds::Kind,
    object,
    request::{Payload, WriteOptions},
    server::Context,
};

/// The name under which this server writes for itself.
const OURS: &str = "sealane-apiserver";

/// A write, and who it is by.
#[derive(Clone, Debug, Default)]
pub struct Writing {
    /// Whether everything is done but the writing.
    pub dry_run: bool,
    manager: String,
    subresource: String,
    is_ours: bool,
    applied: Option<Managers>,
}

impl Writing {
    /// The server's own.
    pub fn ours() -> Self {
        Self {
            manager: OURS.into(),
            is_ours: true,
            ..Self::default()
        }
    }

    /// That of a request.
    pub fn of(context: &Context, payload: &Payload, options: &WriteOptions) -> Self {
        Self {
            dry_run: options.dry_run,
            manager: options.manager(&payload.agent),
            subresource: context.target.subresource.clone(),
            ..Self::default()
        }
    }

    /// The same, with everything done but the writing.
    #[must_use]
    pub fn trial(&self) -> Self {
        Self {
            dry_run: true,
            ..self.clone()
        }
    }

    /// That of an apply, which has decided who owns what.
    #[must_use]
    pub fn applied(mut self, managers: Managers) -> Self {
        self.applied = Some(managers);
        self
    }

    /// The writer, as managed fields name it.
    pub fn writer<'a>(&'a self, api_version: &'a str, now: &'a str) -> Writer<'a> {
        Writer {
            name: &self.manager,
            api_version,
            subresource: &self.subresource,
            now,
        }
    }

    /// The managed fields of a new object.
    pub fn first_owners(&self, kind: &Kind, new: &Value) -> Value {
        match &self.applied {
            Some(applied) => to_entries(applied),
            None => self.update(kind, None, new, Managers::default()),
        }
    }

    /// The managed fields after `new` was made of `old`, neither with its entries: those that were
    /// `stored`, and those that the request has `given`.
    pub fn owners(
        &self,
        kind: &Kind,
        (old, stored): (&Value, &Value),
        (new, given): (&Value, &Value),
    ) -> Value {
        if let Some(applied) = &self.applied {
            return unless_same(applied, stored, old == new);
        }
        // Through a subresource nobody edits them, nor do we ourselves, and who knows nothing of
        // them loses nothing.
        let edits = !self.is_ours && self.subresource.is_empty() && given != stored;
        let edited = match given {
            Value::Null => None,
            _ if !edits => None,
            given if Managers::is_reset(given) => Some(Managers::default()),
            given => Managers::parse(given)
                .ok()
                .filter(|managers| !managers.is_empty()),
        };
        let managers = match edited {
            Some(edited) => edited,
            None if old == new => return stored.clone(),
            None => Managers::parse(stored).unwrap_or_default(),
        };
        self.update(kind, Some(old), new, managers)
    }

    fn update(&self, kind: &Kind, old: Option<&Value>, new: &Value, managers: Managers) -> Value {
        let (api_version, now) = (kind.api_version(), object::time(Timestamp::now()));
        let writer = self.writer(&api_version, &now);
        let shape = shape_of(kind);
        let managers = if kind.stored_as.is_some() {
            // Paths are those of the form in which it is served.
            let old = old.map(|old| kind.to_served(old.clone()));
            let new = kind.to_served(new.clone());
            update(shape, old.as_ref(), &new, managers, &writer)
        } else {
            update(shape, old, new, managers, &writer)
        };
        to_entries(&managers)
    }
}

/// What is stored, if it says the same: clients may write it in another form. Times say nothing
/// when nothing changed: a configuration may have other words for what there is (`0.5` for `500m`).
fn unless_same(managers: &Managers, stored: &Value, nothing_changed: bool) -> Value {
    let timeless = |managers: &Managers| {
        let mut entries = managers.to_value();
        for entry in entries.as_array_mut().into_iter().flatten() {
            entry["time"].take();
        }
        let mut entries = entries.as_array().cloned().unwrap_or_default();
        entries.sort_by_key(Value::to_string);
        entries
    };
    match Managers::parse(stored) {
        Ok(was) if was == *managers => stored.clone(),
        Ok(was) if nothing_changed && timeless(&was) == timeless(managers) => stored.clone(),
        _ => to_entries(managers),
    }
}

fn to_entries(managers: &Managers) -> Value {
    if managers.is_empty() {
        return Value::Null;
    }
    managers.to_value()
}
