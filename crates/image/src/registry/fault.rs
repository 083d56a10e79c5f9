//! What can go wrong with a registry.

use thiserror::Error;

use crate::error::Error;
use crate::reference::Reference;

/// Why an image was not pulled.
#[derive(Debug, Error)]
pub enum PullError {
    /// There is no such image.
    #[error(
        "pull {reference}: {host} has no such image ({answer}); check the repository and the tag"
    )]
    NotFound {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// What it said.
        answer: String,
    },
    /// It is not for us.
    #[error(
        "pull {reference}: {host} refused access {who} ({answer}); the repository does not exist or needs other credentials: \
         give a pod imagePullSecrets, or log in with `docker login {host}`"
    )]
    Denied {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// As whom we came.
        who: String,
        /// What it said.
        answer: String,
    },
    /// Too many requests, also after waiting.
    #[error(
        "pull {reference}: {host} lets us ask no more for now ({answer}); wait, log in, or use a mirror"
    )]
    RateLimited {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// What it said.
        answer: String,
    },
    /// Nobody answered, or the server is out of order.
    #[error("pull {reference}: cannot reach {host}: {cause}")]
    Unreachable {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// Why not.
        cause: String,
    },
    /// The server is not who it should be.
    #[error(
        "pull {reference}: {host} is not trusted: {cause}; give the authority of its certificate with --registry-ca FILE, \
         or allow anybody's with --insecure-registry {host}"
    )]
    Untrusted {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// Why not.
        cause: String,
    },
    /// It answered something that we cannot use.
    #[error("pull {reference}: {host}: {cause}")]
    Answer {
        /// What was asked for.
        reference: Box<Reference>,
        /// Who was asked.
        host: String,
        /// What is wrong with it.
        cause: String,
    },
    /// What came cannot be kept or used.
    #[error("pull {reference}: {source}")]
    Store {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why not.
        source: Error,
    },
    /// What was said about registries makes no sense.
    #[error("pull {reference}: {cause}")]
    Config {
        /// What was asked for.
        reference: Box<Reference>,
        /// What is wrong.
        cause: String,
    },
}

impl PullError {
    /// Whether trying again later may help without anybody changing anything.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// What went wrong with one request, before it is said which image it was for.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A status, and what came with it.
    Status { code: u16, answer: String },
    /// No answer.
    Transport(String),
    /// A certificate that is not trusted.
    Certificate(String),
    /// An answer that cannot be used.
    Answer(String),
    /// This machine.
    Store(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    pub(crate) fn about(self, reference: &Reference, host: &str, who: &str) -> PullError {
        let (reference, host) = (Box::new(reference.clone()), host.to_owned());
        match self {
            Self::Status { code: 404, answer } => PullError::NotFound {
                reference,
                host,
                answer,
            },
            Self::Status {
                code: 401 | 403,
                answer,
            } => PullError::Denied {
                reference,
                host,
                who: who.to_owned(),
                answer,
            },
            Self::Status { code: 429, answer } => PullError::RateLimited {
                reference,
                host,
                answer,
            },
            Self::Status {
                code: 500..,
                answer,
            } => PullError::Unreachable {
                reference,
                host,
                cause: format!("it answers {answer}"),
            },
            Self::Status { answer, .. } => PullError::Answer {
                reference,
                host,
                cause: format!("it answers {answer}"),
            },
            Self::Transport(cause) => PullError::Unreachable {
                reference,
                host,
                cause,
            },
            Self::Certificate(cause) => PullError::Untrusted {
                reference,
                host,
                cause,
            },
            Self::Answer(cause) => PullError::Answer {
                reference,
                host,
                cause,
            },
            Self::Store(source) => PullError::Store { reference, source },
        }
    }
}
