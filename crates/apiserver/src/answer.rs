//! Answers: objects, lists and errors in the form that the client asked for.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use jiff::Timestamp;
use sealane_store::Entry;
use serde_json::{Value, json};

use crate::{
    kinds::{Kind, KindRef},
    request::{Accept, Form, Syntax},
    status::ApiError,
    table,
};

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The list of objects is sent in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// A body that is known as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    respond(code, "text/plain; charset=utf-8", full(text))
}

/// An answer with this content.
pub fn respond(code: StatusCode, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A value as it is.
pub fn value(code: StatusCode, accept: Accept, value: &Value) -> Response<Body> {
    let bytes = match accept.syntax {
        Syntax::Json => value.to_string().into_bytes(),
        Syntax::Yaml => serde_yaml_ng::to_string(value)
            .unwrap_or_default()
            .into_bytes(),
    };
    respond(code, &accept.content_type(), full(bytes))
}

/// An error, always as JSON.
pub fn error(error: &ApiError) -> Response<Body> {
    let mut response = value(error.code, Accept::PLAIN, &error.status());
    if let Some(seconds) = error.details["retryAfterSeconds"].as_u64() {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds warnings, which kubectl shows to its user.
pub fn warn(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(header) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, header);
        }
    }
    response
}

/// One stored object in the form that is asked for.
pub fn object(code: StatusCode, kind: &Kind, accept: Accept, entry: &Entry) -> Response<Body> {
    if accept == Accept::PLAIN
        && let Some(shared) = kind.shared(entry)
    {
        return respond(code, &accept.content_type(), full(shared));
    }
    match kind.read(entry) {
        Ok(object) => value(code, accept, &shape(kind, accept, object)),
        Err(cause) => error(&ApiError::internal(cause)),
    }
}

/// An object that was read, in the form that is asked for.
pub fn shape(kind: &Kind, accept: Accept, object: Value) -> Value {
    match accept.form {
        Form::Object | Form::Discovery(_) => kind.to_served(object),
        Form::Metadata => metadata_only(&object),
        Form::Table(include) => {
            let list = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            table::table(kind, include, list, &[object], Timestamp::now(), true)
        }
    }
}

/// What a list says of itself.
#[derive(Debug, Default)]
pub struct ListMeta {
    /// The revision it shows.
    pub revision: u64,
    /// Where the next page begins.
    pub next: Option<String>,
    /// How many objects are left behind the next page's beginning.
    pub remaining: Option<usize>,
}

impl ListMeta {
    fn value(&self) -> Value {
        let mut meta = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(next) = &self.next {
            meta["continue"] = next.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
        meta
    }
}

/// A list in the form that is asked for.
pub fn list(
    kind: &KindRef,
    accept: Accept,
    meta: &ListMeta,
    entries: Vec<Arc<Entry>>,
) -> Response<Body> {
    let shell = match accept.form {
        Form::Object | Form::Discovery(_) => json!({
            "kind": kind.list_kind(),
            "apiVersion": kind.api_version(),
            "metadata": meta.value(),
            "items": [],
        }),
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta.value(),
            "items": [],
        }),
        Form::Table(include) => {
            table::table(kind, include, meta.value(), &[], Timestamp::now(), true)
        }
    };
    match accept.syntax {
        Syntax::Json => respond(
            StatusCode::OK,
            &accept.content_type(),
            stream_list(&shell, entries, item(kind.clone(), accept)),
        ),
        Syntax::Yaml => whole_list(kind, accept, shell, &entries),
    }
}

/// The member of a list that has its elements.
fn elements(accept: Accept) -> &'static str {
    match accept.form {
        Form::Table(_) => "rows",
        _ => "items",
    }
}

fn whole_list(
    kind: &Kind,
    accept: Accept,
    mut shell: Value,
    entries: &[Arc<Entry>],
) -> Response<Body> {
    let items: serde_json::Result<Vec<Value>> = entries
        .iter()
        .map(|entry| Ok(element(kind, accept, kind.read(entry)?)))
        .collect();
    match items {
        Ok(items) => {
            shell[elements(accept)] = items.into();
            value(StatusCode::OK, accept, &shell)
        }
        Err(cause) => error(&ApiError::internal(cause)),
    }
}

/// One object as an element of a list.
fn element(kind: &Kind, accept: Accept, object: Value) -> Value {
    match accept.form {
        Form::Object | Form::Discovery(_) => kind.to_served(object),
        Form::Metadata => metadata_only(&object),
        Form::Table(include) => table::row(kind, include, &object, Timestamp::now()),
    }
}

/// How an element of a list is written; an object that is asked for as it is stored is not even
/// decoded.
fn item(
    kind: KindRef,
    accept: Accept,
) -> impl Fn(&Entry, &mut Vec<u8>) -> std::io::Result<()> + Send + 'static {
    move |entry, bytes| {
        if accept.form == Form::Object && kind.append_shared(entry, bytes) {
            return Ok(());
        }
        let object = kind.read(entry)?;
        Ok(serde_json::to_writer(
            bytes,
            &element(&kind, accept, object),
        )?)
    }
}

/// A list as JSON, put together in pieces as the client takes them, so that a long one never
/// stands in memory as a whole. The elements come last in it.
fn stream_list(
    shell: &Value,
    entries: Vec<Arc<Entry>>,
    item: impl Fn(&Entry, &mut Vec<u8>) -> std::io::Result<()> + Send + 'static,
) -> Body {
    let mut piece = Some(head(shell).into_bytes());
    let mut entries = entries.into_iter().enumerate();
    let pieces = std::iter::from_fn(move || {
        let mut bytes = piece.take()?;
        for (index, entry) in entries.by_ref() {
            if index > 0 {
                bytes.push(b',');
            }
            if let Err(cause) = item(&entry, &mut bytes) {
                tracing::error!(key = %entry.key, %cause, "an object in the store cannot be shown");
                return Some(Err(cause));
            }
            if bytes.len() >= PIECE_BYTES {
                piece = Some(Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 2)));
                return Some(Ok(Frame::data(bytes.into())));
            }
        }
        bytes.extend_from_slice(b"]}\n");
        Some(Ok(Frame::data(bytes.into())))
    });
    StreamBody::new(stream::iter(pieces)).boxed_unsync()
}

/// The beginning of a list, up to its first element.
fn head(shell: &Value) -> String {
    let members = shell.as_object().into_iter().flatten();
    let (lists, rest): (Vec<_>, Vec<_>) =
        members.partition(|(name, _)| ["items", "rows"].contains(&name.as_str()));
    let mut head = String::from("{");
    for (name, value) in rest {
        head.push_str(&format!("{}:{value},", Value::from(name.as_str())));
    }
    for (name, _) in lists {
        head.push_str(&format!("\"{name}\":["));
    }
    head
}

/// Only the metadata of an object.
pub fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elements_of_a_list_come_last() {
        let shell = json!({"rows": [], "kind": "Table", "metadata": {"a": 1}});
        let whole = head(&shell) + "1,2]}";
        let expected = json!({"rows": [1, 2], "kind": "Table", "metadata": {"a": 1}});
        assert_eq!(serde_json::from_str::<Value>(&whole).unwrap(), expected);
    }
}
