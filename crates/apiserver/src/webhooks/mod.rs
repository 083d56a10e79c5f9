//! Admission webhooks: programs that are asked before something is written.
//!
//! ```text
//!  write ──> tried out: complete, checked ──> mutating webhooks, one after the other ──> tried out again
//!                                                ──> validating webhooks, all at once ──> written
//! ```
//!
//! A write that no webhook wants to see goes straight on; to know that costs two looks at when a
//! configuration was changed last. One that some want to see is tried out first (as a dry run), so
//! that they get what would be written, with all defaults. A webhook that is a Service is reached
//! through the node of one of its pods, as the proxy of Services is: the API server has no way to
//! pods.
//!
//! Asked are webhooks about objects and their subresources, for create, update, delete and connect.
//! What is posted to a subresource (a binding, an eviction) and with what a connection is made are
//! objects of their own; a scale is shown of the object that is scaled. Only tokens are nobody's
//! affair.

mod address;
mod ask;
mod call;
mod conditions;
mod hook;
mod review;
mod shown;

use std::sync::{Arc, Mutex, PoisonError};

use sealane_store::Entry;
use serde_json::Value;

use crate::{
    kinds::{Kind, MUTATING_WEBHOOK_CONFIGURATION, VALIDATING_WEBHOOK_CONFIGURATION},
    object,
    owners::Writing,
    request::DeleteOptions,
    server::{Context, Server},
    status::ApiError,
    verbs::{self, Outcome, Part},
};
use ask::Asked;
pub use call::authorities;
pub use conditions::validate as validate_conditions;
use hook::Hook;
pub use review::answer;

/// What the configurations say, as it was when they were changed last.
#[derive(Default)]
pub struct Webhooks {
    known: Mutex<Option<(Changed, Arc<Hooks>)>>,
}

/// When configurations were changed.
type Changed = [u64; 2];

/// All webhooks, in the order in which they are asked.
#[derive(Debug, Default)]
struct Hooks {
    mutating: Vec<Hook>,
    validating: Vec<Hook>,
}

impl Webhooks {
    fn now(&self, server: &Server) -> Arc<Hooks> {
        let kinds: [&Kind; 2] = [
            &MUTATING_WEBHOOK_CONFIGURATION,
            &VALIDATING_WEBHOOK_CONFIGURATION,
        ];
        let changed = kinds.map(|kind| server.store.changed(&kind.bucket()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, hooks)) = known.as_ref()
            && *then == changed
        {
            return Arc::clone(hooks);
        }
        let [mutating, validating] = kinds.map(|kind| {
            let listing = server.store.list(&kind.bucket(), None, |_| true);
            let objects = listing.entries.into_iter();
            let objects = objects
                .filter_map(|entry| serde_json::from_slice::<Value>(&entry.object.unpack()).ok());
            objects.flat_map(|object| hook::read(&object)).collect()
        });
        let hooks = Arc::new(Hooks {
            mutating,
            validating,
        });
        *known = Some((changed, Arc::clone(&hooks)));
        hooks
    }
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// A connection to it is made.
    Connect,
}

