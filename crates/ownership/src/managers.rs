//! Who owns what of one object.

use crate::FieldSet;

/// Managers that update at most; the oldest are counted as one when there are more.
const UPDATERS_MAX: usize = 10;
/// What those are called together.
const ANCIENT: &str = "ancient-changes";

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply: what it leaves out the next time goes.
    Apply,
    /// By any other write.
    Update,
}

/// One manager and what it owns: an entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Its name.
    pub name: String,
    /// How it wrote.
    pub operation: Operation,
    /// The version of the API that it wrote in, as `apps/v1`.
    pub api_version: String,
    /// The subresource that it wrote through; empty for the object itself.
    pub subresource: String,
    /// When what it owns last changed, as the API writes times.
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name.
    pub name: &'a str,
    /// The version of the API that it writes in.
    pub api_version: &'a str,
    /// The subresource that it writes through; empty for the object itself.
    pub subresource: &'a str,
    /// The time, as the API writes times.
    pub now: &'a str,
}

impl Writer<'_> {
    /// As a manager that owns these fields since now.
    pub(crate) fn manager(&self, operation: Operation, fields: FieldSet) -> Manager {
        Manager {
            name: self.name.into(),
            operation,
            api_version: self.api_version.into(),
            subresource: self.subresource.into(),
            time: Some(self.now.into()),
            fields,
        }
    }
}

impl Manager {
    /// Whether it is the same manager: an applier is, in whichever version it writes.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

/// All managers of an object, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub(crate) Vec<Manager>);

impl Managers {
    /// Whether nobody owns anything: then writes are not tracked until somebody applies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The managers.
    pub fn iter(&self) -> impl Iterator<Item = &Manager> {
        self.0.iter()
    }

    /// Takes paths from all. Who has none left is forgotten.
    pub(crate) fn lose(&mut self, gone: &FieldSet) {
        for manager in &mut self.0 {
            manager.fields = manager.fields.difference(gone);
        }
        self.0.retain(|manager| !manager.fields.is_empty());
    }

    /// Adds what a manager owns to what it owned before.
    pub(crate) fn gain(&mut self, manager: Manager) {
        match self.0.iter_mut().find(|known| known.is(&manager)) {
            Some(known) => {
                known.fields = known.fields.union(&manager.fields);
                known.time = manager.time;
            }
            None => self.0.push(manager),
        }
    }

    /// Puts a manager in the place of what it was.
    pub(crate) fn put(&mut self, manager: Manager) {
        match self.0.iter_mut().find(|known| known.is(&manager)) {
            Some(known) => *known = manager,
            None => self.0.push(manager),
        }
    }

    /// Takes out what a manager was.
    pub(crate) fn take(&mut self, manager: &Manager) -> Option<Manager> {
        let at = self.0.iter().position(|known| known.is(manager))?;
        Some(self.0.remove(at))
    }

    /// Joins the oldest of those that update until there are no more than allowed.
    pub(crate) fn cap(&mut self) {
        let updaters = |of: &Self| -> usize {
            let updates = |manager: &&Manager| manager.operation == Operation::Update;
            of.0.iter().filter(updates).count()
        };
        if updaters(self) <= UPDATERS_MAX {
            return;
        }
        let age = |manager: &Manager| (manager.time.clone(), manager.name.clone());
        self.0.sort_by_key(age);
        let mut at = 0;
        let mut first: Vec<(String, Manager)> = Vec::new();
        while updaters(self) + first.len() > UPDATERS_MAX && at < self.0.len() {
            if self.0[at].operation == Operation::Apply {
                at += 1;
                continue;
            }
            let mut manager = self.0.remove(at);
            match first
                .iter_mut()
                .find(|(version, _)| *version == manager.api_version)
            {
                None => first.push((manager.api_version.clone(), manager)),
                Some((_, bucket)) => {
                    manager.name = ANCIENT.into();
                    manager.subresource = String::new();
                    manager.fields = manager.fields.union(&bucket.fields);
                    *bucket = manager;
                }
            }
        }
        for (_, manager) in first {
            self.gain(manager);
        }
    }
}
