use std::fmt;

use crate::{Element, Table, TableFamily};

/// What the kernel tells of a table without reading its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its family; tables of families that we do not know are never ours.
    pub family: TableFamily,
    /// The name.
    pub name: String,
    /// The comment; ours hold a stamp.
    pub comment: Option<String>,
}

/// One step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Puts the table in the place of what has its name now.
    Load(&'a Table),
    /// Removes a table and all that is in it.
    Delete(&'a Loaded),
    /// Puts an element into a keyed set; nothing when it is there.
    Add(&'a Element),
    /// Takes an element out of a keyed set, where it must be.
    Remove(&'a Element),
}

/// What turns the tables called `name` into `desired`, and leaves all others alone.
///
/// A table with the right stamp is not touched; one of a family that is no
/// longer desired is removed.
pub fn diff<'a>(observed: &'a [Loaded], name: &str, desired: &'a [Table]) -> Vec<Change<'a>> {
    let ours = || observed.iter().filter(|table| table.name == name);
    let unwanted = ours()
        .filter(|loaded| !desired.iter().any(|table| is_same_object(loaded, table)))
        .map(Change::Delete);
    let outdated = desired
        .iter()
        .filter(|table| !ours().any(|loaded| is_loaded(loaded, table)))
        .map(Change::Load);
    unwanted.chain(outdated).collect()
}

fn is_same_object(loaded: &Loaded, table: &Table) -> bool {
    loaded.family == table.family && loaded.name == table.name
}

fn is_loaded(loaded: &Loaded, table: &Table) -> bool {
    is_same_object(loaded, table) && loaded.comment.as_deref() == Some(table.stamp().as_str())
}

impl Table {
    /// What the kernel will tell of this table once it is loaded.
    pub fn as_loaded(&self) -> Loaded {
        Loaded {
            family: self.family,
            name: self.name.clone(),
            comment: Some(self.stamp()),
        }
    }
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Load(table) => {
                write!(f, "load table {} {}", table.family.word(), table.name)
            }
            Change::Delete(table) => {
                write!(f, "delete table {} {}", table.family.word(), table.name)
            }
            Change::Add(element) => write!(f, "add element {element}"),
            Change::Remove(element) => write!(f, "delete element {element}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealane_net::Family;

    use super::*;

    fn table(family: Family, sets: &[&str]) -> Table {
        let sets = sets
            .iter()
            .map(|name| crate::Set::of_networks(*name, "", family, []))
            .collect();
        Table {
            sets,
            ..Table::new(family, "sealane")
        }
    }

    fn loaded(family: Family, name: &str, comment: Option<&str>) -> Loaded {
        Loaded {
            family: family.into(),
            name: name.into(),
            comment: comment.map(Into::into),
        }
    }

    #[test]
    fn touches_only_what_differs_and_only_what_is_ours() {
        let v4 = table(Family::V4, &["a"]);
        let changed = table(Family::V4, &["a", "b"]);
        let v6 = table(Family::V6, &["a"]);
        let foreign = loaded(Family::V4, "filter", None);
        let unstamped = loaded(Family::V4, "sealane", Some("made by hand"));
        let cases: [(Vec<Loaded>, Vec<Table>, &[&str]); 6] = [
            (vec![foreign.clone()], vec![], &[]),
            (
                vec![foreign.clone()],
                vec![v4.clone(), v6.clone()],
                &["load table ip sealane", "load table ip6 sealane"],
            ),
            (
                vec![foreign, v4.as_loaded(), v6.as_loaded()],
                vec![v4.clone(), v6.clone()],
                &[],
            ),
            (
                vec![v4.as_loaded(), v6.as_loaded()],
                vec![changed],
                &["delete table ip6 sealane", "load table ip sealane"],
            ),
            (
                vec![unstamped],
                vec![v4.clone()],
                &["load table ip sealane"],
            ),
            (vec![v4.as_loaded()], vec![], &["delete table ip sealane"]),
        ];
        for (observed, desired, expected) in cases {
            let changes: Vec<String> = diff(&observed, "sealane", &desired)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(changes, expected);
        }
    }
}
