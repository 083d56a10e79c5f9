//! Which worker answers, which one comes and which ones go. Pure.
//!
//! ```text
//!            start             ready                   drained
//!  (nobody) ───────► coming ───────────► serving ─────────────────► leaving ──► gone
//!      ▲                │                    │   another is ready      │
//!      └── pause ───────┴──── ended ─────────┘                         └ too slow: killed
//! ```
//!
//! One that serves goes on until the next one is ready, so a restart that fails
//! changes nothing.

use std::time::{Duration, Instant};

/// Who has lived for so long and ends is replaced at once.
const LIVED: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one that leaves may take to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process id.
pub type Pid = i32;

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It answers from now on.
    Ready(Pid),
    /// It is no more.
    Ended(Pid),
    /// It could not even be started.
    NotStarted,
    /// Somebody wants a new one.
    Restart,
    /// All shall go.
    End,
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Start a worker, and tell by [`Crew::started`] which.
    Start,
    /// It stops reading, and ends when it has finished.
    Drain(Pid),
    /// It does not end by itself.
    Kill(Pid),
    /// There is somebody who answers.
    Established,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    pid: Pid,
    since: Instant,
}

/// The workers of a keeper.
#[derive(Debug)]
pub struct Crew {
    serving: Option<Worker>,
    coming: Option<Worker>,
    leaving: Vec<Worker>,
    start_at: Option<Instant>,
    pause: Duration,
    /// A new one was asked for while one was coming, which may have read what has changed since.
    again: bool,
    ending: bool,
}

impl Crew {
    /// Nobody yet; the first is due at once.
    pub fn new(now: Instant) -> Self {
        Self {
            serving: None,
            coming: None,
            leaving: Vec::new(),
            start_at: Some(now),
            pause: Duration::ZERO,
            again: false,
            ending: false,
        }
    }

    /// [`Act::Start`] has been done.
    pub fn started(&mut self, pid: Pid, now: Instant) {
        self.coming = Some(Worker { pid, since: now });
    }

    /// When time alone makes something due.
    pub fn due(&self) -> Option<Instant> {
        let late = self.leaving.iter().map(|worker| worker.since + PATIENCE);
        late.chain(self.start_at).min()
    }

    /// Whether all shall go, and have gone.
    pub fn is_gone(&self) -> bool {
        self.ending && self.leaving.is_empty()
    }

    /// Whether this is the one that answers, or the one that comes.
    pub fn has(&self, pid: Pid) -> bool {
        let mut here = self.serving.iter().chain(&self.coming);
        here.any(|worker| worker.pid == pid)
    }