impl Operation {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Creates an object if all webhooks agree; with what they want people to be told.
///
/// # Errors
///
/// What [`verbs::create_object`] or a webhook says, or that one cannot be asked.
pub async fn create(
    context: &Context,
    object: Value,
    writing: &Writing,
) -> Result<(Outcome, Vec<String>), ApiError> {
    let (server, kind) = (&context.server, &*context.kind);
    let namespace = &context.target.namespace;
    let write = async |object: Value, writing: &Writing| {
        verbs::create_object(server, kind, namespace, object, writing).await
    };
    let mut asked = Asked::new(context, Operation::Create, writing.dry_run);
    if asked.is_nobody() {
        return Ok((write(object, writing).await?, Vec::new()));
    }
    let trial = &writing.trial();
    let first = tried(kind, write(object.clone(), trial).await?)?;
    let wanted = asked.mutate(first.clone(), None).await?;
    let object = match wanted == first {
        // What was handed out for the trial, an address say, is not asked for again.
        true => named(object, &first),
        false => wanted,
    };
    let last = tried(kind, write(object.clone(), trial).await?)?;
    asked.validate(Some(&last), None).await?;
    Ok((write(object, writing).await?, asked.warnings))
}

/// Replaces a part of an object if all webhooks agree; with what they want people to be told.
///
/// # Errors
///
/// What [`verbs::replace`] or a webhook says, or that one cannot be asked.
pub async fn replace(
    context: &Context,
    part: Part,
    new: Value,
    current: &Entry,
    writing: &Writing,
) -> Result<(Outcome, Vec<String>), ApiError> {
    let (server, kind) = (&context.server, &*context.kind);
    let write = async |new: Value, writing: &Writing| {
        verbs::replace(server, kind, part, new, current, writing).await
    };
    let mut asked = Asked::new(context, Operation::Update, writing.dry_run);
    if asked.is_nobody() {
        return Ok((write(new, writing).await?, Vec::new()));
    }
    let trial = &writing.trial();
    let old = kind.read(current).map_err(ApiError::internal)?;
    let first = tried(kind, write(new.clone(), trial).await?)?;
    let wanted = asked.mutate(first.clone(), Some(&old)).await?;
    let new = match wanted == first {
        true => new,
        false => wanted,
    };
    let last = tried(kind, write(new.clone(), trial).await?)?;
    asked.validate(Some(&last), Some(&old)).await?;
    Ok((write(new, writing).await?, asked.warnings))
}

/// Asks whether an object may be deleted.
///
/// # Errors
///
/// What a webhook says, or that it cannot be asked.
pub async fn delete(
    context: &Context,
    (namespace, name): (&str, &str),
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let mut asked = Asked::new(context, Operation::Delete, options.is_dry_run());
    if asked.is_nobody() {
        return Ok(());
    }
    let kind = &*context.kind;
    let Some(current) = context.server.store.get(&kind.key(namespace, name)) else {
        return Ok(());
    };
    let old = kind.read(&current).map_err(ApiError::internal)?;
    asked.mutate(Value::Null, Some(&old)).await?;
    asked.validate(None, Some(&old)).await
}

/// Asks about what is posted to a subresource; gives it as webhooks want it, and what they want
/// people to be told.
///
/// # Errors
///
/// What a webhook says, or that it cannot be asked.
pub async fn post(
    context: &Context,
    posted: Value,
    dry_run: bool,
) -> Result<(Value, Vec<String>), ApiError> {
    ask_about(context, Operation::Create, posted, dry_run).await
}

/// Asks whether a connection may be made with these options; what webhooks want people to be told.
///
/// # Errors
///
/// What a webhook says, that it cannot be asked, or that it wants other options.
pub async fn connect(context: &Context, options: Value) -> Result<Vec<String>, ApiError> {
    let (wanted, warnings) = ask_about(context, Operation::Connect, options.clone(), false).await?;
    if wanted != options {
        let why = "a webhook changed the options of a connection: this API server cannot take that";
        return Err(ApiError::internal(why));
    }
    Ok(warnings)
}

async fn ask_about(
    context: &Context,
    operation: Operation,
    object: Value,
    dry_run: bool,
) -> Result<(Value, Vec<String>), ApiError> {
    let mut asked = Asked::new(context, operation, dry_run);
    if asked.is_nobody() {
        return Ok((object, Vec::new()));
    }
    let object = asked.mutate(object, None).await?;
    asked.validate(Some(&object), None).await?;
    Ok((object, asked.warnings))
}

fn tried(kind: &Kind, outcome: Outcome) -> Result<Value, ApiError> {
    match outcome {
        Outcome::Tried(object) => Ok(object),
        Outcome::Written(entry) => kind.read(&entry).map_err(ApiError::internal),
    }
}

/// The object with the name that was generated for it, which webhooks have seen.
fn named(mut object: Value, tried: &Value) -> Value {
    object["metadata"]["name"] = object::name(tried).into();
    object
}
