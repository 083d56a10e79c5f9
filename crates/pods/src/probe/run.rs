//! Edge: the task of one probe of one attempt of a container.
//!
//! It sleeps until a question is due, asks it, and tells the pod's worker only when the verdict
//! changes: a pod that is well costs its worker nothing. Dropping its handle ends it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::ask::{Bad, Question, Target};
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
    /// Tells people of a failure.
    pub tell: T,
}

/// A probe under way; dropping it ends it.
pub struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Fn(String) + Send + Sync + 'static> Probing<T> {
    /// Begins.
    pub fn start(self) -> Running {
        Running(tokio::spawn(self.run()).abort_handle())
    }

    async fn run(mut self) {
        let mut due = self.prober.first(Timestamp::now());
        loop {
            sleep_until(due).await;
            let asked = Timestamp::now();
            let answer = match &self.question {
                Ok(question) => question.ask(&self.target, self.timeout).await,
                Err(why) => Err(why.clone()),
            };
            let follows = self.prober.take(answer.is_ok(), asked);
            if let (true, Err(Bad(why))) = (follows.tell, &answer) {
                (self.tell)(format!("{} probe failed: {why}", self.purpose.title()));
            }
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
}

async fn sleep_until(due: Timestamp) {
    let pause = due.duration_since(Timestamp::now());
    if let Ok(pause) = Duration::try_from(pause) {
        tokio::time::sleep(pause).await;
    }
}
