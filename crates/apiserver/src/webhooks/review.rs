//! `AdmissionReview`: the question that a webhook is asked, and its answer.

use base64::Engine as _;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{authn::User, patch::Patch, status::ApiError};

/// What a webhook says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Why not, if it says no.
    pub refusal: Option<ApiError>,
    /// What it wants people to be told.
    pub warnings: Vec<String>,
    /// The object as it wants it; none if it is well as it is.
    pub changed: Option<Value>,
}

/// Who asks, as webhooks are told.
pub fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// The question with this request.
pub fn question(request: &Value) -> Value {
    json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request })
}

/// Reads the answer of webhook `name` about `object`.
///
/// # Errors
///
/// What makes it none.
pub fn answer(name: &str, uid: &str, bytes: &[u8], object: &Value) -> Result<Verdict, String> {
    let review: Value = serde_json::from_slice(bytes).map_err(|cause| cause.to_string())?;
    let (version, kind) = (&review["apiVersion"], &review["kind"]);
    if version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
            shown(version),
            shown(kind)
        ));
    }
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    if response["uid"] != uid {
        return Err(format!(
            "expected response.uid={uid:?}, got {}",
            response["uid"]
        ));
    }
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let mut verdict = Verdict {
        warnings: warnings
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        ..Verdict::default()
    };
    if response["allowed"] != json!(true) {
        verdict.refusal = Some(refusal(name, &response["status"]));
    } else if !response["patch"].is_null() {
        verdict.changed = Some(patched(response, object)?);
    }
    Ok(verdict)
}

fn patched(response: &Value, object: &Value) -> Result<Value, String> {
    if response["patchType"] != "JSONPatch" {
        return Err(format!(
            "webhook returned response.patch but not response.patchType=JSONPatch, got {}",
            response["patchType"]
        ));
    }
    let text = response["patch"].as_str().unwrap_or("");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    let bytes = bytes.map_err(|cause| format!("decode response.patch: {cause}"))?;
    let patch = Patch::parse("application/json-patch+json", &bytes);
    let patch = patch.map_err(|cause| cause.to_string())?;
    let changed = patch.apply(object.clone(), None);
    changed.map_err(|cause| cause.to_string())
}

fn refusal(name: &str, status: &Value) -> ApiError {
    let said = |part: &str| status[part].as_str().filter(|text| !text.is_empty());
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (said("message"), said("reason")) {
        (Some(why), _) | (None, Some(why)) => format!("{denied}: {why}"),
        (None, None) => format!("{denied} without explanation"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| code.try_into().ok());
    let code = code.and_then(|code: u16| StatusCode::from_u16(code).ok());
    let code = code.filter(|code| code.is_client_error() || code.is_server_error());
    let code = code.unwrap_or(StatusCode::BAD_REQUEST);
    let known = [
        "BadRequest",
        "Conflict",
        "Forbidden",
        "InternalError",
        "Invalid",
        "NotFound",
        "Unauthorized",
    ];
    let reason = said("reason").and_then(|said| known.into_iter().find(|known| *known == said));
    ApiError::new(code, reason.unwrap_or(""), message)
}

fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(response: Value) -> Result<Verdict, String> {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        answer(
            "w.x.io",
            "u",
            review.to_string().as_bytes(),
            &json!({"a": 1}),
        )
    }

    #[test]
    fn answers_are_read() {
        let allowed = said(json!({"uid": "u", "allowed": true, "warnings": ["careful"]})).unwrap();
        assert_eq!((allowed.refusal, allowed.changed), (None, None));
        assert_eq!(allowed.warnings, ["careful"]);
        let patch = base64::engine::general_purpose::STANDARD
            .encode(r#"[{"op": "add", "path": "/b", "value": 2}]"#);
        let changed =
            said(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": patch}))
                .unwrap();
        assert_eq!(changed.changed, Some(json!({"a": 1, "b": 2})));
        for (status, code, message) in [
            (
                json!(null),
                400,
                "admission webhook \"w.x.io\" denied the request without explanation",
            ),
            (
                json!({"message": "no", "code": 403}),
                403,
                "admission webhook \"w.x.io\" denied the request: no",
            ),
            (
                json!({"message": "no", "code": 806}),
                400,
                "admission webhook \"w.x.io\" denied the request: no",
            ),
            (
                json!({"reason": "Forbidden", "code": 200}),
                400,
                "admission webhook \"w.x.io\" denied the request: Forbidden",
            ),
        ] {
            let refused = said(json!({"uid": "u", "allowed": false, "status": status}));
            let refusal = refused.unwrap().refusal.unwrap();
            assert_eq!(
                (refusal.code.as_u16(), refusal.message.as_str()),
                (code, message)
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (response, expected) in [
            (
                json!({"uid": "v", "allowed": true}),
                "expected response.uid=\"u\", got \"v\"",
            ),
            (json!(null), "webhook response was absent"),
            (
                json!({"uid": "u", "allowed": true, "patch": "W10="}),
                "webhook returned response.patch but not response.patchType=JSONPatch, got null",
            ),
        ] {
            assert_eq!(said(response), Err(expected.to_owned()));
        }
        let other = answer("w", "u", b"{}", &Value::Null).unwrap_err();
        assert_eq!(
            other,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got , Kind="
        );
    }
}
