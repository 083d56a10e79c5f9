//! Delete: at once, or as a wish that others have to fulfil first.
//!
//! ```text
//!   deletionTimestamp set ─── finalizers gone ─── grace over (pods) / contents gone (namespaces) ─── removed
//! ```

use std::{net::IpAddr, sync::Arc};

use http::{Response, StatusCode};
use jiff::{Timestamp, ToSpan};
use sealane_store::{Entry, Write};
use serde_json::{Value, json};

use super::{
    finish::{commit, first, store_error},
    update::{ATTEMPTS, is_finished},
};
use crate::{
    admission,
    answer::{self, Body, ListMeta},
    custom,
    kinds::{Admission, Deletion, Dependents, Kind},
    object,
    request::{DeleteOptions, ListOptions, Payload, Propagation},
    server::{Context, Server},
    service_addresses::{release, spec},
    status::{self, ApiError},
    webhooks,
};

/// How long a pod may take to end, if it does not say.
const GRACE_SECONDS: i64 = 30;

/// What came of a deletion.
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Entry>),
    /// The object is marked and will go.
    Marked(Arc<Entry>),
}

impl Deleted {
    fn entry(&self) -> &Arc<Entry> {
        match self {
            Self::Gone(entry) | Self::Marked(entry) => entry,
        }
    }
}

/// Deletes one object.
///
/// # Errors
///
/// As Kubernetes: 400, 403, 404, 409, 422.
pub async fn delete(context: &Context, payload: Payload) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::parse(&context.query, &payload)?;
    let (kind, target) = (&*context.kind, &context.target);
    if admission::is_needed(context)
        && let Some(current) = context
            .server
            .store
            .get(&kind.key(&target.namespace, &target.name))
    {
        let old = kind.read(&current).map_err(ApiError::internal)?;
        admission::check(context, None, Some(&old))?;
    }
    webhooks::delete(context, (&target.namespace, &target.name), &options).await?;
    let deleted = delete_object(
        &context.server,
        kind,
        &target.namespace,
        &target.name,
        &options,
    )
    .await?;
    let (entry, accept) = (deleted.entry(), context.accept);
    if matches!(deleted, Deleted::Marked(_)) || kind.returns_deleted {
        return Ok(answer::object(StatusCode::OK, kind, accept, entry));
    }
    let object = kind.read(entry).map_err(ApiError::internal)?;
    let status = status::deleted(kind, &target.name, object::meta(&object, "uid"));
    Ok(answer::value(
        StatusCode::OK,
        crate::request::Accept::PLAIN,
        &status,
    ))
}

