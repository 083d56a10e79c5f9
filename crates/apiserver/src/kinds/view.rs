//! From what is stored to what verbs work with, and back.

use std::borrow::Cow;

use bytes::Bytes;
use sealane_store::{Entry, Template};
use serde_json::Value;

use super::Kind;
use crate::object;

impl Kind {
    /// Reads an object as verbs work with it: as it is stored, or, of a custom kind, in this
    /// version.
    ///
    /// # Errors
    ///
    /// When it is not JSON.
    pub fn read(&self, entry: &Entry) -> serde_json::Result<Value> {
        match &self.custom {
            Some(custom) => custom.read(entry),
            None => serde_json::from_slice(&entry.object),
        }
    }

    /// The bytes of a stored object, if clients get just these.
    pub fn shared(&self, entry: &Entry) -> Option<Bytes> {
        match &self.custom {
            Some(custom) => custom.shared(entry),
            None => self.stored_as.is_none().then(|| entry.object.clone()),
        }
    }

    /// What is stored of an object that verbs have worked with.
    pub fn template(&self, object: &Value) -> Template {
        let stored = self.custom.as_ref().filter(|custom| !custom.is_storage());
        let object = match stored {
            None => Cow::Borrowed(object),
            Some(custom) => Cow::Owned(custom.as_stored(object.clone())),
        };
        object::template(&object)
    }
}
