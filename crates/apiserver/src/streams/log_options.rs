//! What may be asked of a log (`PodLogOptions`).

use serde_json::json;

use crate::{check::Findings, request::Query, status::ApiError};

/// Checks the parameters of a request for a log.
///
/// # Errors
///
/// 400 for what is no number, 422 for one that makes no sense.
pub fn check(pod: &str, query: &Query) -> Result<(), ApiError> {
    let mut findings = Findings::default();
    for (name, least, detail) in [
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
        ("tailLines", 0, "must be greater than or equal to 0"),
    ] {
        if let Some(number) = query.number::<i64>(name)?
            && number < least
        {
            findings.invalid(name, &json!(number), detail);
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        findings.forbidden("", why);
    }
    for flag in ["follow", "previous", "timestamps"] {
        query.flag(flag)?;
    }
    match findings.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("PodLogOptions", "", pod, &findings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let said = |query: &str| match check("p", &Query::parse(Some(query))) {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.message,
        };
        for (query, expected) in [
            (
                "tailLines=0&limitBytes=1&sinceSeconds=1&follow=true",
                "fine",
            ),
            (
                "tailLines=-1",
                "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than \
                 or equal to 0",
            ),
            (
                "limitBytes=0",
                "PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
            ),
        ] {
            assert_eq!(said(query), expected);
        }
        let both = said("sinceSeconds=1&sinceTime=2026-11-21T00:00:00Z");
        assert!(
            both.contains("at most one of `sinceTime` or `sinceSeconds`"),
            "{both}"
        );
        assert_ne!(said("tailLines=x"), "fine");
    }
}
