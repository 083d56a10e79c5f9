//! A user, as authorization sees one.

use std::collections::BTreeMap;

use ring::digest;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group of everybody who has shown who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who has not, and the name of all of them.
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
/// The group that may do everything.
const MASTERS: &str = "system:masters";
/// What the certificate or the token was, for logs.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Somebody, or some process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Identity over time; empty if there is none.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known, each with a name.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Whom a certificate that our authority has signed names, as kube-apiserver reads it: user
    /// name from the common name, groups from the organizations. `None` if it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let fingerprint = digest::digest(&digest::SHA256, certificate.as_ref());
        let fingerprint: String = fingerprint
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok());
        let groups = groups.chain([AUTHENTICATED]).map(str::to_owned).collect();
        let credential = (
            CREDENTIAL.to_owned(),
            vec![format!("X509SHA256={fingerprint}")],
        );
        Some(Self {
            name,
            groups,
            extra: BTreeMap::from([credential]),
            ..Self::default()
        })
        .filter(|user| !user.name.is_empty())
    }

    /// Whoever shows nothing.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// Whether the user belongs to a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }

    /// Whether the user may do everything.
    pub fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    /// Adds the word by which logs know the token.
    pub fn with_token(mut self, id: &str) -> Self {
        self.extra
            .insert(CREDENTIAL.into(), vec![format!("JTI={id}")]);
        self
    }

    /// The user as `UserInfo` of `authentication.k8s.io/v1`.
    pub fn info(&self) -> Value {
        let mut info = json!({ "username": self.name });
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The user name of a service account.
pub fn service_account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
