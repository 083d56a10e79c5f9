use std::os::fd::OwnedFd;

use sealane_cni::{
    protocol::{Request, Response},
    types::{AddResult, CniError},
};
use sealane_ipam::named::Labels;
use sealane_kube::Change;
use sealane_net::IpNet;
use sealane_objects::{NodeNet, PodNet, PoolNet};
use tokio::sync::oneshot;

use super::Noticed;
use crate::{
    cloud::News,
    leases::{Key, file::FileError},
    node::{Programmed, SyncError},
    probe::InUse,
    wire::{NearEnds, WireError, Wired},
};

/// Everything that changes the core's state.
pub enum Message {
    /// The API's Nodes.
    Nodes(Change<NodeNet>),
    /// The API's Pods of this node.
    Pods(Change<PodNet>),
    /// The API's named pools of addresses.
    Pools(Change<PoolNet>),
    /// The labels of namespaces, when pools select by them.
    Namespaces(Change<Labels>),
    /// The ranges of Services, when there are pools.
    ServiceRanges(Change<Vec<IpNet>>),
    /// The node's blocks of a pool are written, or could not be.
    PoolWritten {
        name: String,
        result: Result<(), String>,
    },
    /// A call of the CNI plugin, with the descriptor that came with it.
    Request {
        request: Box<Request>,
        netns: Option<OwnedFd>,
        reply: Reply,
    },
    /// A version of the leases is on disk, or could not be written.
    Written {
        number: u64,
        result: Result<(), FileError>,
    },
    /// The node's network was compared with the kernel and repaired.
    Synchronized(Result<Box<Programmed>, SyncError>),
    /// The near ends of pods' links; `None` when the kernel did not answer.
    Links(Option<NearEnds>),
    /// Somebody has changed the node's network.
    Noticed(Noticed),
    /// ADD's work in the kernel is done.
    Wired {
        key: Key,
        result: Result<Wired, WireError>,
    },
    /// DEL's work in the kernel is done.
    Unwired {
        key: Key,
        result: Result<(), WireError>,
    },
    /// Somebody else uses an address of a pod.
    InUse(InUse),
    /// What EC2 gives, where addresses come from it.
    Cloud(Box<News>),
    /// A DEL that was left for the agent has been answered.
    CarriedOut { key: Key, done: bool },
}

/// Where the answer to one request goes. A plugin that has gone away does not wait for it.
pub struct Reply(oneshot::Sender<Response>);

impl Reply {
    /// A reply and where it arrives.
    pub fn channel() -> (Self, oneshot::Receiver<Response>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    pub(crate) fn added(self, result: AddResult) {
        let _gone = self.0.send(Response::Added(result));
    }

    pub(crate) fn done(self, result: Result<(), CniError>) {
        let _gone = self.0.send(match result {
            Ok(()) => Response::Done,
            Err(error) => Response::Failed(error),
        });
    }

    pub(crate) fn fail(self, error: CniError) {
        self.done(Err(error));
    }
}
