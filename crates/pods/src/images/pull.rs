//! Edge: pulling images, each in a process of its own that ends with the pull: a
//! layer on its way takes megabytes, and a node keeps none of them.
//!
//! ```text
//! workers ──pull──> one lock for each image ──> a place of a few ──> sealane image pull
//! ```
//!
//! Pods that want the same image wait for one pull of it, and pods that want
//! another do not wait for that. Credentials go in by standard input, which
//! nobody else can see.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sealane_image::{Reference, Store};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Mutex as Turn, Semaphore};

use super::{Refusal, UNAVAILABLE};

/// Pulls that run side by side.
const PLACES: usize = 4;
/// The exit code for a registry that does not answer.
const UNREACHABLE: i32 = 4;
/// Longest message that is kept.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Pulls the images of a node.
pub struct Puller {
    store: Store,
    program: PathBuf,
    places: Semaphore,
    turns: Mutex<BTreeMap<String, Weak<Turn<()>>>>,
}

/// A pull that has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// How long the pull took, unless another pod's had already brought the image.
    pub pulling: Option<Duration>,
    /// The same with the wait for its turn.
    pub all: Duration,
    /// Size of the image, as registries count it.
    pub bytes: u64,
}

impl Pulled {
    /// The Event `Pulled`.
    pub fn told(&self, name: &str) -> Option<String> {
        let (pulling, all) = (in_words(self.pulling?), in_words(self.all));
        let bytes = self.bytes;
        Some(format!(
            "Successfully pulled image \"{name}\" in {pulling} ({all} including waiting). Image size: {bytes} bytes."
        ))
    }
}

/// As Go prints a duration that is rounded to milliseconds.
fn in_words(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis @ 1000..60_000 => format!("{}s", millis as f64 / 1e3),
        millis => format!("{}m{}s", millis / 60_000, (millis % 60_000) as f64 / 1e3),
    }
}

impl Puller {
    /// A puller into this store, which runs the running program.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            program: PathBuf::from("/proc/self/exe"),
            places: Semaphore::new(PLACES),
            turns: Mutex::default(),
        }
    }

    /// Pulls an image; with `always` also one that is here.
    ///
    /// # Errors
    /// The registry's or the network's reason, fit for `ErrImagePull`.
    pub async fn pull(
        &self,
        reference: &Reference,
        configs: &[String],
        always: bool,
    ) -> Result<Pulled, Refusal> {
        let asked = Instant::now();
        let turn = self.turn(reference);
        let _turn = turn.lock().await;
        if !always && let Some(bytes) = self.size(reference).await {
            return Ok(Pulled {
                pulling: None,
                all: asked.elapsed(),
                bytes,
            });
        }
        let _place = self.places.acquire().await.map_err(Refusal::pull)?;
        let begun = Instant::now();
        self.run(reference, configs).await?;
        Ok(Pulled {
            pulling: Some(begun.elapsed()),
            all: asked.elapsed(),
            bytes: self.size(reference).await.unwrap_or_default(),
        })
    }

    /// One pull of an image at a time.
    fn turn(&self, reference: &Reference) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let name = reference.canonical();
        if let Some(turn) = turns.get(&name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(name, Arc::downgrade(&turn));
        turn
    }

    async fn size(&self, reference: &Reference) -> Option<u64> {
        let (store, reference) = (self.store.clone(), reference.clone());
        let found = tokio::task::spawn_blocking(move || store.find(&reference)).await;
        Some(found.ok()?.ok()??.size_bytes)
    }

    async fn run(&self, reference: &Reference, configs: &[String]) -> Result<(), Refusal> {
        let failed = |error: std::io::Error| Refusal::pull(format!("run the puller: {error}"));
        let mut child = Command::new(&self.program)
            .args(["image", "pull", "--image-dir"])
            .arg(self.store.dir())
            .args(["--docker-config", "-", "--output", "json"])
            .arg(reference.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read has ended, and says why.
            let _ = input.write_all(configs.join("\n").as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let message = message(&String::from_utf8_lossy(&output.stderr));
        Err(match output.status.code() {
            Some(UNREACHABLE) => Refusal {
                reason: UNAVAILABLE,
                message,
            },
            Some(_) => Refusal::pull(message),
            None => Refusal::pull(format!("the puller was killed: {}", output.status)),
        })
    }
}

/// What a command complains of.
fn message(stderr: &str) -> String {
    let text = match stderr.rfind("error: ") {
        Some(start) => &stderr[start + "error: ".len()..],
        None => stderr,
    };
    let mut text = text.trim().to_owned();
    while text.len() > MAX_MESSAGE_BYTES {
        text.pop();
    }
    match text.is_empty() {
        true => "the puller failed and said nothing".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_told_as_the_kubelet_tells_it() {
        let pulled = |pulling, all| Pulled {
            pulling,
            all,
            bytes: 7,
        };
        let ms = Duration::from_millis;
        assert_eq!(
            pulled(Some(ms(203)), ms(61_500)).told("a").as_deref(),
            Some(
                "Successfully pulled image \"a\" in 203ms (1m1.5s including waiting). Image size: 7 bytes."
            )
        );
        assert_eq!(in_words(ms(1_203)), "1.203s");
        // Another pod's pull has brought it: for this one it was there.
        assert_eq!(pulled(None, ms(5)).told("a"), None);
    }

    #[test]
    fn the_last_complaint_counts() {
        for (text, expected) in [
            ("error: a: b\n", "a: b"),
            ("warning\nerror: no such image\n", "no such image"),
            ("killed", "killed"),
            ("", "the puller failed and said nothing"),
        ] {
            assert_eq!(message(text), expected);
        }
    }
}
