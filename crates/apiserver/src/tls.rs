//! TLS: our certificate, and which client certificates count.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::Options;

/// What accepts connections: a client may show a certificate of our authority, or none; another
/// is refused in the handshake.
pub fn acceptor(options: &Options) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(&options.client_ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .allow_unauthenticated()
        .build()
        .with_context(|| format!("use {} to verify clients", options.client_ca.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&options.tls_cert)?, key(&options.tls_key)?)
        .with_context(|| {
            let (cert, key) = (options.tls_cert.display(), options.tls_key.display());
            format!("use the certificate {cert} with the key {key}")
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificates of an authority.
pub fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added
            .with_context(|| format!("read {}: use a certificate as authority", path.display()))?;
    }
    Ok(roots)
}

/// The certificates in a PEM file; at least one.
pub fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("read certificates from {}", path.display()))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "{} holds no PEM certificate",
        path.display()
    );
    Ok(certificates)
}

/// The private key in a PEM file.
pub fn key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("read a private key from {}", path.display()))
}
