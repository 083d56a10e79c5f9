//! Handles of kinds: rows of the table live as long as the program, kinds that were made at run
//! time as long as somebody uses them.

use std::{fmt, future::pending, ops::Deref, sync::Arc};

use super::Kind;

/// A handle of a kind, cheap to clone.
#[derive(Clone)]
pub enum KindRef {
    /// A row of the table.
    Row(&'static Kind),
    /// A kind that a CustomResourceDefinition describes.
    Made(Arc<Kind>),
}

impl KindRef {
    /// When the kind is no longer served: never, for rows of the table.
    pub async fn ended(&self) {
        match &self.custom {
            Some(custom) => custom.definition().ended().await,
            None => pending().await,
        }
    }
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match self {
            Self::Row(kind) => kind,
            Self::Made(kind) => kind,
        }
    }
}

impl From<&'static Kind> for KindRef {
    fn from(kind: &'static Kind) -> Self {
        Self::Row(kind)
    }
}

impl fmt::Debug for KindRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
