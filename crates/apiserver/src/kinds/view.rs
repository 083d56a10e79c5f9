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
            None => serde_json::from_slice(&entry.object.unpack()),
        }
    }

    /// The bytes of a stored object, if clients get just these.
    pub fn shared(&self, entry: &Entry) -> Option<Bytes> {
        match &self.custom {
            Some(custom) => custom.shared(entry),
            None => self.stored_as.is_none().then(|| entry.object.unpack()),
        }
    }

    /// Writes what [`Self::shared`] gives to the end of `out`; whether there is such.
    pub fn append_shared(&self, entry: &Entry, out: &mut Vec<u8>) -> bool {
        if self.custom.is_some() {
            let shared = self.shared(entry);
            out.extend_from_slice(shared.as_deref().unwrap_or_default());
            return shared.is_some();
        }
        if self.stored_as.is_some() {
            return false;
        }
        entry.object.append_to(out);
        true
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
