/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// EC2 said no.
    #[error("{action}: {code}: {message}")]
    Refused {
        /// Such as `AssignPrivateIpAddresses`.
        action: &'static str,
        /// EC2's word for why.
        code: String,
        /// The same in a sentence.
        message: String,
    },
    /// No answer.
    #[error(
        "{action} at {endpoint}: {cause}; is there a way from this node to it (NAT gateway, or a VPC endpoint for EC2)?"
    )]
    Unreachable {
        /// Such as `AssignPrivateIpAddresses`.
        action: &'static str,
        /// Where it was asked.
        endpoint: String,
        /// What the system said.
        cause: String,
    },
    /// Nobody says who we are.
    #[error(
        "find credentials for EC2: {cause}; give the node's role or the agent's service account the policy of docs/cloud.md"
    )]
    Credentials {
        /// What was tried.
        cause: String,
    },
    /// Where this machine is, is not known.
    #[error(
        "find {what} of this machine by IMDS: {cause}; is this an EC2 instance, and is its hop limit 2 for a pod? {flag} says it as well"
    )]
    Place {
        /// Region or instance id.
        what: &'static str,
        /// What went wrong.
        cause: String,
        /// The flag that would say it.
        flag: &'static str,
    },
    /// An answer that is not what the API's reference says.
    #[error("read the answer to {action}: {cause}")]
    Answer {
        /// Such as `AssignPrivateIpAddresses`.
        action: &'static str,
        /// What was expected.
        cause: String,
    },
}

impl Error {
    /// EC2's own word, where it has answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
