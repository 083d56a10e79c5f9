//! Edge: the task of one probe of one attempt of a container.
//!
//! It sleeps until a question is due, asks it, and tells the pod's worker only when the verdict
//! changes: a pod that is well costs its worker nothing. Dropping its handle ends it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::ask::{Answer, Bad, Question, Target};
use super::{Prober, Purpose};

/// A verdict that is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Of which container.
    pub container: String,
    /// Of which attempt.
    pub attempt: u32,
    /// Of which probe.
    pub purpose: Purpose,
    /// What it is.
    pub good: bool,
}

/// One probe, and whom it tells.
pub struct Probing<T> {
    /// When it asks, and what follows.
    pub prober: Prober,
    /// What it asks.
    pub question: Result<Question, Bad>,
    /// Whom it asks.
    pub target: Target,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Which attempt it is.
    pub attempt: u32,
    /// Which probe it is.
    pub purpose: Purpose,
    /// Where verdicts go.
    pub verdicts: mpsc::UnboundedSender<Verdict>,
    /// The part of a period that passes before the first question, after a restart of this process.
    pub share: Option<f64>,
    /// Tells people, for a reason, in a sentence.
    pub tell: T,
}

/// A probe under way; dropping it ends it.
pub struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Fn(&'static str, String) + Send + Sync + 'static> Probing<T> {
    /// Begins.
    pub fn start(self) -> Running {
        Running(tokio::spawn(self.run()).abort_handle())
    }

    async fn run(mut self) {
        let mut due = self.prober.first(Timestamp::now(), self.share);
        loop {
            sleep_until(due).await;
            let asked = Timestamp::now();
            // In a box: of hundreds of probes few ask at the same time, and the rest is small.
            let answer = match &self.question {
                Ok(question) => Box::pin(question.ask(&self.target, self.timeout)).await,
                Err(Bad(why)) => Ok(Answer::Missing(why.clone())),
            };
            let given = match &answer {
                Ok(Answer::Missing(_)) => None,
                answer => Some(answer.is_ok()),
            };
            let follows = self.prober.take(given, asked);
            self.tell_of(&answer, follows.tell);
            if let Some(good) = follows.verdict {
                let verdict = Verdict {
                    container: self.target.container.clone(),
                    attempt: self.attempt,
                    purpose: self.purpose,
                    good,
                };
                if self.verdicts.send(verdict).is_err() {
                    return;
                }
            }
            due = self.prober.next(asked).max(Timestamp::now());
        }
    }

    /// Tells people what they should know, in the kubelet's words.
    fn tell_of(&self, answer: &Result<Answer, Bad>, failure: bool) {
        let title = self.purpose.title();
        match answer {
            Ok(Answer::Odd(why)) => {
                (self.tell)("ProbeWarning", format!("{title} probe warning: {why}"));
            }
            Ok(Answer::Missing(why)) if failure => {
                let state = "probe errored and resulted in unknown state";
                (self.tell)("Unhealthy", format!("{title} {state}: {why}"));
            }
            Err(Bad(why)) if failure => {
                (self.tell)("Unhealthy", format!("{title} probe failed: {why}"));
            }
            _ => {}
        }
    }
}

async fn sleep_until(due: Timestamp) {
    let pause = due.duration_since(Timestamp::now());
    if let Ok(pause) = Duration::try_from(pause) {
        tokio::time::sleep(pause).await;
    }
}
