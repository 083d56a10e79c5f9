//! Get, list, and the way into watch.

use http::{Response, StatusCode};
use sealane_store::Entry;

use super::watch::watch;
use crate::{
    answer::{self, Body, ListMeta},
    kinds::Kind,
    request::{ListOptions, VersionMatch},
    server::Context,
    status::ApiError,
};

/// One object.
///
/// # Errors
///
/// 404.
pub fn get(context: &Context) -> Result<Response<Body>, ApiError> {
    let (kind, target) = (&*context.kind, &context.target);
    let found = context
        .server
        .store
        .get(&kind.key(&target.namespace, &target.name));
    let entry = found.ok_or_else(|| ApiError::not_found(kind, &target.name))?;
    Ok(answer::object(StatusCode::OK, kind, context.accept, &entry))
}

/// The objects of a collection, or their changes.
///
/// # Errors
///
/// 400 for selectors that cannot be, 410 for a place that is no longer kept.
pub fn list_or_watch(context: Context) -> Result<Response<Body>, ApiError> {
    let mut options = ListOptions::parse(&context.query)?;
    check_fields(&context.kind, &options)?;
    if options.watch || context.target.watch {
        if !context.target.name.is_empty() {
            options.fields = options.fields.and_name(&context.target.name);
        }
        return watch(context, options);
    }
    list(&context, &options)
}

fn list(context: &Context, options: &ListOptions) -> Result<Response<Body>, ApiError> {
    let store = &context.server.store;
    let question = question(context);
    let page = match &options.continue_from {
        Some(token) => context.server.pages.next(&question, token, options.limit)?,
        None => {
            let listing = store.list(&context.bucket(), context.namespace(), |entry| {
                selected(options, entry)
            });
            check_version(options, listing.revision, listing.changed)?;
            let limit = options.limit.unwrap_or(usize::MAX);
            context
                .server
                .pages
                .first(&question, listing.revision, listing.entries, limit)
        }
    };
    let (next, remaining) = page.next.unzip();
    let meta = ListMeta {
        revision: page.revision,
        next,
        remaining,
    };
    Ok(answer::list(
        &context.kind,
        context.accept,
        &meta,
        page.entries,
    ))
}

/// What identifies a list, for its further pages.
fn question(context: &Context) -> String {
    let selector = |name: &str| context.query.get(name).unwrap_or("").to_owned();
    let namespace = &context.target.namespace;
    let (labels, fields) = (selector("labelSelector"), selector("fieldSelector"));
    format!("{}/{namespace}?{labels}&{fields}", context.kind.qualified())
}

/// Whether the present is what the client asked for.
fn check_version(options: &ListOptions, revision: u64, changed: u64) -> Result<(), ApiError> {
    let Some(wanted) = options.resource_version else {
        return Ok(());
    };
    if wanted > revision {
        let message = format!("Too large resource version: {wanted}, current: {revision}");
        let mut error = ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        error.details = serde_json::json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        return Err(error);
    }
    if options.version_match == Some(VersionMatch::Exact) && changed > wanted {
        let message = format!("The resourceVersion for the provided list is too old: {wanted}");
        return Err(ApiError::expired(message));
    }
    Ok(())
}

/// Whether both selectors choose an object.
pub fn selected(options: &ListOptions, entry: &Entry) -> bool {
    let (namespace, name) = (entry.key.namespace(), entry.key.name());
    options.labels.matches(&entry.attributes)
        && options.fields.matches(namespace, name, &entry.attributes)
}

/// Refuses field selectors that the kind does not know.
pub fn check_fields(kind: &Kind, options: &ListOptions) -> Result<(), ApiError> {
    match options.fields.unknown_field(|field| kind.selects(field)) {
        None => Ok(()),
        Some(field) if kind.fields.is_empty() => Err(ApiError::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        ))),
        Some(field) => Err(ApiError::bad_request(format!(
            "field label not supported: {field}"
        ))),
    }
}
