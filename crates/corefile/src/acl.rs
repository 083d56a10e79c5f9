//! `acl`: who may ask for what.

use std::net::IpAddr;

use sealane_message::Question;

use crate::config::{Who, longest};

/// All rules of a server block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub zones: Vec<sealane_message::Name>,
    pub policies: Vec<(Access, Who)>,
}

/// What is done with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is answered.
    Allow,
    /// It gets REFUSED.
    Block,
    /// It gets an answer without records.
    Filter,
    /// It gets nothing.
    Drop,
}

impl Acl {
    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is done with a client's question: in each rule for its name, the first policy that
    /// matches counts, and all rules have to allow it.
    #[must_use]
    pub fn access(&self, question: &Question, client: IpAddr) -> Access {
        let rules = self.rules.iter();
        let concerned = rules.filter(|rule| longest(&rule.zones, &question.name).is_some());
        let decisions = concerned.filter_map(|rule| {
            let mut policies = rule.policies.iter();
            policies.find(|(_, who)| who.includes(question.kind, client))
        });
        let mut denied = decisions
            .map(|(access, _)| *access)
            .filter(|access| *access != Access::Allow);
        denied.next().unwrap_or(Access::Allow)
    }
}
