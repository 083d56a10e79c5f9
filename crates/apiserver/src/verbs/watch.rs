//! Watch: a stream of changes, a line of JSON for each.
//!
//! The line of a change is made once in each form and shared by all watchers that ask for it, also
//! as a row of a table, whose age is that of the moment when it is first told. The first objects of
//! a watch are encoded as the client takes them. What a watcher is told depends on its selectors:
//! an object that begins to match is ADDED to it, one that no longer does is DELETED, as it was
//! when it still did and at the revision of the change.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use sealane_store::{Attributes, Change, ChangeKind, Entry, Watch, WatchError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::list::selected;
use crate::{
    answer::{self, Body},
    object,
    request::{Form, Include, ListOptions},
    server::Context,
    status::ApiError,
    table,
};

/// How often a quiet watch tells how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say; clients start a new one where it ended.
const LASTS: Duration = Duration::from_secs(3600);

/// What is told of a change. The numbers tell shared encodings apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Added = 0,
    Modified = 1,
    Deleted = 2,
}

impl Told {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Starts a watch.
///
/// # Errors
///
/// None but those of the stream itself: a watch that cannot start says so in its first line, as
/// that of kube-apiserver does; clients rely on it.
pub fn watch(context: Context, options: ListOptions) -> Result<Response<Body>, ApiError> {
    let store = &context.server.store;
    let initial = match (options.send_initial_events, options.resource_version) {
        (Some(wanted), _) => wanted,
        (None, version) => version.is_none(),
    };
    let mut waiting = VecDeque::new();
    let namespace = context.namespace().map(str::to_owned);
    let since = if initial {
        let listing = store.list(&context.bucket(), namespace.as_deref(), |entry| {
            selected(&options, entry)
        });
        waiting.extend(listing.entries.into_iter().map(Waiting::Object));
        if options.send_initial_events == Some(true) && options.bookmarks {
            waiting.push_back(Waiting::Line(bookmark(&context, listing.revision, true)));
        }
        listing.revision
    } else {
        options.resource_version.unwrap_or_else(|| store.revision())
    };
    let (changes, end) = match store.watch(&context.bucket(), since) {
        Ok(changes) => (Some(changes), None),
        Err(cause) => (None, Some(error_line(&watch_error(cause)))),
    };
    waiting.extend(end.map(Waiting::Line));
    let lasts = options.timeout_seconds.map_or(LASTS, Duration::from_secs);
    let now = Instant::now();
    let stream = Stream {
        context,
        options,
        namespace,
        waiting,
        changes,
        told_columns: false,
        bookmark_at: now + BOOKMARK_EVERY,
        ends_at: now + lasts,
    };
    let frames = stream::unfold(stream, |mut stream| async move {
        let line = stream.next().await?;
        Some((Ok(Frame::data(line)), stream))
    });
    let body = StreamBody::new(frames).boxed_unsync();
    Ok(answer::respond(StatusCode::OK, "application/json", body))
}

/// What is to be sent: an object that was there at the start, or a line that is made.
enum Waiting {
    Object(Arc<Entry>),
    Line(Bytes),
}

struct Stream {
    context: Context,
    options: ListOptions,
    namespace: Option<String>,
    /// To be sent before anything else.
    waiting: VecDeque<Waiting>,
    /// `None` once the watch has ended.
    changes: Option<Watch>,
    told_columns: bool,
    bookmark_at: Instant,
    ends_at: Instant,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.waiting.pop_front() {
                Some(Waiting::Line(line)) => return Some(line),
                Some(Waiting::Object(entry)) => {
                    let columns = self.tells_columns();
                    return Some(line(&self.context, Told::Added, &entry, columns));
                }
                None => {}
            }
            let changes = self.changes.as_mut()?;
            let change = tokio::select! {
                biased;
                change = changes.next() => Some(change),
                () = self.context.kind.ended() => return None,
                () = sleep_until(self.bookmark_at), if self.options.bookmarks => None,
                () = sleep_until(self.ends_at) => return None,
                () = self.context.server.shutdown.cancelled() => return None,
            };
            match change {
                Some(Ok(change)) => {
                    if let Some(told) = self.told(&change) {
                        return Some(self.line(told, &change));
                    }
                }
                Some(Err(WatchError::Closed)) => return None,
                Some(Err(cause)) => {
                    self.changes = None;
                    return Some(error_line(&watch_error(cause)));
                }
                None => {
                    let progress = changes.progress();
                    self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    if let Some(revision) = progress {
                        return Some(bookmark(&self.context, revision, false));
                    }
                }
            }
        }
    }

    /// What this watcher is told of a change, if anything.
    fn told(&self, change: &Change) -> Option<Told> {
        let key = &change.entry.key;
        if self
            .namespace
            .as_deref()
            .is_some_and(|namespace| namespace != key.namespace())
        {
            return None;
        }
        let matches = |attributes: &Attributes| {
            self.options.labels.matches(attributes)
                && self
                    .options
                    .fields
                    .matches(key.namespace(), key.name(), attributes)
        };
        let before = change
            .previous
            .as_ref()
            .is_some_and(|it| matches(&it.attributes));
        let after = change.kind != ChangeKind::Deleted && matches(&change.entry.attributes);
        match (before, after) {
            (false, true) => Some(Told::Added),
            (true, true) => Some(Told::Modified),
            (true, false) => Some(Told::Deleted),
            (false, false) => None,
        }
    }

    fn line(&mut self, told: Told, change: &Change) -> Bytes {
        let columns = self.tells_columns();
        let context = &self.context;
        // A change that is no deletion is told as one only to those whose selection it left.
        change.encoding(form(context, told, columns), |_| {
            context.server.requests.encoded();
            line(context, told, &told_entry(told, change), columns)
        })
    }

    /// Whether the next line describes the columns: the first of a table does.
    fn tells_columns(&mut self) -> bool {
        let is_table = matches!(self.context.accept.form, Form::Table(_));
        is_table && !std::mem::replace(&mut self.told_columns, true)
    }
}

