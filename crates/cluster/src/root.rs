//! Whether this process may do what the command needs.

use nix::unistd::Uid;

/// Refuses anybody but root, before anything is touched.
///
/// # Errors
/// With what to type instead.
pub fn require(command: &str) -> anyhow::Result<()> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    anyhow::bail!(
        "sealane {command} makes network namespaces, links and routes and needs root for that: \
         run `sudo sealane {command}`"
    )
}
