//! What to tell a person about a failed request, and what to conclude from it.

use std::error::Error as _;
use std::fmt;

use kube::Error;

use crate::Unreachable;

/// An error of `kube` in our words: the server's own message, or which server could not be reached and why.
pub struct Explained<'a>(&'a Error);

/// Shows an error to people; `kube`'s own text repeats itself in debug form.
pub fn explain(error: &Error) -> Explained<'_> {
    Explained(error)
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::Api(status) if status.message.is_empty() => {
                write!(
                    f,
                    "the API server answered {} {}",
                    status.code, status.reason
                )
            }
            Error::Api(status) => write!(f, "{} ({})", status.message, status.code),
            Error::Service(error) => write!(f, "{error}"),
            other => {
                write!(f, "{other}")?;
                let mut cause = other.source().and_then(|first| first.source());
                while let Some(inner) = cause {
                    write!(f, ": {inner}")?;
                    cause = inner.source();
                }
                Ok(())
            }
        }
    }
}

/// The object, or the kind, does not exist.
pub fn is_not_found(error: &Error) -> bool {
    has_code(error, 404)
}

/// The user may not do this.
pub fn is_forbidden(error: &Error) -> bool {
    has_code(error, 403)
}

/// The object exists already, or changed since it was read.
pub fn is_conflict(error: &Error) -> bool {
    has_code(error, 409)
}

/// No answer, or one that says "not now": worth trying again unchanged.
pub fn is_unreachable(error: &Error) -> bool {
    match error {
        Error::Api(status) => matches!(status.code, 429 | 500..=599),
        Error::Service(source) => source.downcast_ref::<Unreachable>().is_some(),
        Error::HyperError(_) | Error::ReadEvents(_) => true,
        _ => false,
    }
}

fn has_code(error: &Error, code: u16) -> bool {
    matches!(error, Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> Error {
        Error::Api(Box::new(Status {
            code,
            reason: reason.into(),
            message: message.into(),
            ..Status::default()
        }))
    }

    #[test]
    fn the_servers_own_words_are_shown() {
        let error = api(404, "NotFound", r#"pods "a" not found"#);
        assert_eq!(explain(&error).to_string(), r#"pods "a" not found (404)"#);
        assert!(is_not_found(&error) && !is_conflict(&error) && !is_unreachable(&error));
        let silent = api(503, "ServiceUnavailable", "");
        assert_eq!(
            explain(&silent).to_string(),
            "the API server answered 503 ServiceUnavailable"
        );
        assert!(is_unreachable(&silent));
    }
}
