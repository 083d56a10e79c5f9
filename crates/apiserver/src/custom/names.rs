//! Which names a definition gets: those that it asks for, unless somebody in its group has them.

use std::collections::BTreeSet;

use super::definition::Names;
use crate::kinds::KINDS;

/// Names of a group that are taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Plural, singular and short names.
    resources: BTreeSet<String>,
    /// Kinds of objects and of lists.
    kinds: BTreeSet<String>,
}

/// Why a definition does not get its names.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The word that programs match on.
    pub reason: &'static str,
    /// The sentence that people read.
    pub message: String,
}

impl Taken {
    /// What the table has in `group`.
    pub fn by_rows(group: &str) -> Self {
        let mut taken = Self::default();
        for kind in KINDS.iter().filter(|kind| kind.group == group) {
            let shorts = kind.short_names.iter().copied();
            let resources = shorts.chain([kind.plural, kind.singular]);
            taken.resources.extend(resources.map(str::to_owned));
            taken.kinds.extend([kind.kind.to_owned(), kind.list_kind()]);
        }
        taken
    }

    /// What another definition of the group has.
    pub fn add(&mut self, names: &Names) {
        let resources = names
            .short_names
            .iter()
            .chain([&names.plural, &names.singular]);
        self.resources.extend(resources.cloned());
        self.kinds
            .extend([names.kind.clone(), names.list_kind.clone()]);
    }
}

/// The names that a definition has from now on, which are those that it has had where it does not
/// get new ones, and why it does not get all.
pub fn accept(wanted: &Names, had: &Names, taken: &Taken) -> (Names, Option<Conflict>) {
    let mut names = had.clone();
    let mut conflict = None;
    let mut take = |wanted: &String, had: &mut String, taken: &BTreeSet<String>, reason| {
        if wanted != had && taken.contains(wanted) {
            let message = format!("{wanted:?} is already in use");
            conflict = Some(Conflict { reason, message });
        } else {
            had.clone_from(wanted);
        }
    };
    take(
        &wanted.plural,
        &mut names.plural,
        &taken.resources,
        "PluralConflict",
    );
    take(
        &wanted.singular,
        &mut names.singular,
        &taken.resources,
        "SingularConflict",
    );
    take(&wanted.kind, &mut names.kind, &taken.kinds, "KindConflict");
    take(
        &wanted.list_kind,
        &mut names.list_kind,
        &taken.kinds,
        "ListKindConflict",
    );
    let in_use: Vec<String> = wanted
        .short_names
        .iter()
        .filter(|name| !had.short_names.contains(name) && taken.resources.contains(*name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    match in_use.as_slice() {
        [] => names.short_names.clone_from(&wanted.short_names),
        [one] => conflict = Some(shorts(one.clone())),
        many => conflict = Some(shorts(format!("[{}]", many.join(", ")))),
    }
    names.categories.clone_from(&wanted.categories);
    (names, conflict)
}

fn shorts(message: String) -> Conflict {
    Conflict {
        reason: "ShortNamesConflict",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, kind: &str, shorts: &[&str]) -> Names {
        Names {
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: shorts.iter().map(|short| (*short).to_owned()).collect(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            categories: vec!["all".into()],
        }
    }

    #[test]
    fn whoever_was_there_first_has_the_name() {
        let mut taken = Taken::default();
        taken.add(&names("mills", "Mill", &["ml"]));
        let none = Names::default();
        for (wanted, reason, message) in [
            (names("inns", "Inn", &[]), "", ""),
            (
                names("mills", "Milling", &[]),
                "PluralConflict",
                "\"mills\" is already in use",
            ),
            (
                names("inns", "Mill", &[]),
                "ListKindConflict",
                "\"MillList\" is already in use",
            ),
            (
                names("inns", "Inn", &["x", "ml"]),
                "ShortNamesConflict",
                "\"ml\" is already in use",
            ),
        ] {
            let (accepted, conflict) = accept(&wanted, &none, &taken);
            let conflict = conflict
                .map(|it| (it.reason, it.message))
                .unwrap_or_default();
            assert_eq!((conflict.0, conflict.1.as_str()), (reason, message));
            assert_eq!(accepted == wanted, reason.is_empty());
            assert_eq!(accepted.categories, wanted.categories);
        }
        let own = names("mills", "Mill", &["ml"]);
        assert_eq!(
            accept(&own, &own, &taken),
            (own.clone(), None),
            "it has them already"
        );
        let mut more = own.clone();
        more.short_names.push("mll".into());
        assert_eq!(accept(&more, &own, &taken), (more.clone(), None));
    }

    #[test]
    fn the_kinds_of_the_table_have_their_names() {
        let taken = Taken::by_rows("sealane.io");
        let (_, conflict) = accept(&names("ippools", "Pool", &[]), &Names::default(), &taken);
        assert_eq!(conflict.unwrap().reason, "PluralConflict");
    }
}