/// Deletes the objects that the selectors choose.
///
/// # Errors
///
/// The first deletion that is refused.
pub async fn delete_collection(
    context: &Context,
    payload: Payload,
) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::parse(&context.query, &payload)?;
    let selection = ListOptions::parse(&context.query)?;
    super::list::check_fields(&context.kind, &selection)?;
    let listing = context
        .server
        .store
        .list(&context.bucket(), context.namespace(), |entry| {
            super::list::selected(&selection, entry)
        });
    let mut entries = Vec::with_capacity(listing.entries.len());
    for entry in listing.entries {
        let (namespace, name) = (entry.key.namespace(), entry.key.name());
        webhooks::delete(context, (namespace, name), &options).await?;
        match delete_object(&context.server, &context.kind, namespace, name, &options).await {
            Ok(deleted) => entries.push(deleted.entry().clone()),
            Err(error) if error.code == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let meta = ListMeta {
        revision: context.server.store.revision(),
        ..ListMeta::default()
    };
    Ok(answer::list(&context.kind, context.accept, &meta, entries))
}

/// Deletes one object, as far as can be done now.
pub async fn delete_object(
    server: &Server,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    if kind.deletion == Deletion::Contents && PROTECTED.contains(&name) {
        return Err(ApiError::forbidden(
            kind,
            name,
            "this namespace may not be deleted",
        ));
    }
    for attempt in 1.. {
        let found = server.store.get(&kind.key(namespace, name));
        let current = found.ok_or_else(|| ApiError::not_found(kind, name))?;
        let old = kind.read(&current).map_err(ApiError::internal)?;
        check_preconditions(kind, &old, options)?;
        match delete_current(server, kind, current, old, options).await {
            // Somebody changed it meanwhile; the preconditions are looked at anew.
            Err(error) if error.reason == "Conflict" && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
    unreachable!("the last attempt returns")
}

/// Namespaces that the cluster cannot be without.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

async fn delete_current(
    server: &Server,
    kind: &Kind,
    current: Arc<Entry>,
    old: Value,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let new = marked(kind, &old, options, Timestamp::now());
    match is_finished(kind, &new) {
        true if options.is_dry_run() => Ok(Deleted::Gone(current)),
        true => Ok(Deleted::Gone(remove(server, kind, &new, &current).await?)),
        false if options.is_dry_run() || new == old => Ok(Deleted::Marked(current)),
        false => {
            let written = commit(server, kind, &new, Some(&current), None);
            Ok(Deleted::Marked(written.await?))
        }
    }
}

/// Refuses what is not for this object, or not for this version of it.
pub fn check_preconditions(
    kind: &Kind,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let wanted = &options.preconditions;
    let (uid, version) = (object::meta(old, "uid"), object::resource_version(old));
    for (what, wanted, is, happened) in [
        ("UID", &wanted.uid, uid, "deleted and then recreated"),
        (
            "ResourceVersion",
            &wanted.resource_version,
            version,
            "modified",
        ),
    ] {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != is) {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record \
                 ({is}). The object might have been {happened}"
            );
            return Err(ApiError::conflict(kind, object::name(old), &why));
        }
    }
    Ok(())
}

/// The object with the wish that it goes.
fn marked(kind: &Kind, old: &Value, options: &DeleteOptions, now: Timestamp) -> Value {
    let mut new = old.clone();
    let first = !object::is_deleting(old);
    let (grace, end) = match (kind.deletion, first) {
        (Deletion::Graceful, true) => {
            let grace = grace_seconds(old, options);
            (grace, now.checked_add(grace.seconds()).unwrap_or(now))
        }
        (Deletion::Graceful, false) => match shortened(old, options) {
            Some(sooner) => sooner,
            // It goes its way, and how it goes is settled.
            None => return new,
        },
        (Deletion::AtOnce | Deletion::Contents | Deletion::Instances, _) => (0, now),
    };
    let finalizers = finalizers_for_dependents(kind, old, options);
    let metadata = object::metadata_mut(&mut new);
    match finalizers {
        none if none.is_empty() => drop(metadata.remove("finalizers")),
        some => drop(metadata.insert("finalizers".into(), some.into())),
    }
    if first || kind.deletion == Deletion::Graceful {
        metadata.insert("deletionTimestamp".into(), object::time(end).into());
    }
    if kind.deletion != Deletion::Contents {
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    if first && let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
    match kind.deletion {
        Deletion::Contents => new["status"]["phase"] = json!("Terminating"),
        Deletion::Instances if first => custom::wait_for_objects(&mut new, now),
        _ => {}
    }
    new
}

/// A shorter time for a pod that is going already, and when it is over. The time can only become
/// shorter.
fn shortened(old: &Value, options: &DeleteOptions) -> Option<(i64, Timestamp)> {
    let metadata = &old["metadata"];
    let before = metadata["deletionGracePeriodSeconds"].as_i64()?;
    let grace = at_least_a_moment(options.grace_period_seconds?);
    let end: Timestamp = metadata["deletionTimestamp"].as_str()?.parse().ok()?;
    let sooner = end.checked_sub((before - grace).seconds()).unwrap_or(end);
    (grace < before).then_some((grace, sooner))
}

/// How long a pod may take to end. One that no node runs, or that has ended, needs no time.
fn grace_seconds(pod: &Value, options: &DeleteOptions) -> i64 {
    let phase = pod["status"]["phase"].as_str().unwrap_or("");
    let runs_nowhere = pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty();
    if runs_nowhere || phase == "Succeeded" || phase == "Failed" {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(GRACE_SECONDS);
    at_least_a_moment(options.grace_period_seconds.unwrap_or(own))
}

/// A negative time means the shortest there is, as in Kubernetes.
fn at_least_a_moment(seconds: i64) -> i64 {
    if seconds < 0 { 1 } else { seconds }
}

/// The finalizers of an object that is to go, with that which makes the garbage collector see to
/// its dependents first: as the deletion says; else as the object itself does; else as is usual
/// for its kind. Without one, dependents are collected when it is gone.
fn finalizers_for_dependents(kind: &Kind, old: &Value, options: &DeleteOptions) -> Vec<Value> {
    let all = old["metadata"]["finalizers"].as_array();
    let all = all.map_or(&[][..], Vec::as_slice);
    let usual = match kind.dependents {
        Dependents::None => return all.to_vec(),
        Dependents::Collected => Propagation::Background,
        Dependents::Orphaned => Propagation::Orphan,
    };
    let choices = [Propagation::Orphan, Propagation::Foreground];
    let stands = |choice: &Propagation| all.iter().any(|one| one.as_str() == choice.finalizer());
    let standing = choices.into_iter().find(stands);
    let policy = options.propagation().or(standing).unwrap_or(usual);
    let ours = choices.map(Propagation::finalizer);
    let others = all.iter().filter(|one| !ours.contains(&one.as_str()));
    let added = policy.finalizer().map(Value::from);
    others.cloned().chain(added).collect()
}

/// Removes an object from the store; `last` is its last state.
pub async fn remove(
    server: &Server,
    kind: &Kind,
    last: &Value,
    current: &Entry,
) -> Result<Arc<Entry>, ApiError> {
    let kind = kind.storage();
    let mut writes = vec![Write::delete(
        current.key.clone(),
        current.revision,
        kind.template(last),
        object::describe(kind.fields, last),
    )];
    if kind.admission == Admission::ServiceAddresses {
        let addresses: Vec<IpAddr> = spec::addresses(&last["spec"]).into_iter().collect();
        writes.extend(release(&server.store, last, &addresses));
    }
    let removed = server.store.write(writes).await;
    let removed = first(removed).map_err(|cause| store_error(kind, &current.key, cause))?;
    if kind.admission == Admission::ServiceAddresses {
        server.addresses.removed(last);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{DEPLOYMENT, EVENT, NAMESPACE, POD, REPLICATION_CONTROLLER};

    fn options(grace: Option<i64>) -> DeleteOptions {
        let mut options = DeleteOptions::default();
        options.grace_period_seconds = grace;
        options
    }

    fn pod(node: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": "p", "generation": 1},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 10},
            "status": {"phase": phase},
        })
    }

    #[test]
    fn pods_get_the_time_they_need() {
        for (node, phase, asked, expected) in [
            ("n", "Running", None, 10),
            ("n", "Running", Some(3), 3),
            ("n", "Running", Some(0), 0),
            ("n", "Running", Some(-1), 1),
            ("", "Pending", None, 0),
            ("n", "Succeeded", None, 0),
        ] {
            assert_eq!(
                grace_seconds(&pod(node, phase), &options(asked)),
                expected,
                "{node} {phase}"
            );
        }
    }

    #[test]
    fn a_second_wish_can_only_shorten_the_time() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let once = marked(&POD, &pod("n", "Running"), &options(None), now);
        assert_eq!(
            once["metadata"]["deletionTimestamp"],
            "2026-01-01T00:00:10Z"
        );
        assert_eq!(once["metadata"]["generation"], 2);
        assert_eq!(marked(&POD, &once, &options(Some(20)), now), once);
        let sooner = marked(&POD, &once, &options(Some(0)), now);
        assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(
            sooner["metadata"]["deletionTimestamp"],
            "2026-01-01T00:00:00Z"
        );
        assert_eq!(sooner["metadata"]["generation"], 2);
        assert!(is_finished(&POD, &sooner) && !is_finished(&POD, &once));
    }

    #[test]
    fn dependents_are_seen_to_as_is_said_or_usual() {
        use Propagation::{Background, Foreground, Orphan};
        let (deployment, old_kind) = (&DEPLOYMENT, &REPLICATION_CONTROLLER);
        for (kind, policy, had, expected) in [
            (deployment, None, &[][..], &[][..]),
            (
                deployment,
                Some(Foreground),
                &["x/y"],
                &["x/y", "foregroundDeletion"],
            ),
            (
                deployment,
                Some(Orphan),
                &["foregroundDeletion"],
                &["orphan"],
            ),
            (deployment, Some(Background), &["foregroundDeletion"], &[]),
            (
                deployment,
                None,
                &["foregroundDeletion"],
                &["foregroundDeletion"],
            ),
            (deployment, None, &["orphan"], &["orphan"]),
            (old_kind, None, &[], &["orphan"]),
            (old_kind, Some(Background), &[], &[]),
            (&EVENT, Some(Orphan), &[], &[]),
        ] {
            let old = json!({"metadata": {"name": "x", "finalizers": had}});
            let options = policy.map(DeleteOptions::propagating).unwrap_or_default();
            let found = finalizers_for_dependents(kind, &old, &options);
            assert_eq!(json!(found), json!(expected), "{kind:?} {policy:?} {had:?}");
        }
    }

    #[test]
    fn an_object_with_finalizers_is_marked_once() {
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::now());
        let old = json!({"metadata": {"name": "x", "generation": 4}});
        let foreground = DeleteOptions::propagating(Propagation::Foreground);
        let once = marked(&DEPLOYMENT, &old, &foreground, now);
        assert_eq!(
            once["metadata"],
            json!({
                "name": "x", "generation": 5, "finalizers": ["foregroundDeletion"],
                "deletionTimestamp": "1970-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
            })
        );
        assert_eq!(marked(&DEPLOYMENT, &once, &options(None), later), once);
        assert!(!is_finished(&DEPLOYMENT, &once));
        let background = DeleteOptions::propagating(Propagation::Background);
        assert!(is_finished(
            &DEPLOYMENT,
            &marked(&DEPLOYMENT, &once, &background, later)
        ));
    }

    #[test]
    fn a_namespace_waits_for_its_contents() {
        let namespace = json!({
            "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        let marked = marked(
            &NAMESPACE,
            &namespace,
            &options(None),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(marked["status"]["phase"], "Terminating");
        assert!(!is_finished(&NAMESPACE, &marked));
    }
}
