use std::fmt;

use serde::{Deserialize, Serialize};

/// The namespace and name of a namespaced object, shown as kubectl writes it: `default/web-1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// `.metadata.namespace`
    pub namespace: String,
    /// `.metadata.name`
    pub name: String,
}

impl ObjectName {
    /// Joins a namespace and a name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectName;

    #[test]
    fn is_shown_as_kubectl_writes_it() {
        assert_eq!(
            ObjectName::new("default", "web-1").to_string(),
            "default/web-1"
        );
    }
}
