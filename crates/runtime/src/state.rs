//! What a shim tells: the state of its containers and the events in their life.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::timestamp::rfc3339;

/// Everything a node process must know to take over a running pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimState {
    /// Process id of the shim.
    pub pid: u32,
    /// The kept attempts of all containers, oldest first.
    pub containers: Vec<ContainerState>,
}

impl ShimState {
    /// The newest attempt of a container.
    pub fn latest(&self, container: &str) -> Option<&ContainerState> {
        self.containers
            .iter()
            .filter(|state| state.name == container)
            .max_by_key(|state| state.attempt)
    }
}

/// One attempt of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Name of the container.
    pub name: String,
    /// Which start of it this is, from 0.
    pub attempt: u32,
    /// Process id of its first process, as this machine sees it.
    pub pid: u32,
    /// When its command was started.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
    /// How it ended; absent while it runs.
    pub exit: Option<Exit>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed it because it exceeded its memory limit.
    pub oom: bool,
    /// When it ended.
    #[serde(with = "rfc3339")]
    pub finished_at: SystemTime,
}

/// What is written to the exit record on disk.
pub type ExitRecord = ContainerState;

/// A container that has been started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Process id of its first process, as this machine sees it.
    pub pid: u32,
    /// When its command was started.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
}

/// News from a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShimEvent {
    /// A container ended. Its log is complete and its exit record is on disk.
    Exited {
        /// Name of the container.
        name: String,
        /// Which start of it this was.
        attempt: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The shim has ended, and with it all its containers. The last event.
    Gone,
}
