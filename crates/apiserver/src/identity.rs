//! Who a client is: the subject of its certificate.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A client that our CA vouches for: user name from the common name, groups from the
/// organizations, as kube-apiserver reads client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Common name.
    pub name: String,
    /// Organizations, and the group of all who are authenticated.
    pub groups: Vec<String>,
}

/// The group of everybody who has shown who they are.
const AUTHENTICATED: &str = "system:authenticated";

impl User {
    /// Reads the subject of a certificate; `None` if it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok());
        let groups = groups.chain([AUTHENTICATED]).map(str::to_owned).collect();
        Some(Self { name, groups }).filter(|user| !user.name.is_empty())
    }
}
