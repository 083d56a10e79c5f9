use std::collections::BTreeMap;

use sealane_net::fingerprint;

/// The tables that have chains of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// What is refused or let pass.
    Filter,
    /// What is translated.
    Nat,
}

impl Table {
    /// As iptables calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Filter, Self::Nat]
            .into_iter()
            .find(|table| table.word() == word)
    }
}

/// All chains that should be there for one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Each with its rules as `iptables-save` prints them, a line for each: `-A KUBE-SERVICES …`.
    pub chains: BTreeMap<(Table, String), String>,
    /// The rules that lead from the kernel's own chains into ours, in the order in which they are put in front.
    pub leads: Vec<(Table, String)>,
}

impl Program {
    /// Adds rules to a chain, which is there from then on.
    pub(crate) fn add(
        &mut self,
        table: Table,
        chain: &str,
        rules: impl IntoIterator<Item = String>,
    ) {
        // Most chains are added to once; the large ones are found without making a name.
        let key = (table, chain.to_owned());
        let text = self.chains.entry(key).or_default();
        for rule in rules {
            text.push_str("-A ");
            text.push_str(chain);
            text.push(' ');
            text.push_str(&rule);
            text.push('\n');
        }
    }

    /// As `iptables-save` would print all of it, without what is others'.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in [Table::Filter, Table::Nat] {
            text.push_str(&format!("*{}\n", table.word()));
            let chains = || self.chains.iter().filter(|((t, _), _)| *t == table);
            for ((_, name), _) in chains() {
                text.push_str(&format!(":{name} - [0:0]\n"));
            }
            // The last that is put in front is the first.
            for (_, rule) in self.leads.iter().rev().filter(|(t, _)| *t == table) {
                text.push_str(&format!("-A {rule}\n"));
            }
            for (_, rules) in chains() {
                text.push_str(rules);
            }
            text.push_str("COMMIT\n");
        }
        text
    }
}

/// What is kept of a loaded chain: its text is as long as all its rules.
pub(crate) fn print_of(rules: &str) -> u64 {
    fingerprint(rules.as_bytes())
}