    /// What to do after an event.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Act> {
        match event {
            Event::Ready(pid) => self.ready(pid, now),
            Event::Ended(pid) => self.ended(pid, now),
            Event::NotStarted => {
                self.again_later(Duration::ZERO, now);
                Vec::new()
            }
            Event::Restart if self.coming.is_none() && !self.ending => {
                self.start_at = Some(now);
                self.tick(now)
            }
            Event::Restart => {
                self.again = !self.ending;
                Vec::new()
            }
            Event::End => self.end(now),
            Event::Tick => self.tick(now),
        }
    }

    fn ready(&mut self, pid: Pid, now: Instant) -> Vec<Act> {
        let Some(worker) = self.coming.take_if(|worker| worker.pid == pid) else {
            return Vec::new();
        };
        let before = self.serving.replace(worker);
        let mut acts = vec![Act::Established];
        acts.extend(before.map(|worker| self.leave(worker, now)));
        if std::mem::take(&mut self.again) {
            self.start_at = Some(now);
            acts.extend(self.tick(now));
        }
        acts
    }

    fn ended(&mut self, pid: Pid, now: Instant) -> Vec<Act> {
        self.leaving.retain(|worker| worker.pid != pid);
        let is_it = |worker: &mut Worker| worker.pid == pid;
        let coming = self.coming.take_if(is_it);
        let serving = self.serving.take_if(is_it);
        let lost = coming.or(serving);
        if let Some(lost) = lost
            && self.serving.is_none()
            && self.coming.is_none()
        {
            self.again_later(now.duration_since(lost.since), now);
        }
        self.tick(now)
    }

    /// The longer in a row workers do not live, the longer the pause before the next.
    fn again_later(&mut self, lived: Duration, now: Instant) {
        if lived >= LIVED {
            self.pause = Duration::ZERO;
        }
        self.start_at = Some(now + self.pause).filter(|_| !self.ending);
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }

    fn end(&mut self, now: Instant) -> Vec<Act> {
        self.ending = true;
        self.start_at = None;
        let here = self.serving.take().into_iter().chain(self.coming.take());
        let here: Vec<Worker> = here.collect();
        here.into_iter()
            .map(|worker| self.leave(worker, now))
            .collect()
    }

    fn leave(&mut self, worker: Worker, now: Instant) -> Act {
        self.leaving.push(Worker {
            since: now,
            ..worker
        });
        Act::Drain(worker.pid)
    }

    fn tick(&mut self, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        for worker in &mut self.leaving {
            if now >= worker.since + PATIENCE {
                worker.since = now;
                acts.push(Act::Kill(worker.pid));
            }
        }
        if self.start_at.take_if(|at| *at <= now).is_some() {
            acts.push(Act::Start);
        }
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        crew: Crew,
        now: Instant,
    }

    impl Story {
        /// One that serves.
        fn begin() -> Self {
            let now = Instant::now();
            let mut story = Self {
                crew: Crew::new(now),
                now,
            };
            assert_eq!(story.hear(Event::Tick), [Act::Start]);
            story.crew.started(1, now);
            assert_eq!(story.hear(Event::Ready(1)), [Act::Established]);
            story
        }

        fn hear(&mut self, event: Event) -> Vec<Act> {
            self.crew.step(event, self.now)
        }

        fn after(&mut self, time: Duration, event: Event) -> Vec<Act> {
            self.now += time;
            self.hear(event)
        }
    }

    #[test]
    fn a_restart_lets_the_old_one_go_when_the_new_one_is_ready() {
        let mut story = Story::begin();
        assert_eq!(story.hear(Event::Restart), [Act::Start]);
        story.crew.started(2, story.now);
        assert_eq!(
            story.hear(Event::Ready(2)),
            [Act::Established, Act::Drain(1)]
        );
        assert!(!story.crew.has(1) && story.crew.has(2));
        assert_eq!(story.hear(Event::Ended(1)), []);
        assert_eq!(story.crew.due(), None);
    }

    #[test]
    fn a_restart_that_is_asked_for_while_one_comes_follows_it() {
        let mut story = Story::begin();
        story.hear(Event::Restart);
        story.crew.started(2, story.now);
        assert_eq!(story.hear(Event::Restart), []);
        let acts = [Act::Established, Act::Drain(1), Act::Start];
        assert_eq!(story.hear(Event::Ready(2)), acts);
        story.crew.started(3, story.now);
        let acts = [Act::Established, Act::Drain(2)];
        assert_eq!(story.hear(Event::Ready(3)), acts);
    }

    #[test]
    fn a_restart_that_fails_changes_nothing() {
        let mut story = Story::begin();
        story.hear(Event::Restart);
        story.crew.started(2, story.now);
        assert_eq!(story.hear(Event::Ended(2)), []);
        assert!(story.crew.has(1));
        assert_eq!(story.crew.due(), None, "nobody tries again unasked");
    }

    #[test]
    fn who_dies_is_replaced_at_once_and_who_dies_again_and_again_after_pauses() {
        let mut story = Story::begin();
        assert_eq!(story.after(LIVED, Event::Ended(1)), [Act::Start]);
        let mut pauses = Vec::new();
        for pid in 2..12 {
            story.crew.started(pid, story.now);
            assert_eq!(story.hear(Event::Ended(pid)), [], "{pid}");
            let due = story.crew.due().unwrap();
            pauses.push(due - story.now);
            story.now = due;
            assert_eq!(story.hear(Event::Tick), [Act::Start], "{pid}");
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn one_that_comes_stands_in_for_one_that_dies_meanwhile() {
        let mut story = Story::begin();
        story.hear(Event::Restart);
        story.crew.started(2, story.now);
        assert_eq!(story.hear(Event::Ended(1)), []);
        assert_eq!(story.hear(Event::Ready(2)), [Act::Established]);
    }

    #[test]
    fn at_the_end_all_are_waited_for_and_the_slow_are_killed() {
        let mut story = Story::begin();
        story.hear(Event::Restart);
        story.crew.started(2, story.now);
        assert_eq!(story.hear(Event::End), [Act::Drain(1), Act::Drain(2)]);
        assert_eq!(story.hear(Event::Restart), []);
        assert_eq!(story.hear(Event::Ended(1)), []);
        assert!(!story.crew.is_gone());
        assert_eq!(story.after(PATIENCE, Event::Tick), [Act::Kill(2)]);
        assert_eq!(story.hear(Event::Ended(2)), []);
        assert!(story.crew.is_gone());
        assert_eq!(story.crew.due(), None);
    }

    #[test]
    fn who_cannot_be_started_is_tried_again() {
        let mut story = Story::begin();
        story.after(LIVED, Event::Ended(1));
        assert_eq!(story.hear(Event::NotStarted), []);
        assert_eq!(story.after(FIRST_PAUSE, Event::Tick), [Act::Start]);
    }
}
