//! From the name that was asked for to the one that has the records, by the aliases that were given.

use sealane_message::{Data, Name, Record};

use super::Unusable;

/// More aliases than anybody has in a row.
const LONGEST: usize = 16;

/// The names that an answer is about: the question's, and those that it stands for, in order.
#[derive(Debug)]
pub struct Chain {
    names: Vec<Name>,
}

impl Chain {
    /// No alias is followed: the question is about this name alone.
    pub fn single(name: Name) -> Self {
        Self { names: vec![name] }
    }

    /// Follows aliases from `start`, wherever in `answers` they stand.
    ///
    /// # Errors
    ///
    /// They contradict each other, go round, or do not end.
    pub fn follow(start: Name, answers: &[Record<'_>]) -> Result<Self, Unusable> {
        let mut names = vec![start];
        while let Some(target) = target(&names[names.len() - 1], answers)? {
            if names.contains(&target) || names.len() == LONGEST {
                return Err(Unusable::Circle);
            }
            names.push(target);
        }
        Ok(Self { names })
    }

    /// The name that has the records, or does not exist.
    pub fn end(&self) -> &Name {
        &self.names[self.names.len() - 1]
    }

    /// The names, the question's first.
    pub fn names(&self) -> &[Name] {
        &self.names
    }
}

/// What `name` stands for.
fn target(name: &Name, answers: &[Record<'_>]) -> Result<Option<Name>, Unusable> {
    let mut targets = answers.iter().filter_map(|record| match &record.data {
        Data::Cname(target) if record.owner == *name => Some(*target),
        _ => None,
    });
    let first = targets.next();
    if targets.any(|other| Some(other) != first) {
        return Err(Unusable::Aliases);
    }
    Ok(first)
}
