//! The server as a process of its own, driven by clients that are not ours: kubectl and `kube`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod access;
mod apply;
mod autoscaling;
mod batch;
mod caches;
mod charts;
mod corpus;
mod crashes;
mod custom;
mod deletion;
mod disk;
mod durability;
mod explain;
mod harness;
mod hostile;
mod kubectl;
mod measure;
mod measure_many;
mod metrics;
mod networking;
mod pki;
mod quota;
mod requests;
mod rollout;
mod scale;
mod semantics;
mod streams;
mod watchers;
mod webhooks;
mod workloads;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: sealane_apiserver::Options,
}

/// Not a test: this program run again by the harness, as the server. A process of its own can be
/// killed.
#[test]
fn server_process() {
    let Ok(arguments) = std::env::var(harness::ARGUMENTS) else {
        return;
    };
    let Command { options } = Command::parse_from(arguments.lines());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let end = CancellationToken::new();
    let served = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let asked = end.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            asked.cancel();
        });
        sealane_apiserver::run(options, end).await
    });
    if let Err(cause) = served {
        // As the binary says it.
        eprintln!("error: {cause:#}");
        std::process::exit(1);
    }
}
