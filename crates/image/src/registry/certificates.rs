//! Whom we believe to be a registry.
//!
//! This machine's authorities (or those of `SSL_CERT_FILE`), those that were given, and those that
//! Docker and containerd are given for a host in `/etc/docker/certs.d/HOST/*.crt` and
//! `/etc/containerd/certs.d/HOST/*.crt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::config::Registries;
use super::endpoint::Endpoint;
use crate::error::Error;

const DIRS: [&str; 2] = ["/etc/docker/certs.d", "/etc/containerd/certs.d"];

/// How a connection to this server is secured.
pub(super) fn tls(endpoint: &Endpoint, registries: &Registries) -> Result<TlsConfig, Error> {
    let mut roots = Vec::new();
    if !endpoint.unverified {
        let native = rustls_native_certs::load_native_certs();
        roots.extend(
            native
                .certs
                .iter()
                .map(|der| Certificate::from_der(der).to_owned()),
        );
        let said = registries.of(&endpoint.host).ca;
        let mirrored = endpoint
            .mirrored
            .iter()
            .flat_map(|name| registries.of(name).ca);
        for path in registries
            .ca
            .iter()
            .cloned()
            .chain(said)
            .chain(mirrored)
            .chain(beside_docker(&endpoint.host))
        {
            roots.extend(read(&path)?);
        }
    }
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .disable_verification(endpoint.unverified)
        .build())
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let bytes = fs::read(path).map_err(Error::io("read certificate authority", path))?;
    let found: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let error = std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "it holds no certificate in PEM form",
        );
        return Err(Error::io("read certificate authority", path)(error));
    }
    Ok(found)
}

fn beside_docker(host: &str) -> Vec<PathBuf> {
    let dirs = DIRS.iter().map(|dir| Path::new(dir).join(host));
    let files = dirs
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect()
}
