//! Errors as clients see them: `Status` objects, in Kubernetes' own words.
//!
//! The texts and reasons are those of `k8s.io/apimachinery/pkg/api/errors`; kubectl and client
//! libraries match on the reason, people on the words.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{check::Findings, kinds::Kind};

/// An error of the API: what the client is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub code: StatusCode,
    /// The word that programs match on.
    pub reason: &'static str,
    /// The sentence that people read.
    pub message: String,
    /// Name, group, kind, causes; or null.
    pub details: Value,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: what the client shows is not good.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403: `RESOURCE "NAME" is forbidden: WHY`.
    pub fn forbidden(kind: &Kind, name: &str, why: impl AsRef<str>) -> Self {
        let message = format!(
            "{} {name:?} is forbidden: {}",
            kind.qualified(),
            why.as_ref()
        );
        Self::of(StatusCode::FORBIDDEN, "Forbidden", kind, name, message)
    }

    /// 403 for a resource that may be none of ours.
    pub fn forbidden_resource(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let mut of = resource.to_owned();
        let mut details = json!({ "kind": resource });
        if !group.is_empty() {
            of = format!("{of}.{group}");
            details["group"] = group.into();
        }
        if !name.is_empty() {
            of = format!("{of} {name:?}");
            details["name"] = name.into();
        }
        let message = format!("{of} is forbidden: {why}");
        Self {
            details,
            ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
        }
    }

    /// 403 for a path that is no resource.
    pub fn forbidden_path(why: &str) -> Self {
        let message = format!("forbidden: {why}");
        Self {
            details: json!({}),
            ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
        }
    }

    /// 404: `RESOURCE "NAME" not found`.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.qualified());
        Self::of(StatusCode::NOT_FOUND, "NotFound", kind, name, message)
    }

    /// 404: there is no such resource here, said by name.
    pub fn no_such_resource(what: &str) -> Self {
        let message = format!("the server could not find the requested resource ({what})");
        Self {
            details: json!({}),
            ..Self::new(StatusCode::NOT_FOUND, "NotFound", message)
        }
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 409: `RESOURCE "NAME" already exists`.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified());
        Self::of(StatusCode::CONFLICT, "AlreadyExists", kind, name, message)
    }

    /// 409: `Operation cannot be fulfilled on RESOURCE "NAME": WHY`.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.qualified()
        );
        Self::of(StatusCode::CONFLICT, "Conflict", kind, name, message)
    }

    /// 409: somebody else was faster.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    /// 410: the client has to list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
    }

    /// 415, naming what is understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    /// 406, naming what can be had.
    pub fn not_acceptable(offered: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            offered.join(", ")
        );
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 422: `KIND.GROUP "NAME" is invalid: …`, with each finding as a cause.
    pub fn invalid(kind: &str, group: &str, name: &str, findings: &Findings) -> Self {
        let qualified = match group {
            "" => kind.to_owned(),
            group => format!("{kind}.{group}"),
        };
        let message = format!("{qualified} {name:?} is invalid: {findings}");
        let mut details = json!({ "name": name, "kind": kind, "causes": findings.causes() });
        if !group.is_empty() {
            details["group"] = group.into();
        }
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        Self {
            details,
            ..Self::new(code, "Invalid", message)
        }
    }

    /// 500: our fault, or the disk's.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503: the other side of a proxied request, or we ourselves, cannot answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    fn of(
        code: StatusCode,
        reason: &'static str,
        kind: &Kind,
        name: &str,
        message: String,
    ) -> Self {
        Self {
            details: details(kind, name),
            ..Self::new(code, reason, message)
        }
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// Which object a `Status` speaks of. Its "kind" is the plural name, as Kubernetes has it.
pub fn details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({ "kind": kind.plural });
    if !name.is_empty() {
        details["name"] = name.into();
    }
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    details
}

/// The `Status` of a deletion that is complete.
pub fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = details(kind, name);
    details["uid"] = uid.into();
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}
