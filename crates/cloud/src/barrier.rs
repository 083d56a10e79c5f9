use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Action;

/// What EC2 has refused, and so what need not be asked for again at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Barrier {
    /// Asking what there is. Apart from what follows, since EC2 throttles questions and changes apart.
    Looking,
    /// Any change: throttled, no permission, no answer.
    Everything,
    /// More addresses of this subnet.
    Subnet(String),
    /// More addresses on this interface.
    Interface(String),
    /// One more interface on this machine.
    Attaching,
    /// One more interface of this account.
    Creating,
    /// Bringing, changing, emptying or taking away this interface.
    Moving(String),
}

impl Barrier {
    /// What a refusal of an action stands for; `code` is EC2's word, `subnet` that of the action's interface.
    ///
    /// A request that EC2 does not serve now, or not us, says nothing about the
    /// action; nor does one that cannot be understood, as of prefixes for a type
    /// that has none. What concerns one interface alone must not stop the others.
    pub fn of(action: &Action, code: Option<&str>, subnet: &str) -> Self {
        match (code, action) {
            (Some("InsufficientFreeAddressesInSubnet" | "InsufficientCidrBlocks"), _) => {
                Barrier::Subnet(subnet.to_owned())
            }
            (Some("PrivateIpAddressLimitExceeded"), Action::Assign { interface, .. }) => {
                Barrier::Interface(interface.clone())
            }
            (Some("AttachmentLimitExceeded"), _) => Barrier::Attaching,
            (Some("NetworkInterfaceLimitExceeded"), _) => Barrier::Creating,
            (Some(code), _) if is_about_us(code) => Barrier::Everything,
            (
                Some(_),
                Action::Attach { interface, .. }
                | Action::Release { interface, .. }
                | Action::EndWithInstance { interface, .. }
                | Action::Detach { interface, .. }
                | Action::Delete { interface },
            ) => Barrier::Moving(interface.clone()),
            (Some(_), Action::Create { .. }) => Barrier::Creating,
            (None, _) | (Some(_), Action::Assign { .. }) => Barrier::Everything,
        }
    }
}

/// Throttled, not allowed, or EC2 itself is unwell.
fn is_about_us(code: &str) -> bool {
    const CODES: [&str; 12] = [
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "RequestThrottled",
        "EC2ThrottledException",
        "UnauthorizedOperation",
        "AuthFailure",
        "ExpiredToken",
        "RequestExpired",
        "InternalError",
        "Unavailable",
        "ServiceUnavailable",
    ];
    CODES.contains(&code) || code.starts_with("HTTP ")
}

/// The barriers that stand, each for a while that grows with every refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Barriers(BTreeMap<Barrier, Standing>);

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    until: Duration,
    times: u32,
    why: String,
}

/// The first wait, and the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

impl Barriers {
    /// EC2 has refused. `spread` in 0..1 is by chance, so that a thousand machines do not ask again together.
    pub fn refused(&mut self, barrier: Barrier, why: String, now: Duration, spread: f64) {
        let times = self.0.get(&barrier).map_or(0, |standing| standing.times);
        let wait = FIRST.saturating_mul(1 << times.min(10)).min(LONGEST);
        // Between three quarters and all of it.
        let wait = wait.mul_f64(0.75 + 0.25 * spread.clamp(0.0, 1.0));
        let standing = Standing {
            until: now + wait,
            times: times + 1,
            why,
        };
        self.0.insert(barrier, standing);
    }

    /// An action went well, so the next refusal of its like waits for a short time again.
    pub fn passed(&mut self, action: &Action, subnet: &str) {
        self.0.remove(&Barrier::Everything);
        match action {
            Action::Assign { interface, .. } => {
                self.0.remove(&Barrier::Interface(interface.clone()));
                self.0.remove(&Barrier::Subnet(subnet.to_owned()));
            }
            Action::Create { .. } => {
                self.0.remove(&Barrier::Creating);
                self.0.remove(&Barrier::Subnet(subnet.to_owned()));
            }
            Action::Attach { interface, .. } => {
                self.0.remove(&Barrier::Attaching);
                self.0.remove(&Barrier::Moving(interface.clone()));
            }
            Action::Release { interface, .. }
            | Action::EndWithInstance { interface, .. }
            | Action::Detach { interface, .. }
            | Action::Delete { interface } => {
                self.0.remove(&Barrier::Moving(interface.clone()));
            }
        }
    }

    /// EC2 has told what there is.
    pub fn looked(&mut self) {
        self.0.remove(&Barrier::Looking);
    }

    /// Why this must not be asked for now.
    pub fn stands(&self, barrier: &Barrier, now: Duration) -> Option<&str> {
        let standing = self.0.get(barrier)?;
        (now < standing.until).then_some(&*standing.why)
    }

    /// When the first of those that stand falls.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let standing = self.0.values().map(|standing| standing.until);
        standing.filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use sealane_net::ec2::Unit;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_refusal_waits_longer_and_success_begins_anew() {
        let mut barriers = Barriers::default();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..9 {
            barriers.refused(Barrier::Looking, "slow down".into(), now, 1.0);
            let until = barriers.next(now).unwrap();
            waits.push((until - now).as_millis());
            now = until;
            assert_eq!(barriers.stands(&Barrier::Looking, now), None);
        }
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
        );
        barriers.looked();
        barriers.refused(Barrier::Looking, "slow down".into(), now, 0.0);
        assert_eq!(barriers.next(now), Some(now + SECOND * 3 / 8));
    }

    #[test]
    fn refusals_stand_for_what_they_concern() {
        let assign = Action::Assign {
            interface: "eni-1".into(),
            unit: Unit::Address,
            count: 1,
        };
        let attach = Action::Attach {
            interface: "eni-1".into(),
            device: 1,
        };
        let moving = Barrier::Moving("eni-1".into());
        for (action, code, barrier) in [
            (
                &assign,
                "InsufficientFreeAddressesInSubnet",
                Barrier::Subnet("subnet-1".into()),
            ),
            (
                &assign,
                "PrivateIpAddressLimitExceeded",
                Barrier::Interface("eni-1".into()),
            ),
            (&assign, "RequestLimitExceeded", Barrier::Everything),
            (&assign, "InvalidParameterCombination", Barrier::Everything),
            (&attach, "AttachmentLimitExceeded", Barrier::Attaching),
            (&attach, "InvalidNetworkInterfaceID.NotFound", moving),
            (&attach, "UnauthorizedOperation", Barrier::Everything),
        ] {
            assert_eq!(
                Barrier::of(action, Some(code), "subnet-1"),
                barrier,
                "{code}"
            );
        }
    }

    #[test]
    fn one_barrier_is_not_another() {
        let mut barriers = Barriers::default();
        let full = Barrier::Subnet("subnet-1".into());
        barriers.refused(full.clone(), "full".into(), SECOND, 1.0);
        assert_eq!(barriers.stands(&full, SECOND), Some("full"));
        let other = Barrier::Subnet("subnet-2".into());
        assert_eq!(barriers.stands(&other, SECOND), None);
    }
}
