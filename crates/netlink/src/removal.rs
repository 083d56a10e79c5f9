//! Deleting links, one or a hundred at once, and answering as soon as they are gone.
//!
//! ```text
//! delete ─► queue ─► thread: find, RTM_DELLINK ──── 0.3 ms ───► gone ──── 20 ms ───► returns
//!                                                                └─► RTM_DELLINK to all ─► answer
//! ```
//!
//! The kernel takes a link away in two parts. Under its lock it sets it down,
//! takes its addresses, routes and name, and tells everybody; from then on
//! nothing can use it, and its name and addresses are free. Then, without the
//! lock, it waits until nobody can still look at its memory (a grace period of
//! RCU), and only then `sendmsg` returns. We answer after the first part, by
//! the news of it; should they be lost, after the second.
//!
//! Links that wait while the threads are busy go together, as a group of
//! links, in one request: the kernel then waits once for all of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use nix::sched::{CloneFlags, setns};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::{AsyncSocketExt, TokioSocket};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::direct::{Batch, Direct};
use crate::error::Result;
use crate::link::{self, LinkChange, LinkRef};
use crate::multicast;
use crate::netlink::{Failure, Place};

/// How many threads wait in the kernel at the most; what comes meanwhile goes together.
const THREADS: usize = 4;
/// How long a thread stays for the next link.
const REST: Duration = Duration::from_secs(1);

/// Deletes the links of one namespace. Dropping it ends its threads when their work is done.
pub(crate) struct Removals {
    shared: Arc<Shared>,
    /// The task that hears of links that are gone, started with the first removal.
    listener: Mutex<Option<AbortHandle>>,
}

struct Shared {
    place: Arc<Place>,
    /// The group that links are put into to be deleted together; a number that nobody else uses.
    group: u32,
    state: Mutex<State>,
    arrived: Condvar,
    /// Who waits for the link with this index to be gone.
    leaving: Mutex<HashMap<u32, Vec<Done>>>,
}

#[derive(Default)]
struct State {
    queue: Vec<Removal>,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Removal {
    link: Named,
    done: Done,
}

enum Named {
    Name(String),
    Index(u32),
}

/// Whether the link was there.
type Outcome = Result<bool, Failure>;
type Done = oneshot::Sender<Outcome>;

impl Removals {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        // 0 is the group of all links that nobody has put into another.
        const NEVER_ZERO: u32 = 1 << 30;
        Self {
            shared: Arc::new(Shared {
                place,
                group: RandomState::new().hash_one(()) as u32 | NEVER_ZERO,
                state: Mutex::default(),
                arrived: Condvar::new(),
                leaving: Mutex::default(),
            }),
            listener: Mutex::default(),
        }
    }

    /// Deletes a link: whether it was there.
    pub(crate) async fn delete(&self, link: LinkRef<'_>) -> Outcome {
        self.listen();
        let (done, outcome) = oneshot::channel();
        let link = match link {
            LinkRef::Name(name) => Named::Name(name.to_owned()),
            LinkRef::Index(index) => Named::Index(index),
        };
        let taken = self.shared.take(Removal { link, done });
        taken.map_err(|error| Failure::of_io(&error))?;
        outcome.await.unwrap_or(Err(Failure::Closed))
    }

