//! A server for the target of whole requests.
#![cfg(feature = "request")]

use std::{fs, path::Path};

use clap::Parser;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use sealane_apiserver::{Options, fuzzing::Exchange};
use tempfile::TempDir;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// A server and the folder that it needs, in memory.
pub struct Place {
    /// First, so that it is gone before its folder.
    pub exchange: Exchange,
    _folder: TempDir,
}

impl Place {
    /// A server that has just been set up.
    ///
    /// # Panics
    ///
    /// When it cannot be.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").expect("make a folder in memory");
        certificates(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            "apiserver".into(),
            "--listen=127.0.0.1:0".into(),
            "--advertise-address=127.0.0.1:6443".into(),
            format!("--store={}", file("store.redb")),
            format!("--client-ca={}", file("ca.crt")),
            format!("--tls-cert={}", file("admin.crt")),
            format!("--tls-key={}", file("admin.key")),
            format!("--kubelet-client-cert={}", file("admin.crt")),
            format!("--kubelet-client-key={}", file("admin.key")),
            format!("--kubelet-ca={}", file("ca.crt")),
            "--service-cluster-ip-range=10.96.0.0/12,fd00:10:96::/112".into(),
            "--event-history=1000".into(),
        ];
        let options = Command::parse_from(arguments).options;
        Self {
            exchange: Exchange::start(&options),
            _folder: folder,
        }
    }
}

/// An authority, and an administrator's certificate.
fn certificates(folder: &Path) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("write a file");
    let key = KeyPair::generate().expect("make a key");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    write("ca.crt", &authority.self_signed(&key).expect("sign").pem());
    let issuer = Issuer::new(authority, key);

    let key = KeyPair::generate().expect("make a key");
    let mut admin = CertificateParams::default();
    admin.distinguished_name.push(DnType::CommonName, "admin");
    admin
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    write(
        "admin.crt",
        &admin.signed_by(&key, &issuer).expect("sign").pem(),
    );
    write("admin.key", &key.serialize_pem());
}
