//! What all requests share, and which code answers which request.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use sealane_store::{Bucket, Store};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{self, Body},
    debug::Requests,
    discovery,
    identity::User,
    kinds::{self, Kind, Subresource},
    node_client::NodeClient,
    openapi,
    pages::Pages,
    request::{self, Accept, Path, Query, Target},
    service_addresses::ServiceAddresses,
    status::ApiError,
    streams, verbs,
};

/// What all requests share.
pub struct Server {
    /// The objects.
    pub store: Store,
    /// How many requests were answered how.
    pub requests: Requests,
    /// The addresses and node ports of Services.
    pub addresses: ServiceAddresses,
    /// The way to nodes.
    pub nodes: NodeClient,
    /// Lists that are being read page by page.
    pub pages: Pages,
    /// Ends watches when the server stops.
    pub shutdown: CancellationToken,
}

/// A request for a resource.
pub struct Context {
    /// The server.
    pub server: Arc<Server>,
    /// The row of the kind that is asked for.
    pub kind: &'static Kind,
    /// Which object or collection.
    pub target: Target,
    /// Parameters.
    pub query: Query,
    /// The form of the answer.
    pub accept: Accept,
}

impl Context {
    /// Where the kind's objects are stored.
    pub fn bucket(&self) -> Bucket {
        self.kind.bucket()
    }

    /// The namespace to list in, if it is one.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.target.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }
}

/// Answers a request. `user` is who the client's certificate says; nobody without one.
pub async fn handle(
    server: Arc<Server>,
    user: Option<User>,
    request: Request<Incoming>,
) -> Response<Body> {
    let response = match route(server.clone(), user, request).await {
        Ok(response) => response,
        Err(error) => {
            if error.code == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(message = error.message, "a request failed");
            }
            answer::error(&error)
        }
    };
    server.requests.count(response.status());
    response
}

async fn route(
    server: Arc<Server>,
    user: Option<User>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let no_such = || ApiError::no_such_resource(request.uri().path());
    let path = Path::parse(request.uri().path()).ok_or_else(no_such)?;
    let query = Query::parse(request.uri().query());
    match path {
        Path::Other(parts) => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            if let ["healthz" | "livez" | "readyz", ..] = parts.as_slice() {
                return Ok(answer::text(StatusCode::OK, "ok"));
            }
            if parts == ["version"] {
                return Ok(discovery::version());
            }
            user.ok_or_else(ApiError::unauthorized)?;
            if let Some(document) = openapi::answer(&parts, request.headers()) {
                return Ok(document);
            }
            let accept = Accept::negotiate(request.headers(), &query)?;
            discovery::answer(&parts, accept).ok_or_else(no_such)
        }
        Path::Resource(target) => {
            let user = user.ok_or_else(ApiError::unauthorized)?;
            tracing::debug!(
                user = user.name,
                groups = ?user.groups,
                method = %request.method(),
                uri = %request.uri(),
                "request"
            );
            let kind = kinds::find(&target.group, &target.version, &target.resource)
                .filter(|kind| kind.namespaced || target.namespace.is_empty())
                .filter(|kind| {
                    !kind.namespaced || target.name.is_empty() || !target.namespace.is_empty()
                })
                .ok_or_else(|| unknown(&target))?;
            let accept = Accept::negotiate(request.headers(), &query)?;
            let context = Context {
                server,
                kind,
                target,
                query,
                accept,
            };
            resource(context, request).await
        }
    }
}

/// The error for a resource that is not served, by the name that kubectl users know.
fn unknown(target: &Target) -> ApiError {
    let group = match target.group.as_str() {
        "" => String::new(),
        group => format!(".{group}"),
    };
    let of = if target.namespace.is_empty() {
        ""
    } else {
        " in a namespace"
    };
    ApiError::no_such_resource(&format!(
        "{}{group}/{}{of}",
        target.resource, target.version
    ))
}

async fn resource(
    context: Context,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (kind, target) = (context.kind, &context.target);
    match target.subresource.as_str() {
        "" => {}
        "status" if kind.status => return status(context, request).await,
        name => {
            let found = kind.subresources.iter().find(|one| one.name() == name);
            let subresource = *found.ok_or_else(|| {
                ApiError::no_such_resource(&format!("{}/{name}", kind.qualified()))
            })?;
            return part(context, subresource, request).await;
        }
    }
    let (parts, body) = request.into_parts();
    let one = !target.name.is_empty();
    match parts.method {
        Method::GET if one && !target.watch => verbs::get(&context),
        Method::GET => verbs::list_or_watch(context),
        Method::POST if !one && (!kind.namespaced || !target.namespace.is_empty()) => {
            verbs::create(&context, request::read(&parts.headers, body).await?).await
        }
        Method::PUT if one => {
            verbs::update(&context, request::read(&parts.headers, body).await?).await
        }
        Method::PATCH if one => {
            verbs::patch(&context, request::read(&parts.headers, body).await?).await
        }
        Method::DELETE if one => {
            verbs::delete(&context, request::read(&parts.headers, body).await?).await
        }
        Method::DELETE if !kind.namespaced || !target.namespace.is_empty() => {
            verbs::delete_collection(&context, request::read(&parts.headers, body).await?).await
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn status(context: Context, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET => verbs::get(&context),
        Method::PUT => verbs::update(&context, request::read(&parts.headers, body).await?).await,
        Method::PATCH => verbs::patch(&context, request::read(&parts.headers, body).await?).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn part(
    context: Context,
    subresource: Subresource,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let post = request.method() == Method::POST;
    let put = request.method() == Method::PUT;
    match subresource {
        Subresource::Binding if post => {
            let (parts, body) = request.into_parts();
            verbs::bind(&context, request::read(&parts.headers, body).await?).await
        }
        Subresource::Finalize if put => {
            let (parts, body) = request.into_parts();
            verbs::update(&context, request::read(&parts.headers, body).await?).await
        }
        Subresource::Node(stream) if post || request.method() == Method::GET => {
            streams::pass(context, stream, request).await
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}
