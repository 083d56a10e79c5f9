//! What all daemons have in common: logging, a runtime, and an end on request.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use nix::sys::prctl;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Variable that sets the log level where the flag does not.
const LOG_VARIABLE: &str = "SEALANE_LOG";

/// Runs a daemon on one thread until it ends, or is asked to by SIGTERM or SIGINT.
///
/// One thread, since a node runs several daemons side by side, and each of them
/// mostly waits.
///
/// # Errors
/// What the daemon fails with.
pub fn run<F>(
    name: &str,
    log_level: Option<String>,
    daemon: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    announce(name, log_level)?;
    runtime()?.block_on(async {
        let shutdown = asked_to_end()?;
        tokio::spawn(sealane_introspect::keep_small());
        daemon(shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up how a daemon is seen: its log, and its name in `ps` and `top`.
///
/// # Errors
/// When the log level makes no sense.
pub fn announce(name: &str, log_level: Option<String>) -> anyhow::Result<()> {
    show_as(name);
    log(name, log_level, "info")
}

/// A runtime on this thread alone.
///
/// # Errors
/// When the system refuses what it needs.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

/// Sets logging up: by flag, by environment, else by default.
///
/// # Errors
/// When the level makes no sense.
pub fn log(name: &str, level: Option<String>, default: &str) -> anyhow::Result<()> {
    let level = level
        .or_else(|| std::env::var(LOG_VARIABLE).ok())
        .filter(|level| !level.is_empty())
        .unwrap_or_else(|| default.to_owned());
    Ok(sealane_introspect::init_logging(name, &level)?)
}

/// A token that is cancelled by the first SIGTERM or SIGINT, or by the end of the terminal.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn asked_to_end() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let end = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        end.cancel();
    });
    Ok(token)
}

/// Without this `ps` would show `exe`: the supervisor starts `/proc/self/exe`.
fn show_as(name: &str) {
    if let Ok(name) = std::ffi::CString::new(format!("sealane-{name}")) {
        _ = prctl::set_name(&name);
    }
}
