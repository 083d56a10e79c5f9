//! The task that decides which definitions are served.
//!
//! It looks at all definitions whenever one has changed, and after every write while one is going;
//! of those that did not change it knows what they said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::try_join_all;
use jiff::Timestamp;
use sealane_store::{Entry, Watch};
use serde_json::{Value, json};

use super::{
    Definition, collecting,
    definition::{Names, Written},
    empty, kinds_of,
    names::{self, Conflict, Taken},
    status,
};
use crate::{
    kinds::{CUSTOM_RESOURCE_DEFINITION, Kind},
    owners::Writing,
    server::Server,
    status::ApiError,
    verbs::{Part, replace},
};

/// Pause after a failure: a disk that is full stays so for a while.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the definitions in the store.
#[derive(Default)]
pub struct Keeper {
    known: BTreeMap<String, Known>,
}

/// A definition in the store.
pub struct Known {
    pub entry: Arc<Entry>,
    pub written: Written,
    /// Set while it is served.
    pub definition: Option<Arc<Definition>>,
}

impl Known {
    /// Whether it is served as it is written, and says so: it has all names that it wants, so
    /// those of others do not matter.
    fn is_settled(&self) -> bool {
        let (names, status) = (&self.written.spec.names, &self.written.status);
        let Some(definition) = &self.definition else {
            return false;
        };
        let verdict = Verdict {
            names: names.clone(),
            conflict: None,
            why_not: None,
        };
        let settled = status.accepted_names == *names
            && definition.is_of(&self.written, names)
            && verdict.is_told(&self.written)
            && self.written.metadata.deletion_timestamp.is_none();
        if settled {
            definition.renew(&self.entry);
        }
        settled
    }
}

/// What is to be said of a definition.
struct Verdict {
    names: Names,
    conflict: Option<Conflict>,
    why_not: Option<(&'static str, String)>,
}

impl Keeper {
    /// Serves what was established before the server was stopped.
    pub fn restore(server: &Server) -> Self {
        let mut keeper = Self::default();
        keeper.read(server);
        for Known {
            entry,
            written,
            definition,
        } in keeper.known.values_mut()
        {
            if written.is("Established") {
                let (names, since) = (&written.status.accepted_names, entry.revision);
                let made = Definition::new(written, names, entry.clone(), since);
                match made {
                    Ok(made) => *definition = Some(Arc::new(made)),
                    Err(cause) => tracing::warn!(
                        %cause,
                        definition = entry.key.name(),
                        "a definition that was served is not: its names do not fit in"
                    ),
                }
            }
        }
        let all: Vec<_> = keeper.definitions().cloned().collect();
        keeper.serve(server, &all);
        keeper
    }

