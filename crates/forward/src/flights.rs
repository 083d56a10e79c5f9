//! Questions that are under way, so that an equal one waits for the same answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::query::{Key, Reply};

/// How a question that was under way ended.
#[derive(Clone, Debug)]
pub struct Landed {
    /// What is given.
    pub reply: Reply,
    /// It is no answer: an expired one is better.
    pub failed: bool,
}

/// The end of a question that is under way.
pub type Arrival = watch::Receiver<Option<Landed>>;

/// Questions that are under way.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Box<[u8]>, Arrival>>);

/// What came of asking for a flight.
pub enum Boarding {
    /// An equal question is under way.
    Joined(Arrival),
    /// This one is to be asked; [`Flights::land`] ends it.
    Started(Arrival, watch::Sender<Option<Landed>>),
    /// It cannot be asked now.
    Refused,
}

impl Flights {
    /// Joins an equal question, or starts one, if `may_start` gives leave.
    pub fn board<P>(
        &self,
        key: &Key,
        may_start: impl FnOnce() -> Option<P>,
    ) -> (Boarding, Option<P>) {
        let mut flights = self.lock();
        // One whose task was lost is none.
        let alive = |arrival: &&Arrival| arrival.has_changed().is_ok();
        if let Some(arrival) = flights.get(key.as_bytes()).filter(alive) {
            return (Boarding::Joined(arrival.clone()), None);
        }
        let Some(permit) = may_start() else {
            return (Boarding::Refused, None);
        };
        let (sender, arrival) = watch::channel(None);
        flights.insert(key.as_bytes().into(), arrival.clone());
        (Boarding::Started(arrival, sender), Some(permit))
    }

    /// Tells all who wait how it ended; the next equal question is asked anew.
    pub fn land(&self, key: &Key, sender: &watch::Sender<Option<Landed>>, landed: Landed) {
        self.lock().remove(key.as_bytes());
        sender.send_replace(Some(landed));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
