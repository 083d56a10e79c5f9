//! The Lease at the API server: taking it, keeping it, giving it back.

use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use sealane_kube::{Backoff, explain};

use crate::elect::{Candidate, GIVE_UP_AFTER, RENEW_EVERY, Step};

pub const NAMESPACE: &str = "kube-system";
pub const NAME: &str = "sealane-controllers";

/// The Lease that says who leads.
pub struct Leadership {
    leases: Api<Lease>,
    candidate: Candidate,
    identity: String,
}

/// One look at the Lease.
enum Look {
    Ours,
    /// Another has it; look again after this.
    Wait(Duration),
}

impl Leadership {
    pub fn new(client: Client, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, NAMESPACE),
            candidate: Candidate::new(identity),
            identity: identity.to_owned(),
        }
    }

    /// Returns when we lead. An API server that does not answer yet is waited for.
    ///
    /// `standing_by` is called when another process is found to lead.
    pub async fn acquire(&mut self, standing_by: impl Fn()) {
        // Shorter than elsewhere: on one machine the API server is about to come up.
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        let mut told = false;
        loop {
            let pause = match self.look().await {
                Ok(Look::Ours) => return,
                Ok(Look::Wait(pause)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!("another process leads (Lease {NAMESPACE}/{NAME}); waiting");
                        standing_by();
                    }
                    pause
                }
                Err(error) => {
                    if backoff.failures() == 3 {
                        tracing::warn!(
                            "take Lease {NAMESPACE}/{NAME}: {}; trying again",
                            explain(&error)
                        );
                    }
                    backoff.next_delay()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews until that fails for too long or another has taken over; the text says which.
    pub async fn keep(&mut self) -> String {
        let mut renewed = Instant::now();
        let mut pause = RENEW_EVERY;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            let left = GIVE_UP_AFTER.saturating_sub(renewed.elapsed());
            pause = match within(left, self.look()).await {
                Some(Ok(Look::Ours)) => {
                    renewed = Instant::now();
                    backoff.reset();
                    RENEW_EVERY
                }
                Some(Ok(Look::Wait(_))) => return "another process has taken over".to_owned(),
                Some(Err(error)) if renewed.elapsed() >= GIVE_UP_AFTER => {
                    return format!("the Lease could not be renewed: {}", explain(&error));
                }
                Some(Err(_)) => backoff.next_delay(),
                None => return "the Lease could not be renewed in time".to_owned(),
            };
        }
    }

    /// Gives the Lease back, so that the next does not have to wait. Best effort.
    pub async fn release(&self) {
        let Ok(Some(mut lease)) = self.leases.get_opt(NAME).await else {
            return;
        };
        let ours = |spec: &&mut LeaseSpec| spec.holder_identity.as_ref() == Some(&self.identity);
        if let Some(spec) = lease.spec.as_mut().filter(ours) {
            spec.holder_identity = Some(String::new());
            if let Err(error) = self
                .leases
                .replace(NAME, &PostParams::default(), &lease)
                .await
            {
                tracing::debug!("release Lease {NAMESPACE}/{NAME}: {}", explain(&error));
            }
        }
    }

    async fn look(&mut self) -> Result<Look, kube::Error> {
        let lease = self.leases.get_opt(NAME).await?;
        let step = self
            .candidate
            .step(lease.as_ref(), Instant::now(), Timestamp::now());
        let written = match step {
            Step::Wait(pause) => return Ok(Look::Wait(pause)),
            Step::Create(spec) => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(*spec),
                };
                self.leases.create(&PostParams::default(), &lease).await
            }
            Step::Replace(spec) => {
                let metadata = lease.unwrap_or_default().metadata;
                let lease = Lease {
                    metadata,
                    spec: Some(*spec),
                };
                self.leases
                    .replace(NAME, &PostParams::default(), &lease)
                    .await
            }
        };
        // A conflict (somebody wrote between our read and our write) is read again like any failure.
        written.map(|_| Look::Ours)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}