/// Tells the form of a line from all others: the kind (one stored object may be seen as several),
/// what is asked for, and what is told.
fn form(context: &Context, told: Told, columns: bool) -> sealane_store::Form {
    let shape = match context.accept.form {
        Form::Object | Form::Discovery(_) => 0,
        Form::Metadata => 1,
        Form::Table(Include::None) => 2,
        Form::Table(Include::Metadata) => 3,
        Form::Table(Include::Object) => 4,
    };
    let kind = std::ptr::from_ref(&*context.kind).addr();
    (kind, shape * 8 + told as u8 * 2 + u8::from(columns))
}

/// The object that is told of: what it is now, or, to those whose selection it left, what it was.
fn told_entry(told: Told, change: &Change) -> Arc<Entry> {
    let left = told == Told::Deleted && change.kind != ChangeKind::Deleted;
    let previous = change.previous.as_ref().filter(|_| left);
    let Some((before, object)) = previous.and_then(|it| Some((it, it.object.as_ref()?))) else {
        return change.entry.clone();
    };
    let Ok(value) = serde_json::from_slice(&object.unpack()) else {
        return change.entry.clone();
    };
    let (key, revision) = (change.entry.key.clone(), change.entry.revision);
    Arc::new(Entry {
        key,
        revision,
        attributes: before.attributes.clone(),
        object: object::template(&value).fill(revision)[..].into(),
    })
}

fn plain_line(told: Told, object: &Bytes) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(told.word().as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

fn line(context: &Context, told: Told, entry: &Entry, columns: bool) -> Bytes {
    if context.accept.form == Form::Object
        && let Some(shared) = context.kind.shared(entry)
    {
        return plain_line(told, &shared);
    }
    let object = match context.kind.read(entry) {
        Ok(object) => object,
        Err(cause) => return error_line(&ApiError::internal(cause)),
    };
    let object = match context.accept.form {
        Form::Table(include) => {
            let meta = json!({ "resourceVersion": entry.revision.to_string() });
            table::table(
                &context.kind,
                include,
                meta,
                &[object],
                Timestamp::now(),
                columns,
            )
        }
        _ => answer::shape(&context.kind, context.accept, object),
    };
    event(told.word(), &object)
}

fn event(word: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({ "type": word, "object": object })).into()
}

fn bookmark(context: &Context, revision: u64, initial_end: bool) -> Bytes {
    let mut metadata =
        json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
    if initial_end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let (kind, version) = match context.accept.form {
        Form::Table(_) => ("Table".into(), "meta.k8s.io/v1".into()),
        Form::Metadata => ("PartialObjectMetadata".into(), "meta.k8s.io/v1".into()),
        _ => (context.kind.kind.to_owned(), context.kind.api_version()),
    };
    let mut object = json!({ "kind": kind, "apiVersion": version, "metadata": metadata });
    if let Form::Table(_) = context.accept.form {
        object["rows"] = json!([]);
    }
    event("BOOKMARK", &object)
}

fn error_line(error: &ApiError) -> Bytes {
    event("ERROR", &error.status())
}

fn watch_error(cause: WatchError) -> ApiError {
    match cause {
        cause @ WatchError::Compacted { .. } => ApiError::expired(cause.to_string()),
        WatchError::Closed => ApiError::unavailable("the server is shutting down"),
        cause @ WatchError::Disk { .. } => ApiError::internal(cause),
    }
}
