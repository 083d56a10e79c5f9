//! Edge: the requests to Amazon EC2 that pod addresses take.
//!
//! Thirteen requests, each one function of [`Ec2`], with words in and words
//! out. AWS's own crates find out who we are and sign; the requests and their
//! answers are read here. Its crate for EC2 has all of the seven hundred
//! requests, and takes five minutes and 7 GB to compile.
//!
//! Credentials are looked for where every program for AWS looks: environment,
//! profile, web identity (a service account's role), container credentials
//! (Pod Identity), and the machine's role by IMDSv2. So is the region.
//!
//! Nothing is repeated here: whoever asks knows whether it is still wanted.
#![warn(missing_docs)]

mod answer;
mod connect;
mod error;
mod requests;
mod signed;

pub use connect::{Ec2, Place};
pub use error::Error;
