//! The last steps of every write: defaults, validation, the store.

use std::{net::IpAddr, sync::Arc};

use http::{Response, StatusCode};
use sealane_store::{Entry, Expect, Key, Write, WriteError};
use serde_json::Value;

use super::update::ATTEMPTS;
use crate::{
    answer::{self, Body},
    check::Findings,
    kinds::{self, Admission, Kind},
    object, priority, quota,
    server::{Context, Server},
    service_addresses::{self, Reservation, View, release, reserve},
    status::ApiError,
};

/// Completes an object, gives it what the server hands out, and checks it and what it changes of
/// `old`.
///
/// # Errors
///
/// 422 with everything that is wrong.
pub fn prepare<'a>(
    server: &'a Server,
    kind: &Kind,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<Option<Reservation<'a>>, ApiError> {
    kind.fill_in(new);
    settle(server, kind, new, old)
}

/// The second half of [`prepare`]: what the server hands out, and what is wrong.
///
/// # Errors
///
/// 422 with everything that is wrong.
pub fn settle<'a>(
    server: &'a Server,
    kind: &Kind,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<Option<Reservation<'a>>, ApiError> {
    let reservation = match kind.admission {
        Admission::None => None,
        Admission::PriorityClass => {
            priority::check_default(server, new)?;
            None
        }
        Admission::Pod => {
            server.tolerations.admit(new);
            if let Some(old) = old {
                priority::keep(new, old);
            }
            None
        }
        Admission::ServiceAddresses => {
            let is_taken = |address: IpAddr| {
                let key = kinds::IP_ADDRESS.key("", &address.to_string());
                server.store.get(&key).is_some()
            };
            let view = View {
                ranges: service_addresses::ranges(&server.store),
                is_taken: &is_taken,
            };
            Some(server.addresses.admit(&view, new, old)?)
        }
    };
    validate(kind, new, old)?;
    Ok(reservation)
}

fn validate(kind: &Kind, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let findings = kind.judge(new, old);
    if findings.is_empty() {
        return Ok(());
    }
    let name = match object::name(new) {
        "" => object::meta(new, "generateName"),
        name => name,
    };
    Err(ApiError::invalid(kind.kind, kind.group, name, &findings))
}

/// Writes an object, over `current` if there is one.
///
/// # Errors
///
/// 409 if somebody else was faster, 500 if the disk does not take it.
pub async fn commit(
    server: &Server,
    kind: &Kind,
    new: &Value,
    current: Option<&Entry>,
    reservation: Option<Reservation<'_>>,
) -> Result<Arc<Entry>, ApiError> {
    let kind = kind.storage();
    if current.is_none() {
        check_is_staying(kind)?;
    }
    let (namespace, name) = (object::namespace(new), object::name(new));
    let expect = current.map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
    let key = kind.key(namespace, name);
    let attributes = object::describe(kind.fields, new);
    let mut writes = vec![Write::put(
        key.clone(),
        expect,
        kind.template(new),
        attributes,
    )];
    if let Some(reservation) = &reservation {
        writes.extend(reserve(new, reservation.new_addresses()));
        writes.extend(release(&server.store, new, reservation.left_addresses()));
    }
    let written = write_charged(server, kind, (new, current), writes).await?;
    if let Some(reservation) = reservation {
        match &written {
            Ok(_) => reservation.keep(),
            // It may be on the disk after all.
            Err(WriteError::Disk { .. }) => reservation.forget(),
            Err(_) => drop(reservation),
        }
    }
    first(written).map_err(|cause| store_error(kind, &key, cause))
}

/// Writes, and with it what is used of the namespace's quotas then.
///
/// # Errors
///
/// 403 if that is more than one of them allows.
async fn write_charged(
    server: &Server,
    kind: &Kind,
    (new, current): (&Value, Option<&Entry>),
    writes: Vec<Write>,
) -> Result<Result<Vec<Arc<Entry>>, WriteError>, ApiError> {
    for attempt in 1.. {
        let charged = quota::charge(server, kind, new, current).await?;
        let all = writes.iter().cloned().chain(charged.writes()).collect();
        let written = server.store.write(all).await;
        match &written {
            // Somebody has changed the quota itself; it is read again.
            Err(WriteError::Conflict { key, .. } | WriteError::Absent { key })
                if charged.is_concerned(key) && attempt < ATTEMPTS => {}
            _ => return Ok(written),
        }
    }
    unreachable!("the last attempt returns")
}

/// Nothing is made of a kind whose definition is going.
fn check_is_staying(kind: &Kind) -> Result<(), ApiError> {
    match &kind.custom {
        Some(custom) if custom.definition().is_terminating() => Err(ApiError {
            message: "create not allowed while custom resource definition is terminating".into(),
            ..ApiError::method_not_allowed()
        }),
        _ => Ok(()),
    }
}

/// What was asked for; what was written with it comes after it.
pub fn first(written: Result<Vec<Arc<Entry>>, WriteError>) -> Result<Arc<Entry>, WriteError> {
    written?.into_iter().next().ok_or(WriteError::Closed)
}

/// What a client is told of a write that did not happen.
pub fn store_error(kind: &Kind, key: &Key, cause: WriteError) -> ApiError {
    let name = key.name();
    match cause {
        WriteError::Exists { key: other } if other != *key => {
            let mut findings = Findings::default();
            let why = format!(
                "failed to allocate IP {}: provided IP is already allocated",
                other.name()
            );
            findings.invalid("spec.clusterIPs", &other.name().into(), why);
            ApiError::invalid(kind.kind, kind.group, name, &findings)
        }
        // What is written with it was changed meanwhile; another look at it may help.
        WriteError::Absent { key: other } if other != *key => ApiError::stale(kind, name),
        WriteError::Exists { .. } => ApiError::already_exists(kind, name),
        WriteError::Absent { .. } => ApiError::not_found(kind, name),
        WriteError::Conflict { .. } => ApiError::stale(kind, name),
        WriteError::Closed => ApiError::unavailable("the server is shutting down"),
        cause @ WriteError::Disk { .. } => ApiError::internal(cause),
    }
}

/// What was written, or would have been.
pub enum Outcome {
    /// It is in the store.
    Written(Arc<Entry>),
    /// It was only tried out.
    Tried(Value),
}

impl Outcome {
    /// The answer to the client.
    pub fn answer(
        &self,
        context: &Context,
        code: StatusCode,
        warnings: &[String],
    ) -> Response<Body> {
        let mut warnings = warnings.to_vec();
        warnings.extend(self.warnings(context, code == StatusCode::CREATED));
        let response = match self {
            Self::Written(entry) => answer::object(code, &context.kind, context.accept, entry),
            Self::Tried(object) => {
                let shaped = answer::shape(&context.kind, context.accept, object.clone());
                answer::value(code, context.accept, &shaped)
            }
        };
        answer::warn(response, &warnings)
    }

    /// What the kind has to say of the object, unless only a part of it was written.
    fn warnings(&self, context: &Context, is_new: bool) -> Vec<String> {
        let kind = &*context.kind;
        if !context.target.subresource.is_empty() || !kind.warns(is_new) {
            return Vec::new();
        }
        match self {
            Self::Written(entry) => kind
                .read(entry)
                .map(|object| kind.warnings(&object, is_new))
                .unwrap_or_default(),
            Self::Tried(object) => kind.warnings(object, is_new),
        }
    }
}
