//! Certificates and kubeconfigs: who may say what to whom.
//!
//! One authority for each cluster (ECDSA P-256) signs everything. Which
//! certificates there are is decided in [`request`] from the plan alone;
//! [`inspect`] says whether a certificate on disk still serves that request;
//! this module makes those that do not. So a second `up` makes nothing, and a
//! cluster with another Service range, a new node or an old certificate gets
//! exactly what it lacks. When the authority itself is missing, unreadable or
//! near its end, everything below it is made anew: half an authority is none.
//! Beside them is the key that signs the tokens of service accounts, which no
//! certificate goes with.
//!
//! Keys are written for the one process that needs them (0600), so an API
//! server that is taken over reads its own keys and nobody else's; it never
//! has the authority's.

mod authority;
mod file;
mod inspect;
mod kubeconfig;
mod request;
mod signing_key;

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use time::OffsetDateTime;

use crate::layout::Layout;
use crate::owner::Owner;
use crate::plan::Plan;
use authority::Authority;
pub use kubeconfig::Kubeconfig;
pub use request::{Request, Usage, requests};

/// File name of the authority, in [`Layout::pki`].
pub const AUTHORITY: &str = "ca";
/// The API server's serving certificate.
pub const APISERVER: &str = "apiserver";
/// The API server's client certificate towards nodes.
pub const APISERVER_KUBELET_CLIENT: &str = "apiserver-kubelet-client";
/// The administrator's client certificate.
pub const ADMIN: &str = "admin";
/// The controllers' client certificate.
pub const CONTROLLERS: &str = "controllers";

/// The key that signs the tokens of service accounts.
pub const SERVICE_ACCOUNTS: &str = "sa";

/// Why certificates could not be made.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file or directory.
    #[error("{verb} {path}: {source}", path = .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The cryptography.
    #[error("make certificate {name}: {source}")]
    Make {
        /// Which one.
        name: String,
        /// Why it failed.
        source: rcgen::Error,
    },
    /// A kubeconfig that cannot be written as YAML.
    #[error("render kubeconfig of {user}: {source}")]
    Render {
        /// Whose.
        user: String,
        /// Why it failed.
        source: serde_yaml_ng::Error,
    },
}

/// Makes what is missing or no longer fits; returns the names of what was made.
///
/// # Errors
/// When a file cannot be read or written.
pub fn ensure(layout: &Layout, plan: &Plan, now: OffsetDateTime) -> Result<Vec<String>, PkiError> {
    file::create_dir(&layout.pki(), 0o711)?;
    file::create_dir(&layout.state.join("kubeconfigs"), 0o711)?;
    let mut made = Vec::new();
    if signing_key::ensure(layout)? {
        made.push(SERVICE_ACCOUNTS.to_owned());
    }
    let authority = match Authority::load(layout, now)? {
        Some(authority) => authority,
        None => {
            made.push(AUTHORITY.to_owned());
            Authority::make(layout, now)?
        }
    };
    for request in requests(plan) {
        let pair = match authority.load_pair(layout, &request, now)? {
            Some(pair) => pair,
            None => {
                made.push(request.file.clone());
                authority.issue(layout, &request, now)?
            }
        };
        if let Some(kubeconfig) = kubeconfig::of(layout, plan, &request, authority.pem(), &pair) {
            let (path, owner, text) =
                (kubeconfig.path.clone(), request.owner, kubeconfig.render()?);
            file::write_if_changed(&path, &text, 0o600, owner)?;
        }
    }
    Ok(made)
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Pair {
    fn write(&self, layout: &Layout, name: &str, owner: Owner) -> Result<(), PkiError> {
        file::write(&layout.key(name), &self.key, 0o600, owner)?;
        file::write(&layout.certificate(name), &self.certificate, 0o600, owner)
    }

    fn read(layout: &Layout, name: &str) -> Result<Option<Self>, PkiError> {
        let certificate = file::read(&layout.certificate(name))?;
        let key = file::read(&layout.key(name))?;
        Ok(certificate
            .zip(key)
            .map(|(certificate, key)| Self { certificate, key }))
    }
}

#[cfg(test)]
mod tests;
