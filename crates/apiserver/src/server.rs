//! What all requests share, and which code answers which request.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use sealane_store::{Bucket, Store};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{self, Body},
    authn::{self, Issuer, User},
    authz::{Asked, Attributes, Authorizer, Object},
    debug::Requests,
    default_tolerations::DefaultTolerations,
    discovery,
    kinds::{KindRef, Kinds, Subresource},
    metrics::{self, Metrics},
    node_client::NodeClient,
    openapi,
    pages::Pages,
    quota,
    request::{self, Accept, Path, Query, Target},
    reviews,
    service_addresses::ServiceAddresses,
    status::ApiError,
    streams, verbs,
    webhooks::Webhooks,
};

/// What all requests share.
pub struct Server {
    /// The objects.
    pub store: Store,
    /// The kinds that are served.
    pub kinds: Arc<Kinds>,
    /// Makes and reads the tokens of service accounts; absent without a key.
    pub issuer: Option<Issuer>,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// How many requests were answered how.
    pub requests: Requests,
    /// The addresses and node ports of Services.
    pub addresses: ServiceAddresses,
    /// How long pods bear a node that is lost, unless they say so themselves.
    pub tolerations: DefaultTolerations,
    /// The way to nodes.
    pub nodes: NodeClient,
    /// Lists that are being read page by page.
    pub pages: Pages,
    /// What pods take of processor and memory, lately.
    pub metrics: Metrics,
    /// Who is asked before what is written.
    pub webhooks: Webhooks,
    /// Who charges the quotas of a namespace.
    pub quotas: quota::Locks,
    /// Ends watches when the server stops.
    pub shutdown: CancellationToken,
}

/// A request for a resource.
pub struct Context {
    /// The server.
    pub server: Arc<Server>,
    /// Who asks.
    pub user: Arc<User>,
    /// The kind that is asked for.
    pub kind: KindRef,
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

/// Answers a request. `certificate` is who the connection's certificate says; nobody without one.
pub async fn handle(
    server: Arc<Server>,
    certificate: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let response = match route(server.clone(), certificate, request).await {
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
    certificate: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let no_such = || ApiError::no_such_resource(request.uri().path());
    let path = Path::parse(request.uri().path()).ok_or_else(no_such)?;
    if let Path::Other(parts) = &path
        && let Some("healthz" | "livez" | "readyz") = parts.first().map(String::as_str)
    {
        // Open to all whatever roles say: what watches the server must not need any.
        return Ok(answer::text(StatusCode::OK, "ok"));
    }
    let query = Query::parse(request.uri().query());
    let user = user(&server, certificate.as_ref(), &request)?;
    match path {
        Path::Other(parts) => {
            let verb = request.method().as_str().to_ascii_lowercase();
            let object = Object::Path(request.uri().path());
            let asked = Attributes {
                verb: &verb,
                object,
            };
            server.authorizer.check(&user, &asked)?;
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            other(&server, &parts, &request, &query).ok_or_else(no_such)?
        }
        Path::Resource(target) => {
            let asked = Asked::of(request.method(), &target, &query);
            server.authorizer.check(&user, &asked.attributes())?;
            if let Some(stream) = asked.stream() {
                server.authorizer.check(&user, &stream)?;
            }
            let kind = server
                .kinds
                .find(&target.group, &target.version, &target.resource)
                .filter(|kind| kind.namespaced || target.namespace.is_empty())
                .filter(|kind| {
                    !kind.namespaced || target.name.is_empty() || !target.namespace.is_empty()
                })
                .ok_or_else(|| unknown(&target))?;
            let accept = match target.subresource.as_str() {
                // The form of the answer is the pod's affair.
                "proxy" => Accept::PLAIN,
                _ => Accept::negotiate(request.headers(), &query)?,
            };
            let deprecated = kind.deprecation().map(str::to_owned);
            let context = Context {
                server,
                user,
                kind,
                target,
                query,
                accept,
            };
            let response = resource(context, request).await?;
            Ok(answer::warn(response, deprecated.as_slice()))
        }
    }
}

/// Who sends a request, and as whom.
fn user(
    server: &Server,
    certificate: Option<&Arc<User>>,
    request: &Request<Incoming>,
) -> Result<Arc<User>, ApiError> {
    let user = authn::who(server, certificate, request.headers())?;
    let allowed = |asked: &Attributes<'_>| server.authorizer.check(&user, asked);
    let acting = authn::impersonated(request.headers(), allowed)?.map(Arc::new);
    tracing::debug!(
        user = user.name,
        groups = ?user.groups,
        acting_as = acting.as_ref().map(|acting| &acting.name),
        method = %request.method(),
        uri = %request.uri(),
        "request"
    );
    Ok(acting.unwrap_or(user))
}

/// Answers what is no resource; `None` if there is no such path.
fn other(
    server: &Server,
    parts: &[&str],
    request: &Request<Incoming>,
    query: &Query,
) -> Option<Result<Response<Body>, ApiError>> {
    if parts == ["version"] {
        return Some(Ok(discovery::version()));
    }
    let openid = server
        .issuer
        .as_ref()
        .and_then(|issuer| authn::answer(issuer, parts));
    let found =
        openid.or_else(|| openapi::answer(&server.kinds.now(), parts, request.headers(), query));
    if let Some(document) = found {
        return Some(Ok(document));
    }
    match Accept::negotiate(request.headers(), query) {
        Ok(accept) => discovery::answer(&server.kinds.now(), parts, accept).map(Ok),
        Err(error) => Some(Err(error)),
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
    let (kind, target) = (&*context.kind, &context.target);
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
    if let Some(review) = kind.review {
        if one || parts.method != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let payload = request::read(&parts.headers, body).await?;
        return reviews::review(&context, review, &payload);
    }
    if let Some(measured) = kind.measured {
        return metrics::answer(&context, measured, &parts.method).await;
    }
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
        Subresource::Eviction if post => {
            let (parts, body) = request.into_parts();
            verbs::evict(&context, request::read(&parts.headers, body).await?).await
        }
        Subresource::Scale => {
            let (parts, body) = request.into_parts();
            let payload = request::read(&parts.headers, body).await?;
            verbs::scale(&context, &parts.method, payload).await
        }
        Subresource::Finalize if put => {
            let (parts, body) = request.into_parts();
            verbs::update(&context, request::read(&parts.headers, body).await?).await
        }
        Subresource::Token if post => {
            let (parts, body) = request.into_parts();
            reviews::request_token(&context, &request::read(&parts.headers, body).await?)
        }
        Subresource::Node(stream) if post || request.method() == Method::GET => {
            streams::pass(context, stream, request).await
        }
        Subresource::Proxy(to) => streams::proxy(context, to, request).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}
