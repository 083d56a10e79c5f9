//! The supervisor's socket: whoever connects gets the status as a line of JSON,
//! and another line at each change.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::snapshot::Snapshot;

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, snapshots: watch::Receiver<Snapshot>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(tell(stream, snapshots.clone())),
            Err(error) => {
                tracing::warn!("accept on the supervisor's socket: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn tell(mut stream: UnixStream, mut snapshots: watch::Receiver<Snapshot>) {
    let mut nothing = [0; 1];
    loop {
        let line = serde_json::to_string(&*snapshots.borrow_and_update()).map(|line| line + "\n");
        let Ok(line) = line else { return };
        if stream.write_all(line.as_bytes()).await.is_err() {
            return;
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            // A reader that goes away is noticed at once, not at the next change.
            read = stream.read(&mut nothing) => if !matches!(read, Ok(1..)) { return },
        }
    }
}
