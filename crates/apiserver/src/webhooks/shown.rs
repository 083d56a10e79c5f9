//! What webhooks are shown of a write: the object, or what stands for it in a subresource.

use serde_json::{Value, json};

use crate::kinds::{KindRef, Subresource, scale_of, set_replicas};

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The object itself.
    Object,
    /// How it is scaled.
    Scale,
    /// What is posted, of this group, version and kind; those of the resource where they are empty.
    Posted([&'static str; 3]),
}

const SCALE: [&str; 3] = ["autoscaling", "v1", "Scale"];

impl Shown {
    /// What is shown of a write to a subresource.
    pub fn of(kind: &KindRef, subresource: &str) -> Self {
        let part = kind.subresources.iter();
        match part.copied().find(|part| part.name() == subresource) {
            None | Some(Subresource::Finalize) => Self::Object,
            Some(Subresource::Scale) => Self::Scale,
            Some(part) => {
                let (group, version) = part.group_version().unwrap_or_default();
                Self::Posted([group, version, part.kind()])
            }
        }
    }

    /// Group, version and kind of it, for objects of a kind.
    pub fn kind<'a>(&self, kind: &'a KindRef) -> [&'a str; 3] {
        match *self {
            Self::Object => [kind.group, kind.version, kind.kind],
            Self::Scale => SCALE,
            Self::Posted([_, "", name]) => [kind.group, kind.version, name],
            Self::Posted(posted) => posted,
        }
    }

    /// What is shown of an object of `kind` to a webhook that wants to see it as `form`.
    pub fn object(&self, kind: &KindRef, form: &KindRef, object: &Value) -> Value {
        match self {
            Self::Object => {
                let mut served = form.to_served(object.clone());
                served["apiVersion"] = form.api_version().into();
                served
            }
            Self::Scale => scale_of(kind, object),
            Self::Posted(_) => {
                let [group, version, name] = self.kind(form);
                let mut posted = object.clone();
                posted["kind"] = json!(name);
                posted["apiVersion"] = match group {
                    "" => json!(version),
                    group => json!(format!("{group}/{version}")),
                };
                posted
            }
        }
    }

    /// The object after a webhook changed what it was shown of it.
    pub fn taken(&self, kind: &KindRef, mut object: Value, mut changed: Value) -> Value {
        match self {
            Self::Scale => {
                let replicas = changed["spec"]["replicas"].take();
                set_replicas(kind, &mut object, replicas);
                object
            }
            _ => changed,
        }
    }
}
