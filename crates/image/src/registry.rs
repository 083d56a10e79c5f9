//! A client of registries (OCI distribution spec 1.1, pull only).
//!
//! ```text
//!   reference ──► endpoints: mirrors, then the registry itself
//!                     │ each: https, or http where it may
//!                     ▼
//!                  session ──► 401 ──► challenge ──► token or password, credential by credential
//!                     ├──► manifest, index ──► this platform's manifest ──► configuration
//!                     └──► blobs, several at once, resumed by Range
//! ```
//!
//! Own code over `ureq` rather than `oci-client`: that one is asynchronous over `reqwest`, whose
//! TLS comes with a second cryptographic library, and it neither resumes a blob nor tries several
//! credentials, which a pod with several pull secrets needs. `ureq` blocks, which suits a command
//! that ends; it brings TLS by the rustls that is here already, proxies by environment and a time
//! limit for each read. hyper would have needed all three around it.

mod certificates;
mod challenge;
mod config;
mod endpoint;
mod fault;
mod keyring;
mod session;

pub(crate) use challenge::Challenge;
pub use config::{Registries, Registry};
pub(crate) use endpoint::endpoints;
pub(crate) use fault::Fault;
pub use fault::PullError;
pub use keyring::{Keyring, KeyringError};
pub(crate) use session::{Session, Wanted};
