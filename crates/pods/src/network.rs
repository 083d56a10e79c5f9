//! Whether pods can be wired: the CNI configuration that the node's agent installs.
//!
//! The node is Ready once there is one, as with any container runtime, and it is
//! noticed at once, since a cluster that comes up waits for exactly this.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sealane_cni::invoke::{NetworkConf, load_conflist};
use tokio::sync::watch;

use crate::inotify::Changes;

/// The configuration in force, or why there is none.
pub type Network = Result<Arc<NetworkConf>, String>;

/// Pause after the folder could not be watched (it was removed, or no watches are left).
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the configuration in `dir` for as long as this runtime lives.
pub fn follow(dir: PathBuf) -> watch::Receiver<Network> {
    let (sender, receiver) = watch::channel(load(&dir));
    tokio::spawn(async move {
        while !sender.is_closed() {
            if let Err(error) = watch_folder(&dir, &sender).await {
                tracing::warn!("watch CNI configuration folder {}: {error}", dir.display());
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    receiver
}

async fn watch_folder(dir: &Path, sender: &watch::Sender<Network>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut changes = Changes::of_folder(dir)?;
    loop {
        let network = load(dir);
        sender.send_if_modified(|known| replace(known, network));
        changes.changed().await?;
        if !dir.exists() {
            sender.send_if_modified(|known| replace(known, load(dir)));
            return Ok(());
        }
    }
}

fn replace(known: &mut Network, new: Network) -> bool {
    let changed = *known != new;
    *known = new;
    changed
}

fn load(dir: &Path) -> Network {
    load_conflist(dir)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFLIST: &str = r#"{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"sealane"}]}"#;
    const DEADLINE: Duration = Duration::from_secs(10);

    async fn until(receiver: &mut watch::Receiver<Network>, wanted: fn(&Network) -> bool) {
        let seen = tokio::time::timeout(DEADLINE, receiver.wait_for(wanted));
        seen.await.expect("in time").expect("the task lives");
    }

    #[tokio::test]
    async fn a_configuration_is_noticed_when_it_comes_and_goes() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("net.d");
        let mut receiver = follow(dir.clone());
        assert!(receiver.borrow().is_err(), "nothing is there yet");
        let ready = Duration::from_millis(1);
        while !dir.exists() {
            tokio::time::timeout(DEADLINE, tokio::time::sleep(ready))
                .await
                .unwrap();
        }
        fs::write(dir.join(".tmp"), CONFLIST).unwrap();
        fs::rename(dir.join(".tmp"), dir.join("10-sealane.conflist")).unwrap();
        until(&mut receiver, Result::is_ok).await;
        fs::write(dir.join("10-sealane.conflist"), "{").unwrap();
        until(&mut receiver, Result::is_err).await;
        fs::write(dir.join("10-sealane.conflist"), CONFLIST).unwrap();
        until(&mut receiver, Result::is_ok).await;
        fs::remove_file(dir.join("10-sealane.conflist")).unwrap();
        until(&mut receiver, Result::is_err).await;
    }
}
