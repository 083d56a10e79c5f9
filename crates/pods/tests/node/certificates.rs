//! An authority, a server's certificate, and clients who may and who may not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

type Issuer = CertifiedIssuer<'static, KeyPair>;

pub struct Certificates {
    authority: Issuer,
}

impl Certificates {
    /// Writes `ca.pem`, `server.pem` and `server.key` to a folder.
    pub fn make(dir: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let authority = Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = params.signed_by(&key, &authority).unwrap();
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        fs::write(dir.join("server.pem"), server.pem()).unwrap();
        fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
        Self { authority }
    }

    /// A client's side of TLS; with a certificate of this organization, if any.
    pub fn client(&self, organization: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(organization) = organization else {
            return Arc::new(builder.with_no_client_auth());
        };
        let (chain, key) = self.issue(organization);
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn issue(&self, organization: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "client");
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        (vec![certificate.der().clone()], key)
    }
}
