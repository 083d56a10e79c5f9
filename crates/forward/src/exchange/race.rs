//! Who is asked when, for one question: a state machine without clock or socket.
//!
//! ```text
//!  first upstream  ──ask──► … silence for its patience … ─────────────────────► answer counts still
//!  second upstream           └──ask──► "try another" (SERVFAIL, REFUSED, …)
//!  third upstream                        └──ask──► truncated ──ask by TCP──► answer: the race is over
//! ```
//!
//! Silence costs no more than an upstream's patience before the next is asked as well, and nobody is told to
//! stop: whichever answers first wins. When all have been asked it goes round again, each time waiting twice
//! as long, [`ASKS`] times each. A failure that is told (refused connection, `SERVFAIL`) costs no wait at all.
//!
//! What follows from an upstream's own words goes to the same upstream at once: truncated, by TCP;
//! `FORMERR` to EDNS, without; a name whose case has changed, by TCP, where nobody can have forged it, and only
//! if that cannot be had, in lower case by UDP, with another id from another port.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often each upstream is asked the same, follow-ups apart.
const ASKS: u32 = 3;

/// One who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// Which upstream.
    pub upstream: usize,
    /// How long it is waited for before the next is asked as well.
    pub patience: Duration,
    /// Whether it may be asked with EDNS.
    pub edns: bool,
    /// Whether it gives back a name in the case in which it was asked.
    pub keeps_case: bool,
}

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// One datagram, from a port of its own.
    Udp,
    /// A connection, perhaps one that was used before.
    Tcp,
}

/// One question to one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// To whom.
    pub upstream: usize,
    /// How.
    pub via: Via,
    /// With an OPT record.
    pub edns: bool,
    /// With letters of random case (draft-vixie-dnsext-dns0x20).
    pub mixed_case: bool,
    /// An answer by UDP came with the name in another case: this asks whether that is its way.
    pub in_doubt: bool,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It will not answer this, and another may: no use in asking again.
    Unwilling,
    /// The answer did not fit.
    Truncated,
    /// It does not know EDNS.
    NoEdns,
    /// The answer to a name in another case.
    Folded,
    /// No answer, or no way to it.
    Nothing,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this, and look again.
    Ask(Ask),
    /// Wait for what was asked, or until then.
    Wait(Instant),
    /// Nobody will answer.
    Over,
}

/// The state of one question.
#[derive(Debug)]
pub struct Race {
    runners: Vec<Runner>,
    via: Via,
    deadline: Instant,
    follow_ups: VecDeque<Ask>,
    under_way: usize,
    next_at: Instant,
}

#[derive(Debug)]
struct Runner {
    entrant: Entrant,
    asked: u32,
    finished: bool,
}

impl Race {
    /// Those who can be asked, in order; by which way first; and when it is over in any case.
    pub fn new(entrants: Vec<Entrant>, via: Via, now: Instant, deadline: Instant) -> Self {
        let runner = |entrant| Runner {
            entrant,
            asked: 0,
            finished: false,
        };
        Self {
            runners: entrants.into_iter().map(runner).collect(),
            via,
            deadline,
            follow_ups: VecDeque::new(),
            under_way: 0,
            next_at: now,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::Over;
        }
        if let Some(ask) = self.follow_ups.pop_front() {
            self.under_way += 1;
            return Step::Ask(ask);
        }
        match self.next_runner() {
            Some(runner) if now >= self.next_at => self.ask(runner, now),
            Some(_) => Step::Wait(self.next_at.min(self.deadline)),
            None if self.under_way == 0 => Step::Over,
            None => Step::Wait(self.deadline),
        }
    }

    /// Who has been asked least, the first of them.
    fn next_runner(&self) -> Option<usize> {
        let runners = self.runners.iter().enumerate();
        let can = runners.filter(|(_, runner)| !runner.finished && runner.asked < ASKS);
        can.min_by_key(|(_, runner)| runner.asked).map(|(n, _)| n)
    }

    fn ask(&mut self, runner: usize, now: Instant) -> Step {
        let via = self.via;
        let runner = &mut self.runners[runner];
        self.next_at = now + runner.entrant.patience * (1 << runner.asked);
        runner.asked += 1;
        self.under_way += 1;
        Step::Ask(Ask {
            upstream: runner.entrant.upstream,
            via,
            edns: runner.entrant.edns,
            mixed_case: runner.entrant.keeps_case,
            in_doubt: false,
        })
    }

    /// What became of a question, unless it is an answer: that ends the race.
    pub fn heard(&mut self, ask: Ask, heard: Heard, now: Instant) {
        self.under_way -= 1;
        let follow_up = match heard {
            Heard::Truncated if ask.via == Via::Udp => Some(Ask {
                via: Via::Tcp,
                ..ask
            }),
            Heard::Folded if ask.via == Via::Udp => Some(Ask {
                via: Via::Tcp,
                in_doubt: true,
                ..ask
            }),
            Heard::NoEdns if ask.edns => {
                self.learn(ask.upstream, |entrant| entrant.edns = false);
                Some(Ask { edns: false, ..ask })
            }
            Heard::Nothing if ask.in_doubt && ask.mixed_case => {
                self.learn(ask.upstream, |entrant| entrant.keeps_case = false);
                Some(Ask {
                    via: Via::Udp,
                    mixed_case: false,
                    ..ask
                })
            }
            Heard::Nothing => None,
            _ => {
                self.finish(ask.upstream);
                None
            }
        };
        match follow_up {
            Some(ask) => self.follow_ups.push_back(ask),
            None => self.hurry(now),
        }
    }