    /// Runs until the server stops.
    pub async fn run(mut self, server: Arc<Server>) {
        loop {
            tokio::select! {
                () = server.shutdown.cancelled() => return,
                result = self.follow(&server) => if let Err(cause) = result {
                    tracing::warn!(
                        message = cause.message,
                        "look after custom resource definitions: starting over"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn follow(&mut self, server: &Server) -> Result<(), ApiError> {
        let mut revisions = server.store.revisions();
        let bucket = CUSTOM_RESOURCE_DEFINITION.bucket();
        let watch = server.store.watch(&bucket, server.store.revision());
        let mut changes = watch.map_err(ApiError::internal)?;
        loop {
            revisions.mark_unchanged();
            self.read(server);
            self.establish(server).await?;
            let going = self.empty(server).await?;
            tokio::select! {
                changed = next(&mut changes) => changed?,
                changed = revisions.changed(), if going => {
                    changed.map_err(|_| ApiError::unavailable("the store is closed"))?;
                }
            }
        }
    }

    /// Reads the definitions that have changed.
    fn read(&mut self, server: &Server) {
        let bucket = CUSTOM_RESOURCE_DEFINITION.bucket();
        let entries = server.store.list(&bucket, None, |_| true).entries;
        let mut before = std::mem::take(&mut self.known);
        for entry in entries {
            let name = entry.key.name().to_owned();
            let definition = match before.remove(&name) {
                Some(known) if known.entry.revision == entry.revision => {
                    self.known.insert(name, known);
                    continue;
                }
                known => known.and_then(|known| known.definition),
            };
            match Written::read(&entry) {
                Ok(written) => {
                    let known = Known {
                        entry,
                        written,
                        definition,
                    };
                    self.known.insert(name, known);
                }
                Err(cause) => {
                    tracing::error!(key = %entry.key, %cause, "read a custom resource definition");
                }
            }
        }
        let gone: Vec<_> = before
            .into_values()
            .filter_map(|known| known.definition)
            .collect();
        if !gone.is_empty() {
            self.serve(server, &[]);
            gone.iter().for_each(|gone| gone.end());
        }
    }

    fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        let known = self.known.values();
        known.filter_map(|known| known.definition.as_ref())
    }

    /// Puts the kinds of all definitions where requests look for them, and their objects where
    /// the selectors of those that are `fresh` find them.
    fn serve(&self, server: &Server, fresh: &[Arc<Definition>]) {
        server.kinds.set(self.definitions().flat_map(kinds_of));
        for definition in fresh {
            let kinds = kinds_of(definition);
            let described = kinds
                .iter()
                .filter(|kind| kind.is_stored() && !kind.fields.is_empty());
            described.for_each(|kind| server.store.describe_again(&kind.bucket()));
        }
    }

    /// Judges all definitions, serves those that can be, and tells them.
    async fn establish(&mut self, server: &Server) -> Result<(), ApiError> {
        let (mut fresh, mut ended, mut news) = (Vec::new(), Vec::new(), Vec::new());
        let unsettled = self.known.iter().filter(|(_, known)| !known.is_settled());
        let names: Vec<String> = unsettled.map(|(name, _)| name.clone()).collect();
        for name in names {
            let (verdict, definition) = self.judge(server, &name);
            let Some(known) = self.known.get_mut(&name) else {
                continue;
            };
            if !is_same(known.definition.as_ref(), definition.as_ref()) {
                fresh.extend(definition.clone());
                ended.extend(std::mem::replace(&mut known.definition, definition));
            }
            if !verdict.is_told(&known.written) {
                known
                    .written
                    .status
                    .accepted_names
                    .clone_from(&verdict.names);
                news.push((known.entry.clone(), verdict));
            }
        }
        if !fresh.is_empty() || !ended.is_empty() {
            self.serve(server, &fresh);
            ended.iter().for_each(|ended| ended.end());
        }
        let told = news
            .iter()
            .map(|(entry, verdict)| verdict.tell(server, entry));
        try_join_all(told).await?;
        // What collects them begins a while after they are established.
        collecting::allow(server, self.definitions().map(Arc::as_ref)).await
    }

    /// Judges one definition; with it comes what is to be served of it.
    fn judge(&self, server: &Server, name: &str) -> (Verdict, Option<Arc<Definition>>) {
        let Known {
            entry,
            written,
            definition: was,
        } = &self.known[name];
        let taken = self.taken(name, &written.spec.group);
        let (names, conflict) =
            names::accept(&written.spec.names, &written.status.accepted_names, &taken);
        let stays = |was: &&Arc<Definition>| was.is_of(written, &names);
        let (definition, why_not) = if conflict.is_some() && !written.is("Established") {
            let why = "not all names are accepted".to_owned();
            (None, Some(("NotAccepted", why)))
        } else if let Some(was) = was.as_ref().filter(stays) {
            was.renew(entry);
            (Some(was.clone()), None)
        } else {
            let since = server.store.revision();
            match Definition::new(written, &names, entry.clone(), since) {
                Ok(made) => (Some(Arc::new(made)), None),
                Err(full) => (None, Some(("TooManyNames", full.to_string()))),
            }
        };
        if let Some(definition) = &definition
            && written.metadata.deletion_timestamp.is_some()
        {
            definition.terminate();
        }
        let verdict = Verdict {
            names,
            conflict,
            why_not,
        };
        (verdict, definition)
    }

    /// The names that others in the group have.
    fn taken(&self, but: &str, group: &str) -> Taken {
        let mut taken = Taken::by_rows(group);
        let others = self.known.iter().filter(|(name, _)| *name != but);
        others
            .map(|(_, known)| &known.written)
            .filter(|written| written.spec.group == group)
            .for_each(|written| taken.add(&written.status.accepted_names));
        taken
    }

    /// Empties the definitions that are going; whether one is still there.
    async fn empty(&self, server: &Server) -> Result<bool, ApiError> {
        let mut going = false;
        for known in self
            .known
            .values()
            .filter(|known| known.written.waits_for_objects())
        {
            going |= !empty::empty(server, known).await?;
        }
        Ok(going)
    }
}

fn is_same(one: Option<&Arc<Definition>>, other: Option<&Arc<Definition>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

async fn next(watch: &mut Watch) -> Result<(), ApiError> {
    watch.next().await.map(drop).map_err(ApiError::internal)
}

impl Verdict {
    /// Whether the definition says all of it.
    fn is_told(&self, written: &Written) -> bool {
        let said = self.why_not.as_ref().map(|(reason, _)| *reason);
        let reason = said.unwrap_or(status::ESTABLISHED.0);
        let conflict = self.conflict.as_ref();
        written.status.accepted_names == self.names
            && written.says("Established", self.why_not.is_none(), reason, None)
            && match conflict {
                None => written.says("NamesAccepted", true, status::NO_CONFLICTS.0, None),
                Some(Conflict { reason, message }) => {
                    written.says("NamesAccepted", false, reason, Some(message))
                }
            }
    }

    /// Writes it.
    async fn tell(&self, server: &Server, entry: &Entry) -> Result<(), ApiError> {
        let now = Timestamp::now();
        let written = change(server, entry, Part::Status, |object| {
            let why_not = self.why_not.as_ref();
            let why_not = why_not.map(|(reason, message)| (*reason, message.as_str()));
            let status = &mut object["status"];
            status["acceptedNames"] = json!(self.names);
            status::set_names_accepted(status, self.conflict.as_ref(), now);
            status::set_established(status, why_not, now);
        });
        written.await.map(drop)
    }
}

/// Changes a definition; whether it is so now. Somebody else's change, or its end, leads to
/// another look.
pub async fn change(
    server: &Server,
    entry: &Entry,
    part: Part,
    change: impl FnOnce(&mut Value),
) -> Result<bool, ApiError> {
    let mut object: Value =
        serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)?;
    change(&mut object);
    let kind: &Kind = &CUSTOM_RESOURCE_DEFINITION;
    match replace(server, kind, part, object, entry, &Writing::ours()).await {
        Ok(_) => Ok(true),
        Err(error) if ["Conflict", "NotFound"].contains(&error.reason) => Ok(false),
        Err(error) => Err(error),
    }
}
