//! A connection over which nothing goes for a long time is ended, as the kubelet does it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The kubelet's `streamingConnectionIdleTimeout`.
const PATIENCE: Duration = Duration::from_secs(4 * 60 * 60);

/// When something went over a connection for the last time.
#[derive(Clone, Debug)]
pub struct Idle {
    last: Arc<Mutex<Instant>>,
    patience: Duration,
}

impl Idle {
    /// From now on.
    pub fn new() -> Self {
        Self::lasting(PATIENCE)
    }

    fn lasting(patience: Duration) -> Self {
        Self {
            last: Arc::new(Mutex::new(Instant::now())),
            patience,
        }
    }

    /// Something goes.
    pub fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has gone for too long.
    pub async fn expired(&self) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= self.patience {
                return;
            }
            tokio::time::sleep_until(last + self.patience).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_ended_late_and_not_at_once() {
        Idle::lasting(Duration::from_millis(1)).expired().await;
        let idle = Idle::new();
        idle.touch();
        tokio::select! {
            biased;
            () = idle.expired() => panic!("four hours have not gone by"),
            () = std::future::ready(()) => {}
        }
    }
}
