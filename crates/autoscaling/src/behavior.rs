//! How fast an autoscaler may change, and how sure it must be before.

use crate::{memory::Memory, replicas::Tolerance};

/// `spec.behavior`, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// More pods.
    pub up: Rules,
    /// Fewer pods.
    pub down: Rules,
}

/// How to change in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// For so long another wish must have held.
    pub stabilization_seconds: i64,
    /// Which policy counts.
    pub select: Select,
    /// How much may change in which time.
    pub policies: Vec<Policy>,
    /// How far from the target is near enough.
    pub tolerance: Option<f64>,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// That which allows the greatest change.
    Max,
    /// That which allows the least.
    Min,
    /// None: nothing changes in this direction.
    Disabled,
}

/// How much may change in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is counted.
    pub kind: PolicyKind,
    /// How many.
    pub value: i32,
    /// In how many seconds.
    pub period_seconds: i64,
}

/// What a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the pods at the period's beginning.
    Percent,
}

/// How long a wish for fewer pods must hold if nothing is said.
pub const DOWN_STABILIZATION_SECONDS: i64 = 300;

impl Default for Behavior {
    /// As `spec.behavior: {}`.
    fn default() -> Self {
        Self {
            up: Rules::up(),
            down: Rules::down(),
        }
    }
}

impl Rules {
    /// What holds for more pods if nothing is said: four, or twice as many, in 15 seconds.
    pub fn up() -> Self {
        let policy = |kind, value| Policy {
            kind,
            value,
            period_seconds: 15,
        };
        Self {
            stabilization_seconds: 0,
            select: Select::Max,
            policies: vec![
                policy(PolicyKind::Pods, 4),
                policy(PolicyKind::Percent, 100),
            ],
            tolerance: None,
        }
    }

    /// What holds for fewer pods if nothing is said: any number, after five minutes.
    pub fn down() -> Self {
        Self {
            stabilization_seconds: DOWN_STABILIZATION_SECONDS,
            select: Select::Max,
            policies: vec![Policy {
                kind: PolicyKind::Percent,
                value: 100,
                period_seconds: 15,
            }],
            tolerance: None,
        }
    }

    /// The longest time that a policy looks back.
    pub(crate) fn longest_ms(&self) -> i64 {
        let periods = self.policies.iter().map(|policy| policy.period_seconds);
        periods.max().unwrap_or(0) * 1000
    }
}

impl Behavior {
    pub(crate) fn tolerance(&self) -> Tolerance {
        let usual = Tolerance::default();
        Tolerance {
            up: self.up.tolerance.unwrap_or(usual.up),
            down: self.down.tolerance.unwrap_or(usual.down),
        }
    }

    /// The most pods that may be there now.
    pub(crate) fn most(&self, current: i32, memory: &Memory, now_ms: i64) -> i32 {
        let proposals = self.up.policies.iter().map(|policy| {
            let start = memory.replicas_before(current, policy.period_seconds * 1000, now_ms);
            match policy.kind {
                PolicyKind::Pods => start.saturating_add(policy.value),
                // Rounded up: one percent of ten pods is one pod.
                PolicyKind::Percent => {
                    (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32
                }
            }
        });
        let limit = match self.up.select {
            Select::Disabled => return current,
            Select::Max => proposals.max(),
            Select::Min => proposals.min(),
        };
        limit.unwrap_or(current).max(current)
    }

    /// The fewest pods that may be there now.
    pub(crate) fn fewest(&self, current: i32, memory: &Memory, now_ms: i64) -> i32 {
        let proposals = self.down.policies.iter().map(|policy| {
            let start = memory.replicas_before(current, policy.period_seconds * 1000, now_ms);
            match policy.kind {
                PolicyKind::Pods => start.saturating_sub(policy.value),
                PolicyKind::Percent => {
                    (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32
                }
            }
        });
        let limit = match self.down.select {
            Select::Disabled => return current,
            Select::Max => proposals.min(),
            Select::Min => proposals.max(),
        };
        limit.unwrap_or(current).min(current)
    }
}
