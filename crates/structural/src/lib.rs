//! Decisions: what a custom resource may be.
//!
//! ```text
//!  CustomResourceDefinition ──> definition::check ──> problems, or none
//!        │ openAPIV3Schema
//!        └──> Schema::load ──> prune ──> default ──> validate ──> problems, or none
//! ```
//!
//! A [`Schema`] is made once for each version of a definition and shared. It knows the structure
//! of objects ([`Node`]), what fills in for what is not given, which values may stand where, and
//! the rules in CEL, each compiled when it is first needed. Everything answers in kube-apiserver's
//! words, by [`Problem`]s that name the field.
//!
//! A [`Condition`] is an expression in the same language about something that is to be written: which
//! of these a webhook wants to see.
//!
//! Nothing here knows of connections or of a store; objects are `serde_json` values.
#![warn(missing_docs)]

mod cel;
mod correlate;
mod default;
pub mod definition;
mod field_path;
mod formats;
#[doc(hidden)]
pub mod fuzzing;
mod node;
mod path;
mod pattern;
mod problem;
mod prune;
mod read;
mod rules;
mod time;
mod url;
mod validate;

use std::sync::Arc;

use serde_json::Value;

pub use cel::{Admission, Condition, Undecided};
pub use node::{Additional, List, Node, Type};
pub use problem::{Problem, ProblemKind};

/// The schema of one version of a custom resource.
#[derive(Clone, Debug)]
pub struct Schema {
    root: Arc<Node>,
}

impl Schema {
    /// Reads `openAPIV3Schema` if nothing is wrong with it. `path` is where it stands in the
    /// definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn read(raw: &Value, path: &str) -> Result<Self, Vec<Problem>> {
        let around = rules::Around::default();
        match rules::check(raw, &path::Path::Root(path), around) {
            problems if problems.is_empty() => Ok(Self::load(raw)),
            problems => Err(problems),
        }
    }

    /// Reads `openAPIV3Schema` of a definition that was accepted before: nothing is checked, and
    /// rules compile when they are first needed.
    pub fn load(raw: &Value) -> Self {
        Self {
            root: read::root(raw),
        }
    }

    /// The node of the whole object: list types and keys for whoever merges objects.
    pub fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Removes fields that the schema does not know; their paths, sorted, as
    /// `spec.items[0].colour`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// Removes `null`s that may not be, and fills in what is not given.
    pub fn default(&self, object: &mut Value) {
        default::default(&self.root, object);
    }

    /// What is wrong with an object. With `old`, what it replaces, rules about changes apply, and
    /// what was wrong before and did not change is let pass.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        validate::validate(&self.root, object, old)
    }
}
