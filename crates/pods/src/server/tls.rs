//! Who may ask for logs and exec: clients with a certificate of our authority
//! that makes them `system:masters`, as the API server's own client certificate does.
//!
//! Nodes and agents have certificates of the same authority; they must not be
//! able to run commands in each other's pods, hence the look at the subject.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group whose members may do everything.
const MASTERS: &str = "system:masters";

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or keys that cannot be used.
    #[error("read {what} from {path}: {reason}", path = path.display())]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate, key and authority do not make a server.
    #[error("serve with certificate {path}: {reason}", path = path.display())]
    Config {
        /// The certificate.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The three files.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The server's certificate chain.
    pub cert: &'a Path,
    /// Its key.
    pub key: &'a Path,
    /// The authority of clients.
    pub client_ca: &'a Path,
}

/// A server that wants a certificate from its clients.
///
/// # Errors
/// When a file is missing or wrong.
pub fn config(files: Files<'_>) -> Result<ServerConfig, TlsError> {
    let wrong = |reason: String| TlsError::Config {
        path: files.cert.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("certificate authority", files.client_ca)? {
        roots
            .add(authority)
            .map_err(|error| wrong(error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("certificate", files.cert)?, key(files.key)?)
        .map_err(|error| wrong(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether the client's certificate names it a member of `system:masters`.
pub fn is_master(chain: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(own) = chain.and_then(|chain| chain.first()) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(own) else {
        return false;
    };
    let mut groups = certificate.subject().iter_organization();
    groups.any(|group| group.as_str() == Ok(MASTERS))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match parsed {
        Ok(all) if all.is_empty() => Err(wrong(what, path, "it holds no certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(what, path, &error.to_string())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong("key", path, &error.to_string()))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error: io::Error| wrong(what, path, &error.to_string()))
}

fn wrong(what: &'static str, path: &Path, reason: &str) -> TlsError {
    TlsError::File {
        what,
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
