//! Task: the kubelet's part on one node of the single-machine cluster.

mod backoff;
mod conditions;
mod container_spec;
mod decide;
mod desired;
mod env;
mod etc;
mod folder;
mod logs;
mod options;
mod qos;
mod quantity;
mod record;
mod review;
mod status;
mod volumes;

pub use options::Options;

use tokio_util::sync::CancellationToken;

/// Runs the node's part until `shutdown`; pods go on running without it.
///
/// # Errors
/// When it cannot start: no access to the API, unreadable certificates, ports in use.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let _ = options;
    shutdown.cancelled().await;
    Ok(())
}