    fn learn(&mut self, upstream: usize, what: impl Fn(&mut Entrant)) {
        let entrants = self.runners.iter_mut().map(|runner| &mut runner.entrant);
        entrants
            .filter(|one| one.upstream == upstream)
            .for_each(what);
    }

    fn finish(&mut self, upstream: usize) {
        let same = |runner: &&mut Runner| runner.entrant.upstream == upstream;
        let runners = self.runners.iter_mut();
        runners
            .filter(same)
            .for_each(|runner| runner.finished = true);
    }

    /// Something failed: who has not been asked yet is asked now; who has, after a moment.
    fn hurry(&mut self, now: Instant) {
        let Some(runner) = self.next_runner().map(|runner| &self.runners[runner]) else {
            return;
        };
        let at = match runner.asked {
            0 => now,
            asked => now + runner.entrant.patience * (1 << (asked - 1)),
        };
        self.next_at = self.next_at.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn entrant(upstream: usize) -> Entrant {
        Entrant {
            upstream,
            patience: 100 * MS,
            edns: true,
            keeps_case: true,
        }
    }

    /// A race of so many, its beginning, and a clock in milliseconds since.
    fn race(count: usize) -> (Race, impl Fn(u32) -> Instant) {
        let start = Instant::now();
        let entrants = (0..count).map(entrant).collect();
        let race = Race::new(entrants, Via::Udp, start, start + 4000 * MS);
        (race, move |ms| start + ms * MS)
    }

    #[track_caller]
    fn asks(race: &mut Race, now: Instant) -> Ask {
        match race.next(now) {
            Step::Ask(ask) => ask,
            other => panic!("{other:?} instead of a question"),
        }
    }

    #[test]
    fn silence_has_the_next_one_asked_as_well() {
        let (mut race, at) = race(2);
        assert_eq!(asks(&mut race, at(0)).upstream, 0);
        assert_eq!(race.next(at(0)), Step::Wait(at(100)));
        assert_eq!(asks(&mut race, at(100)).upstream, 1);
        assert_eq!(race.next(at(100)), Step::Wait(at(200)));
    }

    #[test]
    fn goes_round_waiting_longer_and_ends_at_the_deadline() {
        let (mut race, at) = race(1);
        let mut sent = Vec::new();
        let mut now = at(0);
        loop {
            match race.next(now) {
                Step::Ask(_) => sent.push(now.duration_since(at(0)).as_millis()),
                Step::Wait(until) => now = until,
                Step::Over => break,
            }
        }
        assert_eq!(sent, [0, 100, 300]);
        assert_eq!(now, at(4000));
    }

    #[test]
    fn a_failure_that_is_told_costs_no_wait() {
        let (mut race, at) = race(2);
        let first = asks(&mut race, at(0));
        race.heard(first, Heard::Nothing, at(1));
        let second = asks(&mut race, at(1));
        assert_eq!(second.upstream, 1);
        race.heard(second, Heard::Nothing, at(2));
        assert_eq!(race.next(at(2)), Step::Wait(at(101)), "a second round");
        assert_eq!(asks(&mut race, at(102)).upstream, 0);
    }

    #[test]
    fn is_over_when_all_are_unwilling_and_nobody_is_asked_twice() {
        let (mut race, at) = race(2);
        for upstream in [0, 1] {
            let ask = asks(&mut race, at(5));
            assert_eq!(ask.upstream, upstream);
            race.heard(ask, Heard::Unwilling, at(5));
        }
        assert_eq!(race.next(at(5)), Step::Over);
    }

    #[test]
    fn truncated_goes_on_by_tcp_with_the_same_upstream() {
        let (mut race, at) = race(2);
        let ask = asks(&mut race, at(0));
        race.heard(ask, Heard::Truncated, at(1));
        let expected = Ask {
            via: Via::Tcp,
            ..ask
        };
        assert_eq!(race.next(at(1)), Step::Ask(expected));
        race.heard(expected, Heard::Truncated, at(2));
        assert_eq!(
            asks(&mut race, at(2)).upstream,
            1,
            "by TCP that makes no sense"
        );
    }

    #[test]
    fn who_does_not_know_edns_is_asked_without_from_then_on() {
        let (mut race, at) = race(1);
        let ask = asks(&mut race, at(0));
        race.heard(ask, Heard::NoEdns, at(1));
        let again = asks(&mut race, at(1));
        assert_eq!(again, Ask { edns: false, ..ask });
        race.heard(again, Heard::Nothing, at(1));
        assert!(!asks(&mut race, at(101)).edns);
        race.heard(again, Heard::NoEdns, at(102));
        assert_eq!(
            race.next(at(102)),
            Step::Over,
            "FORMERR whatever it is asked"
        );
    }

    #[test]
    fn a_folded_name_is_asked_by_tcp_and_then_in_lower_case() {
        let (mut race, at) = race(1);
        let ask = asks(&mut race, at(0));
        race.heard(ask, Heard::Folded, at(1));
        let doubted = asks(&mut race, at(1));
        assert_eq!((doubted.via, doubted.mixed_case), (Via::Tcp, true));
        race.heard(doubted, Heard::Nothing, at(2));
        let plain = asks(&mut race, at(2));
        assert_eq!((plain.via, plain.mixed_case), (Via::Udp, false));
        race.heard(plain, Heard::Nothing, at(3));
        assert!(!asks(&mut race, at(103)).mixed_case);
    }

    #[test]
    fn is_over_at_once_when_there_is_nobody() {
        let (mut race, at) = race(0);
        assert_eq!(race.next(at(0)), Step::Over);
    }
}
