//! What people are told of an object that is accepted but may not do what they want.

use serde_json::Value;

use super::Kind;

/// Warnings about an object, in the words of kube-apiserver.
type Warn = fn(&Value, &mut Vec<String>);

/// When a kind has something to say of its objects.
#[derive(Clone, Copy)]
pub enum Warnings {
    /// Never.
    None,
    /// When they are made: of kinds that programs change often.
    OnCreate(Warn),
    /// At each write.
    Always(Warn),
}

impl Kind {
    /// What is to be said of an object that was just written.
    pub fn warnings(&self, object: &Value, is_new: bool) -> Vec<String> {
        let mut said = Vec::new();
        match self.warnings {
            Warnings::OnCreate(warn) if is_new => warn(object, &mut said),
            Warnings::Always(warn) => warn(object, &mut said),
            Warnings::OnCreate(_) | Warnings::None => {}
        }
        said
    }

    /// Whether it may have something to say.
    pub fn warns(&self, is_new: bool) -> bool {
        match self.warnings {
            Warnings::None => false,
            Warnings::OnCreate(_) => is_new,
            Warnings::Always(_) => true,
        }
    }
}
