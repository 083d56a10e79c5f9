//! Whose token is this?

use jiff::Timestamp;
use serde_json::{Value, json};

use super::invalid;
use crate::{authn, check::Findings, server::Context, status::ApiError};

/// The user of the token, or why there is none.
pub fn status(context: &Context, review: &Value) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    let token = spec["token"].as_str().unwrap_or("");
    if token.is_empty() {
        let mut findings = Findings::default();
        findings.required("spec.token", "");
        invalid(context, &findings)?;
    }
    let server = &context.server;
    let Some(issuer) = &server.issuer else {
        return Ok(json!({ "error": "no tokens are issued here" }));
    };
    let asked: Vec<&str> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let audiences = if asked.is_empty() {
        vec![issuer.audience()]
    } else {
        asked
    };
    let now = Timestamp::now();
    let found = issuer.verify(token, &audiences, now).and_then(|claims| {
        let user = authn::check(&server.store, &claims, now)?;
        Ok((claims, user))
    });
    Ok(match found {
        Err(why) => json!({ "user": {}, "error": format!("[invalid bearer token, {why}]") }),
        Ok((claims, user)) => json!({
            "authenticated": true,
            "user": user.info(),
            "audiences": audiences.iter().filter(|one| claims.aud.iter().any(|aud| aud == *one)).collect::<Vec<_>>(),
        }),
    })
}
