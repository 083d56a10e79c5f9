//! `POST serviceaccounts/NAME/token`: a token for a service account, bound to a pod, a secret or a
//! node if the request says so, which ends with what it is bound to.

use std::sync::Arc;

use http::Response;
use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::authentication::v1::TokenRequest;
use sealane_store::Entry;
use serde_json::{Value, json};
use uuid::Uuid;

use super::created;
use crate::{
    answer::Body,
    authn::{Bound, Claims, Issuer, Reference, service_account},
    check::Findings,
    kinds::{Kind, NODE, POD, SECRET, SERVICE_ACCOUNT},
    object,
    request::{Payload, read_value},
    server::Context,
    status::ApiError,
};

/// How long a token lasts if nothing is said, and the shortest and longest that may be asked for.
const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What is asked for a pod's own token; such a one is good for a year, so that a program that
/// never reads it again goes on, and says when it should have been read again.
const POD_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Answers a TokenRequest.
///
/// # Errors
///
/// As Kubernetes: 400, 404, 409, 422.
pub fn request_token(context: &Context, payload: &Payload) -> Result<Response<Body>, ApiError> {
    let Some(issuer) = &context.server.issuer else {
        let why = "no tokens are issued here: start the API server with --service-account-key-file";
        return Err(ApiError::new(http::StatusCode::NOT_FOUND, "NotFound", why));
    };
    let decoded = object::decode::<TokenRequest>(&read_value(payload)?.value);
    let mut request = decoded
        .map_err(|cause| {
            ApiError::bad_request(format!(
                "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: {cause}"
            ))
        })?
        .value;
    locate(context, &mut request)?;
    complete(&mut request["spec"], issuer);
    validate(&request["spec"])?;
    let target = &context.target;
    let account = get(context, &SERVICE_ACCOUNT, &target.namespace, &target.name)?;
    let bound = bind(context, &request["spec"], &account)?;
    crate::admission::token(context, &request["spec"], bound.pod.as_ref())?;
    let now = Timestamp::now();
    let claims = claims(&request["spec"], bound, issuer, now);
    let token = issuer.issue(&claims).map_err(ApiError::internal)?;
    let seconds = request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(DEFAULT_SECONDS);
    request["metadata"]["creationTimestamp"] = object::time(now).into();
    request["status"] = json!({ "token": token, "expirationTimestamp": end(now, seconds) });
    Ok(created(context, &request))
}

fn end(now: Timestamp, seconds: i64) -> String {
    object::time(now.checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX))
}

/// Puts the request where the path says; its own word must not differ.
fn locate(context: &Context, request: &mut Value) -> Result<(), ApiError> {
    let target = &context.target;
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["kind"] = "TokenRequest".into();
    for (part, place, is) in [
        ("name", "service account name", &target.name),
        ("namespace", "namespace", &target.namespace),
    ] {
        let said = object::meta(request, part);
        if !said.is_empty() && said != is {
            return Err(ApiError::bad_request(format!(
                "the {place} of the provided object does not match the {place} sent on the request"
            )));
        }
        object::metadata_mut(request).insert(part.into(), is.as_str().into());
    }
    Ok(())
}

fn complete(spec: &mut Value, issuer: &Issuer) {
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
    if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
        spec["audiences"] = json!([issuer.audience()]);
    }
}

fn validate(spec: &Value) -> Result<(), ApiError> {
    let mut findings = Findings::default();
    let (field, value) = ("spec.expirationSeconds", &spec["expirationSeconds"]);
    match value.as_i64().unwrap_or(DEFAULT_SECONDS) {
        ..MIN_SECONDS => {
            findings.invalid(
                field,
                value,
                "may not specify a duration less than 10 minutes",
            );
        }
        seconds if seconds > MAX_SECONDS => {
            findings.invalid(
                field,
                value,
                "may not specify a duration larger than 2^32 seconds",
            );
        }
        _ => {}
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        "TokenRequest",
        "authentication.k8s.io",
        "",
        &findings,
    ))
}

fn get(context: &Context, kind: &Kind, namespace: &str, name: &str) -> Result<Value, ApiError> {
    let found: Option<Arc<Entry>> = context.server.store.get(&kind.key(namespace, name));
    let entry = found.ok_or_else(|| ApiError::not_found(kind, name))?;
    serde_json::from_slice(&entry.object.unpack()).map_err(ApiError::internal)
}

/// What the token is to be bound to.
fn bind(context: &Context, spec: &Value, account: &Value) -> Result<Bound, ApiError> {
    let namespace = object::namespace(account);
    let mut bound = Bound {
        namespace: namespace.into(),
        serviceaccount: reference(account),
        ..Bound::default()
    };
    let wanted = &spec["boundObjectRef"];
    if wanted.is_null() {
        return Ok(bound);
    }
    let text = |part: &str| wanted[part].as_str().unwrap_or("");
    let kind = match (text("apiVersion"), text("kind")) {
        ("v1" | "", "Pod") => &POD,
        ("v1" | "", "Secret") => &SECRET,
        ("v1" | "", "Node") => &NODE,
        (version, kind) => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    };
    let object = get(
        context,
        kind,
        if kind.namespaced { namespace } else { "" },
        text("name"),
    )?;
    let (uid, is) = (text("uid"), object::meta(&object, "uid"));
    if !uid.is_empty() && uid != is {
        return Err(ApiError::conflict(
            kind,
            text("name"),
            &format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
            ),
        ));
    }
    match kind.kind {
        "Pod" => {
            let of = object["spec"]["serviceAccountName"].as_str().unwrap_or("");
            if of != object::name(account) {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different \
                     serviceaccount name.",
                    object::name(account)
                )));
            }
            bound.node = node_of(context, &object);
            bound.pod = Some(reference(&object));
        }
        "Secret" => bound.secret = Some(reference(&object)),
        _ => bound.node = Some(reference(&object)),
    }
    Ok(bound)
}

/// The node of a pod, with its uid if it is there.
fn node_of(context: &Context, pod: &Value) -> Option<Reference> {
    let name = pod["spec"]["nodeName"]
        .as_str()
        .filter(|name| !name.is_empty())?;
    let node = get(context, &NODE, "", name).ok();
    let uid = node.as_ref().map_or("", |node| object::meta(node, "uid"));
    Some(Reference {
        name: name.into(),
        uid: uid.into(),
    })
}

fn reference(object: &Value) -> Reference {
    Reference {
        name: object::name(object).into(),
        uid: object::meta(object, "uid").into(),
    }
}

fn claims(spec: &Value, mut bound: Bound, issuer: &Issuer, now: Timestamp) -> Claims {
    let audiences = spec["audiences"].as_array().into_iter().flatten();
    let aud: Vec<String> = audiences
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let mut seconds = spec["expirationSeconds"]
        .as_i64()
        .unwrap_or(DEFAULT_SECONDS);
    let now = now.as_second();
    if seconds == POD_SECONDS && bound.pod.is_some() && aud == [issuer.audience()] {
        bound.warnafter = Some(now + POD_SECONDS);
        seconds = EXTENDED_SECONDS;
    }
    Claims {
        aud,
        exp: now + seconds,
        iat: now,
        iss: issuer.name().into(),
        jti: Uuid::new_v4().to_string(),
        sub: service_account(&bound.namespace, &bound.serviceaccount.name),
        bound,
        nbf: now,
    }
}
