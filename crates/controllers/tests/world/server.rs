//! A real API server in this process, on loopback, with certificates of its own.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use sealane_kube::{Access, Client, client};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The flags of a role, parsed as the binary parses them.
#[derive(Parser)]
struct Cli<O: clap::Args> {
    #[command(flatten)]
    options: O,
}

/// Parses the flags of a role.
pub fn flags<O: clap::Args>(flags: &[&str]) -> O {
    let line = std::iter::once("sealane").chain(flags.iter().copied());
    Cli::parse_from(line).options
}

/// An API server, its files, and an administrator's client.
pub struct Server {
    dir: tempfile::TempDir,
    address: String,
    running: Option<Running>,
    pub admin: Client,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
        }
    }
}

impl Server {
    /// Starts with an empty store.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_certificates(dir.path());
        let address = free_address();
        write_kubeconfig(dir.path(), &address);
        let access = Access::from_kubeconfig(dir.path().join("kubeconfig"));
        let mut server = Self {
            admin: client(&access, "test").await.unwrap(),
            dir,
            address,
            running: None,
        };
        server.start_again();
        server
    }

    /// The kubeconfig's path.
    pub fn kubeconfig(&self) -> String {
        self.path("kubeconfig")
    }

    fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }

    /// Ends in good order.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.shutdown.cancel();
        running.task.await.unwrap().unwrap();
    }

    /// Starts on the same store and address.
    pub fn start_again(&mut self) {
        let (cert, key, ca) = (
            self.path("server.pem"),
            self.path("server.key"),
            self.path("ca.pem"),
        );
        let options: sealane_apiserver::Options = flags(&[
            "--listen",
            &self.address,
            "--advertise-address",
            &self.address,
            "--store",
            &self.path("store.redb"),
            "--client-ca",
            &ca,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--kubelet-client-cert",
            &self.path("admin.pem"),
            "--kubelet-client-key",
            &self.path("admin.key"),
            "--kubelet-ca",
            &ca,
        ]);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(options, shutdown.clone()));
        self.running = Some(Running { shutdown, task });
    }
}

/// As a supervisor does: started again when it fails. The store of the one before may not be closed yet.
async fn run(
    options: sealane_apiserver::Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match sealane_apiserver::run(options.clone(), shutdown.clone()).await {
            Err(error) if !shutdown.is_cancelled() => {
                eprintln!("API server: {error:#}; starting it again");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ended => return ended,
        }
    }
}

/// An address whose port nobody listens on.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn make_certificates(dir: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "test");
    let key = KeyPair::generate().unwrap();
    std::fs::write(
        dir.join("ca.pem"),
        authority.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    let issuer = Issuer::new(authority, key);

    let mut server = CertificateParams::default();
    let loopback = SanType::IpAddress("127.0.0.1".parse().unwrap());
    server.subject_alt_names.push(loopback);
    issue(dir, "server", server, &issuer);

    let mut admin = CertificateParams::default();
    admin
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    admin
        .distinguished_name
        .push(DnType::CommonName, "kubernetes-admin");
    issue(dir, "admin", admin, &issuer);
}

fn issue(dir: &Path, name: &str, params: CertificateParams, issuer: &Issuer<'_, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn write_kubeconfig(dir: &Path, address: &str) {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority": "ca.pem",
        }}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {
            "client-certificate": "admin.pem",
            "client-key": "admin.key",
        }}],
    });
    std::fs::write(dir.join("kubeconfig"), config.to_string()).unwrap();
}
