//! What is answered to each system call.

use std::collections::BTreeMap;

use syscalls::Sysno;

/// The kernel's answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// Allowed, and noted in the kernel's log.
    Log,
    /// Fails with this error.
    Errno(u16),
    /// A tracer decides; without one the call fails with `ENOSYS`.
    Trace(u16),
    /// SIGSYS.
    Trap,
    KillThread,
    KillProcess,
}

/// How an argument is compared, all 64 bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// The bits of the mask are those of the value.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// A condition on one of the six arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) compare: Compare,
}

/// An answer that is given when all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// What is answered to each call.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// For calls that are known and have no rule that applies.
    pub(super) default: Action,
    /// For calls that are not known.
    pub(super) unknown: Action,
    /// By number; the first rule that applies counts.
    pub(super) rules: BTreeMap<u32, Vec<Rule>>,
}

impl Policy {
    pub(super) fn new(default: Action, unknown: Action) -> Self {
        Self {
            default,
            unknown,
            rules: BTreeMap::new(),
        }
    }

    /// Adds an answer that is given whatever the arguments are.
    pub(super) fn always(&mut self, call: Sysno, action: Action) {
        self.add(call, Vec::new(), action);
    }

    /// Adds an answer; those without conditions come last, wherever they are added.
    pub(super) fn add(&mut self, call: Sysno, conditions: Vec<Condition>, action: Action) {
        let rules = self.rules.entry(number(call)).or_default();
        let last = rules.last().is_some_and(|rule| rule.conditions.is_empty());
        let rule = Rule { conditions, action };
        match (last, rule.conditions.is_empty()) {
            // The first one counts.
            (true, true) => {}
            (true, false) => rules.insert(rules.len() - 1, rule),
            (false, _) => rules.push(rule),
        }
    }
}

/// A call's number, which is never negative.
pub(super) fn number(call: Sysno) -> u32 {
    call.id().unsigned_abs()
}

/// Numbers of calls that existed when this program was made, the last one included.
pub(super) fn known(number: u32) -> bool {
    Sysno::new(number as usize).is_some()
}

/// The highest of them.
pub(super) fn last() -> u32 {
    number(Sysno::last())
}
