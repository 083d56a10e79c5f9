//! An authority and certificates for one test.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Signs certificates and writes them to a folder.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate (PEM).
    pub authority: String,
}

/// A certificate and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let authority = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            authority,
        }
    }

    /// A client's certificate.
    pub fn client(&self, name: &str, group: &str) -> Pair {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
        self.sign(params, name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate of a server on this machine.
    pub fn server(&self) -> Pair {
        self.server_of(&["127.0.0.1", "localhost"])
    }

    /// A certificate of a server with these names.
    pub fn server_of(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        self.sign(params, "test server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Pair {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair {
            certificate,
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.crt")), &self.certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}
