//! DELs that the plugin has left while there was no agent.

use std::{collections::BTreeSet, time::Duration};

use sealane_cni::{
    protocol::Response,
    spool::{Deletion, Spool},
};
use tokio::time::Instant;

use super::{Core, Message, RESYNC, Reply};
use crate::leases::Key;

/// A plugin that found no agent may write its DEL a moment after one has started.
const LATECOMERS: Duration = Duration::from_secs(1);

/// The spool, and what of it is being carried out.
pub struct Spooled {
    spool: Spool,
    running: BTreeSet<Key>,
    look_at: Instant,
    looked: bool,
}

impl Spooled {
    pub fn new(spool: Spool) -> Self {
        Self {
            spool,
            running: BTreeSet::new(),
            look_at: Instant::now(),
            looked: false,
        }
    }

    pub fn look_at(&self) -> Instant {
        self.look_at
    }
}

impl Core {
    /// Whether an ADD has to wait for a DEL of before, which is then started.
    pub(super) fn is_spooled(&mut self, key: &Key) -> bool {
        let waits = self.spool.spool.contains(&key.container_id, &key.ifname);
        if waits {
            self.carry_out(key.clone());
        }
        waits
    }

    /// Takes up what waits, at start, a moment later and with every resync.
    pub(super) fn look_at_spool(&mut self, now: Instant) {
        if now < self.spool.look_at {
            return;
        }
        self.spool.look_at = now
            + if self.spool.looked {
                RESYNC
            } else {
                LATECOMERS
            };
        self.spool.looked = true;
        let (deletions, rubbish) = match self.spool.spool.list() {
            Ok(found) => found,
            Err(error) => {
                let dir = self.spool.spool.dir().display();
                return tracing::warn!("read DELs left in {dir}: {error}; looking again later");
            }
        };
        for path in rubbish {
            tracing::warn!(
                "removed {}: not a DEL that was left for the agent",
                path.display()
            );
        }
        for Deletion {
            container_id,
            ifname,
            ..
        } in deletions
        {
            self.carry_out(Key {
                container_id,
                ifname,
            });
        }
    }

    fn carry_out(&mut self, key: Key) {
        if !self.spool.running.insert(key.clone()) {
            return;
        }
        tracing::info!("delete {key}: it was left while the agent was away");
        let (reply, answer) = Reply::channel();
        self.del(key.clone(), reply);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let done = matches!(answer.await, Ok(Response::Done));
            let _ = inbox.send(Message::CarriedOut { key, done }).await;
        });
    }

    pub(super) fn carried_out(&mut self, key: &Key, done: bool) {
        self.spool.running.remove(key);
        if !done {
            // The cause is in the log; the next look tries again.
            return;
        }
        if let Err(error) = self.spool.spool.remove(&key.container_id, &key.ifname) {
            let dir = self.spool.spool.dir().display();
            tracing::warn!("remove the DEL of {key} from {dir}: {error}");
        }
    }
}
