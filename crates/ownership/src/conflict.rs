//! Fields that an applier wants to change and another manager owns.

use std::fmt;

use crate::{Element, Manager, Operation};

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// That manager, as people read it.
    pub manager: String,
    /// The field.
    pub path: Vec<Element>,
}

impl Conflict {
    pub(crate) fn new(manager: &Manager, path: Vec<Element>) -> Self {
        let mut shown = format!("{:?}", manager.name);
        if !manager.subresource.is_empty() {
            shown += &format!(" with subresource {:?}", manager.subresource);
        }
        if manager.operation == Operation::Update {
            shown += &format!(" using {}", manager.api_version);
        }
        Self {
            manager: shown,
            path,
        }
    }

    /// The field as people read it: `.spec.replicas`.
    pub fn field(&self) -> String {
        self.path.iter().map(Element::to_string).collect()
    }
}

/// All conflicts of one apply, ordered by manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub(crate) Vec<Conflict>);

impl Conflicts {
    pub(crate) fn new(mut conflicts: Vec<Conflict>) -> Self {
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        Self(conflicts)
    }

    /// The conflicts.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.iter()
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            let (manager, field) = (&one.manager, one.field());
            return write!(
                f,
                "Apply failed with 1 conflict: conflict with {manager}: {field}"
            );
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut lines = Vec::new();
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.manager) {
                lines.push(format!("conflicts with {}:", conflict.manager));
                last = Some(&conflict.manager);
            }
            lines.push(format!("- {}", conflict.field()));
        }
        f.write_str(&lines.join("\n"))
    }
}