    /// Without news, answers come when the kernel is done altogether.
    fn listen(&self) {
        let mut listener = locked(&self.listener);
        if listener.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        match multicast::listen_for(
            &self.shared.place,
            &[MulticastGroup::Link],
            &[link::RTM_DELLINK],
        ) {
            Ok(socket) => {
                let task = tokio::spawn(hear(socket, Arc::clone(&self.shared)));
                *listener = Some(task.abort_handle());
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

impl Drop for Removals {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.listener).take() {
            task.abort();
        }
        locked(&self.shared.state).closed = true;
        self.shared.arrived.notify_all();
    }
}

/// Answers whoever waits for a link that is gone, until the socket fails.
async fn hear(socket: TokioSocket, shared: Arc<Shared>) {
    let mut datagram = Vec::with_capacity(multicast::DATAGRAM);
    loop {
        datagram.clear();
        match socket.recv(&mut datagram).await {
            Ok(()) => {
                for index in multicast::messages(&datagram).filter_map(link::gone) {
                    shared.answer(index, &Ok(true));
                }
            }
            // News were lost: the threads answer.
            Err(error) if multicast::is_overrun(&error) => {}
            Err(error) => return tracing::debug!("listen for links that are gone: {error}"),
        }
    }
}

impl Shared {
    /// Queues a removal, for a thread that rests or a new one.
    fn take(self: &Arc<Self>, removal: Removal) -> io::Result<()> {
        let mut state = locked(&self.state);
        state.queue.push(removal);
        if state.idle > 0 || state.threads == THREADS {
            self.arrived.notify_one();
            return Ok(());
        }
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name("unlink".into());
        match thread.spawn(move || shared.work()) {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                state.queue.clear();
                return Err(error);
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn work(&self) {
        let mut socket = self.open();
        while let Some(removals) = self.next() {
            match &mut socket {
                Ok(socket) => self.delete(socket, removals),
                Err(failure) => {
                    for removal in removals {
                        let _ = removal.done.send(Err(failure.clone()));
                    }
                }
            }
        }
    }

    fn open(&self) -> Result<Direct, Failure> {
        if let Some(netns) = self.place.netns() {
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(|e| Failure::of_io(&e.into()))?;
        }
        Direct::open().map_err(|error| Failure::Unexpected(error.to_string()))
    }

    /// All that wait; `None` ends the thread.
    fn next(&self) -> Option<Vec<Removal>> {
        let mut state = locked(&self.state);
        state.idle += 1;
        let resting = |state: &mut State| state.queue.is_empty() && !state.closed;
        let rested = self.arrived.wait_timeout_while(state, REST, resting);
        state = rested.unwrap_or_else(PoisonError::into_inner).0;
        state.idle -= 1;
        if state.queue.is_empty() {
            state.threads -= 1;
            return None;
        }
        Some(std::mem::take(&mut state.queue))
    }

    fn delete(&self, socket: &mut Direct, removals: Vec<Removal>) {
        let indexes = self.note(socket, removals);
        let outcomes = match &indexes[..] {
            [] => vec![],
            [index] => vec![delete_one(socket, *index)],
            many => self.delete_group(socket, many),
        };
        for (index, outcome) in indexes.into_iter().zip(outcomes) {
            self.answer(index, &outcome);
        }
    }

    /// The indexes of the links, for which whoever asked waits from now on.
    fn note(&self, socket: &Direct, removals: Vec<Removal>) -> Vec<u32> {
        let mut indexes = Vec::new();
        for Removal { link, done } in removals {
            let index = match link {
                Named::Index(index) => Ok(index),
                Named::Name(name) => socket.find(&name),
            };
            match index {
                Ok(index) => {
                    locked(&self.leaving).entry(index).or_default().push(done);
                    indexes.push(index);
                }
                Err(failure) => drop(done.send(failure.unless_absent())),
            }
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    /// All in one request; one by one where the kernel does not want that.
    fn delete_group(&self, socket: &mut Direct, indexes: &[u32]) -> Vec<Outcome> {
        let change = LinkChange {
            group: Some(self.group),
            ..LinkChange::default()
        };
        let mut batch = Batch::new();
        for index in indexes {
            batch.set_link(*index, change);
        }
        batch.delete_group(self.group);
        match socket.outcomes(batch) {
            Ok(outcomes) if outcomes.last().is_some_and(Result::is_ok) => {
                let put = outcomes.into_iter().take(indexes.len());
                put.map(was_there).collect()
            }
            _ => {
                let each = indexes.iter();
                each.map(|index| delete_one(socket, *index)).collect()
            }
        }
    }

    fn answer(&self, index: u32, outcome: &Outcome) {
        let waiting = locked(&self.leaving).remove(&index);
        for done in waiting.into_iter().flatten() {
            // Nobody may be waiting any more.
            let _ = done.send(outcome.clone());
        }
    }
}

fn delete_one(socket: &mut Direct, index: u32) -> Outcome {
    let mut batch = Batch::new();
    batch.delete_link(index);
    let mut outcomes = socket.outcomes(batch)?;
    was_there(outcomes.pop().unwrap_or(Err(Failure::Closed)))
}

fn was_there<T>(outcome: Result<T, Failure>) -> Outcome {
    outcome.map_or_else(Failure::unless_absent, |_| Ok(true))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it holds is changed in single steps, so a panic leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
