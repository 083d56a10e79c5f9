//! What has to be written so that what is loaded becomes what is meant.

use std::fmt::Write;

use crate::compile::leads;
use crate::program::{Program, Table, print_of};
use crate::saved::{Loaded, is_of_a_service, is_ours};

/// A change of the kernel's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What `iptables-restore --noflush` reads; empty when there is nothing to do.
    pub text: String,
    /// Chains that are written whole.
    pub written: usize,
    /// Chains that are deleted.
    pub deleted: usize,
}

/// Names only chains that differ: declaring a chain empties it, inside the transaction of its table.
///
/// Filter comes before nat, so that a Service that gets its first endpoint is
/// no longer refused when it is translated.
pub fn diff(loaded: &Loaded, program: &Program) -> Difference {
    let mut difference = Difference::default();
    for table in [Table::Filter, Table::Nat] {
        write_table(&mut difference, table, loaded, program);
    }
    difference
}

fn write_table(difference: &mut Difference, table: Table, loaded: &Loaded, program: &Program) {
    let meant = program.chains.iter().filter(|((t, _), _)| *t == table);
    let differs =
        |key: &(Table, String), rules: &str| loaded.chains.get(key) != Some(&print_of(rules));
    let changed: Vec<_> = meant.filter(|(key, rules)| differs(key, rules)).collect();
    let mut stale: Vec<&str> = loaded
        .chains
        .keys()
        .filter(|key| key.0 == table && is_of_a_service(&key.1))
        .filter(|key| !program.chains.contains_key(*key))
        .map(|key| &*key.1)
        .collect();
    stale.sort_unstable();
    let leads: Vec<_> = program
        .leads
        .iter()
        .filter(|lead| lead.0 == table && !loaded.leads.contains(*lead))
        .collect();
    if changed.is_empty() && stale.is_empty() && leads.is_empty() {
        return;
    }
    let text = &mut difference.text;
    // Writing into a text does not fail.
    let _ = writeln!(text, "*{}", table.word());
    let names = changed.iter().map(|((_, name), _)| &**name);
    for name in names.chain(stale.iter().copied()) {
        let _ = writeln!(text, ":{name} - [0:0]");
    }
    for (_, rule) in leads {
        let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
        let _ = writeln!(text, "-I {chain} 1 {rest}");
    }
    for (_, rules) in &changed {
        text.push_str(rules);
    }
    for name in &stale {
        let _ = writeln!(text, "-X {name}");
    }
    text.push_str("COMMIT\n");
    difference.written += changed.len();
    difference.deleted += stale.len();
}

/// What removes all chains that are loaded, and what leads into them.
pub fn removal(loaded: &Loaded) -> Difference {
    let mut difference = Difference::default();
    let all_leads = leads();
    for table in [Table::Filter, Table::Nat] {
        let ours = |key: &&(Table, String)| key.0 == table && is_ours(&key.1);
        let mut chains: Vec<&str> = loaded.chains.keys().filter(ours).map(|k| &*k.1).collect();
        chains.sort_unstable();
        let leads = all_leads
            .iter()
            .filter(|l| l.0 == table && loaded.leads.contains(*l));
        let leads: Vec<&str> = leads.map(|(_, rule)| &**rule).collect();
        if chains.is_empty() && leads.is_empty() {
            continue;
        }
        let text = &mut difference.text;
        let _ = writeln!(text, "*{}", table.word());
        for name in &chains {
            let _ = writeln!(text, ":{name} - [0:0]");
        }
        for rule in leads {
            let _ = writeln!(text, "-D {rule}");
        }
        for name in &chains {
            let _ = writeln!(text, "-X {name}");
        }
        text.push_str("COMMIT\n");
        difference.deleted += chains.len();
    }
    difference
}
