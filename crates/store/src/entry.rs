//! Objects as the store holds them, and how they change.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::{Attributes, Key, Packed};

/// One committed object.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub key: Key,
    /// The revision of the write that made it so.
    pub revision: u64,
    /// What selectors see of it.
    pub attributes: Attributes,
    /// The encoded object, its revision within.
    pub object: Packed,
}

/// An encoded object with a gap for the revision, which is known only when it is written.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Everything before the revision.
    pub head: Vec<u8>,
    /// Everything after it.
    pub tail: Vec<u8>,
}

impl Template {
    /// The object as of `revision`.
    pub fn fill(&self, revision: u64) -> Vec<u8> {
        let digits = revision.to_string();
        let mut object = Vec::with_capacity(self.head.len() + digits.len() + self.tail.len());
        object.extend_from_slice(&self.head);
        object.extend_from_slice(digits.as_bytes());
        object.extend_from_slice(&self.tail);
        object
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Updated,
    /// It is gone; the entry holds its last state, at the revision of its deletion.
    Deleted,
}

/// What an object was before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// What selectors saw of it.
    pub attributes: Attributes,
    /// The encoded object, if selectors see another one now: whoever selects by what has changed
    /// is told of the object as it was.
    pub object: Option<Packed>,
}

impl Previous {
    /// What `old` was, before it became an object with these `attributes`.
    pub(crate) fn of(old: &Entry, attributes: &Attributes) -> Self {
        Self {
            attributes: old.attributes.clone(),
            object: (old.attributes != *attributes).then(|| old.object.clone()),
        }
    }
}

/// In which form a change is encoded; what the numbers mean is the readers' business.
pub type Form = (usize, u8);

/// One event. All watchers share it, and what they encode from it.
#[derive(Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The object afterwards (for a deletion: its last state).
    pub entry: Arc<Entry>,
    /// What it was before; `None` if it was created.
    pub previous: Option<Previous>,
    encodings: Mutex<Vec<(Form, Bytes)>>,
}

impl Change {
    pub(crate) fn new(
        kind: ChangeKind,
        entry: Arc<Entry>,
        previous: Option<Previous>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            entry,
            previous,
            encodings: Default::default(),
        })
    }

    /// The encoding in this form, made by `encode` for the first reader and shared by the others.
    pub fn encoding(&self, form: Form, encode: impl FnOnce(&Entry) -> Bytes) -> Bytes {
        // Held while it is made, so that no two readers make it.
        let mut made = self
            .encodings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = made.iter().find(|(of, _)| *of == form) {
            return bytes.clone();
        }
        let bytes = encode(&self.entry);
        made.push((form, bytes.clone()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_encoded_once() {
        let entry = Entry {
            key: Key::new(&crate::Bucket::new("", "pods"), "default", "a"),
            revision: 1,
            attributes: Attributes::default(),
            object: Packed::from(&[][..]),
        };
        let change = Change::new(ChangeKind::Created, Arc::new(entry), None);
        let mut made = Vec::new();
        for form in [(1, 0), (1, 1), (1, 0), (2, 0), (2, 0)] {
            let bytes = change.encoding(form, |_| {
                made.push(form);
                format!("{form:?}").into()
            });
            assert_eq!(bytes, format!("{form:?}"));
        }
        assert_eq!(made, [(1, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn a_template_takes_the_revision() {
        let template = Template {
            head: b"{\"v\":\"".to_vec(),
            tail: b"\"}".to_vec(),
        };
        assert_eq!(template.fill(17), b"{\"v\":\"17\"}");
    }
}
