//! Everything that happens to the objects of a collection, in the order in which the API made it so.
//!
//! A watch shows each version of each object once. Versions count for all kinds together, so two
//! histories merge into one: what was true of the pods when an EndpointSlice was written can be told
//! afterwards, however late the watches were.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use http::Request;
use kube::core::WatchEvent;
use sealane_kube::Client;
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::deadline::{SOON, eventually};

/// Pause before a server that ended the watch is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was there at the beginning, or was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One version of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// What happened.
    pub deed: Deed,
    /// The object as it is since then, or as it was before it went.
    pub object: Value,
    /// When this program was told.
    pub seen: Instant,
}

/// The changes of a collection since this was made, until it is dropped.
#[derive(Debug)]
pub struct History {
    path: String,
    shared: Arc<Mutex<Shared>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    changes: Vec<Change>,
    /// What is there was read, and the watch is asked for from that version on.
    begun: bool,
    failure: Option<String>,
}

impl History {
    /// Reads what is there and follows it. Returns when nothing can be missed any more.
    #[track_caller]
    pub(crate) fn follow(runtime: &tokio::runtime::Handle, client: Client, path: &str) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let follower = Follower {
            client,
            path: path.to_owned(),
            shared: Arc::clone(&shared),
        };
        let history = Self {
            path: path.to_owned(),
            shared,
            task: runtime.spawn(follower.run()).abort_handle(),
        };
        eventually(SOON, &format!("{path} is read"), || history.shared().begun);
        history
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &shared.failure {
            panic!("the history of {} has a hole: {failure}", self.path);
        }
        shared
    }

    /// Looks at the changes from the given place on, without copying them.
    ///
    /// # Panics
    /// When the server has ended the watch for good.
    #[track_caller]
    pub fn read<T>(&self, from: usize, look: impl FnOnce(&[Change]) -> T) -> T {
        let shared = self.shared();
        look(shared.changes.get(from..).unwrap_or_default())
    }

    /// All changes so far, oldest first.
    ///
    /// # Panics
    /// When the server has ended the watch for good.
    #[track_caller]
    pub fn changes(&self) -> Vec<Change> {
        self.read(0, <[Change]>::to_vec)
    }

    /// Waits until the history has come to a version, that of an object that was read or written.
    #[track_caller]
    pub fn reach(&self, version: u64) {
        eventually(SOON, &format!("{} at {version} is seen", self.path), || {
            self.read(0, |changes| {
                changes
                    .last()
                    .is_some_and(|change| change.version >= version)
            })
        });
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    client: Client,
    path: String,
    shared: Arc<Mutex<Shared>>,
}

impl Follower {
    async fn run(self) {
        let failure = self.follow().await;
        self.shared().failure = Some(failure);
    }

    /// Follows until the server does not know any more what happened; returns what it says.
    async fn follow(&self) -> String {
        let mut version = match self.list().await {
            Ok(version) => version,
            Err(error) => return error,
        };
        loop {
            match self.watch(&mut version).await {
                Ok(()) => tokio::time::sleep(PAUSE).await,
                Err(failure) => return failure,
            }
        }
    }

    async fn list(&self) -> Result<u64, String> {
        let request = Request::get(&self.path).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let list: Value = self
            .client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let mut shared = self.shared();
        for item in list["items"].as_array().into_iter().flatten() {
            shared.changes.push(change(Deed::Added, item.clone()));
        }
        shared.changes.sort_by_key(|change| change.version);
        shared.begun = true;
        Ok(version_of(&list))
    }

    /// Follows one watch to its end; a server that is away has said nothing.
    ///
    /// # Errors
    /// What the server says when it cannot go on from that version.
    async fn watch(&self, version: &mut u64) -> Result<(), String> {
        let query = format!("{}?watch=true&resourceVersion={version}", self.path);
        let request = Request::get(query).body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let Ok(events) = self.client.request_events::<Value>(request).await else {
            return Ok(());
        };
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let (deed, object) = match event {
                WatchEvent::Added(object) => (Deed::Added, object),
                WatchEvent::Modified(object) => (Deed::Modified, object),
                WatchEvent::Deleted(object) => (Deed::Deleted, object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => return Err(format!("{status:?}")),
            };
            *version = version_of(&object);
            self.shared().changes.push(change(deed, object));
        }
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(deed: Deed, object: Value) -> Change {
    Change {
        version: version_of(&object),
        deed,
        object,
        seen: Instant::now(),
    }
}

/// `metadata.resourceVersion` of an object or a list.
pub fn version_of(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
