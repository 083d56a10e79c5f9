//! What `iptables-save` tells, as far as it concerns us.

use std::collections::{HashMap, HashSet};

use crate::program::{Program, Table, print_of};

/// Chains of ours that are loaded, each with a fingerprint of its rules, and what leads into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub(crate) chains: HashMap<(Table, String), u64>,
    pub(crate) leads: HashSet<(Table, String)>,
}

/// Chains that no Service needs any more, by what their names begin with.
const OF_SERVICES: [&str; 6] = [
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-SEP-",
    "KUBE-EXT-",
    "KUBE-FW-",
    "KUBE-XLB-",
];

/// Chains that are there whatever Services there are.
const FIXED: [&str; 10] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",
    "KUBE-MARK-OUTSIDE",
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
    MARKER,
];

/// An empty chain, which says that the others are ours and not kube-proxy's.
pub(crate) const MARKER: &str = "KUBE-SEALANE";

impl Loaded {
    /// Whether a program of ours has been loaded, and not one of kube-proxy.
    pub fn is_ours(&self) -> bool {
        self.chains.contains_key(&(Table::Nat, MARKER.to_owned()))
    }

    /// Reads a listing; what makes no sense is passed over, and so are chains of others.
    pub fn read(saved: &str) -> Self {
        let mut loaded = Self::default();
        let mut rules: HashMap<(Table, &str), String> = HashMap::new();
        let mut table = None;
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::named(name);
            }
            let Some(table) = table else { continue };
            if let Some(name) = line.strip_prefix(':').and_then(|l| l.split(' ').next()) {
                if name.starts_with("KUBE-") {
                    rules.entry((table, name)).or_default();
                }
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let chain = rule.split(' ').next().unwrap_or_default();
                if let Some(text) = rules.get_mut(&(table, chain)) {
                    text.push_str(line);
                    text.push('\n');
                } else if rule.contains(" -j KUBE-") {
                    loaded.leads.insert((table, rule.to_owned()));
                }
            }
        }
        let chains = rules.into_iter();
        loaded.chains = chains
            .map(|((table, name), text)| ((table, name.to_owned()), print_of(&text)))
            .collect();
        loaded
    }

    /// Takes in that a program has been loaded.
    pub fn replace(&mut self, program: &Program) {
        self.chains.retain(|(_, name), _| !is_of_a_service(name));
        for (key, rules) in &program.chains {
            self.chains.insert(key.clone(), print_of(rules));
        }
        self.leads.extend(program.leads.iter().cloned());
    }
}

/// Whether a chain goes when nobody serves Services by iptables any more.
pub(crate) fn is_ours(chain: &str) -> bool {
    FIXED.contains(&chain) || is_of_a_service(chain)
}

pub(crate) fn is_of_a_service(chain: &str) -> bool {
    OF_SERVICES.iter().any(|start| chain.starts_with(start))
}
