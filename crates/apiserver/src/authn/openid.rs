//! What others need to verify our tokens (OpenID Connect Discovery 1.0 §3, as far as Kubernetes
//! serves it).

use http::{Response, StatusCode};
use serde_json::json;

use super::Issuer;
use crate::answer::{self, Body};

/// Answers a path of OpenID; `None` if it is none.
pub fn answer(issuer: &Issuer, parts: &[&str]) -> Option<Response<Body>> {
    let (content_type, document) = match parts {
        [".well-known", "openid-configuration"] => (
            "application/json",
            json!({
                "issuer": issuer.name(),
                "jwks_uri": format!("{}/openid/v1/jwks", issuer.name()),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        ),
        ["openid", "v1", "jwks"] => (
            "application/jwk-set+json",
            json!({ "keys": [issuer.jwk()] }),
        ),
        _ => return None,
    };
    let body = answer::full(document.to_string());
    Some(answer::respond(StatusCode::OK, content_type, body))
}
