//! The news of a shim, for as many receivers as want it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::channel::Channel;
use crate::protocol::Reply;
use crate::state::ShimEvent;
use crate::sys;

/// The task that reads the news; dropping this cancels it.
#[derive(Debug)]
pub(super) struct Watch {
    audience: Arc<Mutex<Audience>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Audience {
    receivers: Vec<UnboundedSender<ShimEvent>>,
    gone: bool,
}

impl Watch {
    /// Reads the news of the shim with this process id from `news`.
    pub(super) fn start(pid: u32, news: Channel) -> std::io::Result<Self> {
        let process = sys::pidfd_open(pid)?;
        // SAFETY: an `OwnedFd` is open and the same for as long as it lives.
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
        let audience = Arc::new(Mutex::new(Audience::default()));
        let task = tokio::spawn(listen(news, process, Arc::clone(&audience)));
        Ok(Self { audience, task })
    }

    pub(super) fn events(&self) -> UnboundedReceiver<ShimEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut audience = lock(&self.audience);
        if audience.gone {
            // Nobody else holds the receiver yet, so it cannot be closed.
            let _ = sender.send(ShimEvent::Gone);
        } else {
            audience.receivers.push(sender);
        }
        receiver
    }

    /// Waits until the shim's process has ended.
    pub(super) async fn gone(&self) {
        let mut events = self.events();
        while let Some(event) = events.recv().await {
            if event == ShimEvent::Gone {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(mut news: Channel, process: AsyncFd<OwnedFd>, audience: Arc<Mutex<Audience>>) {
    while let Ok(Some(reply)) = news.next().await {
        if let Reply::Exited {
            name,
            attempt,
            exit,
        } = reply
        {
            let event = ShimEvent::Exited {
                name,
                attempt,
                exit,
            };
            tell(&audience, &event);
        }
    }
    if let Err(error) = process.readable().await {
        tracing::warn!("wait for the end of a shim: {error}");
    }
    tell(&audience, &ShimEvent::Gone);
}

fn tell(audience: &Mutex<Audience>, event: &ShimEvent) {
    let mut audience = lock(audience);
    audience.receivers.retain(|r| r.send(event.clone()).is_ok());
    if *event == ShimEvent::Gone {
        audience.gone = true;
        audience.receivers.clear();
    }
}

fn lock(audience: &Mutex<Audience>) -> std::sync::MutexGuard<'_, Audience> {
    // Nothing in here panics half-way.
    audience.lock().unwrap_or_else(PoisonError::into_inner)
}
