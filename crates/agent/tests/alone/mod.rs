//! The task of Services alone: a real kernel, and objects and facts that a test makes up.
#![allow(dead_code, reason = "each file of tests uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use sealane_agent::ProxyMode;
use sealane_agent::services::{self, Health, Input, Localhost, Parts, Queue, Sender};
use sealane_introspect::Introspect;
use sealane_kube::Change;
use sealane_net::Family;
use sealane_netlink::{Conntrack, Netlink};
use sealane_objects::{ObjectName, ServiceNet, SliceNet};
use sealane_ruleset::services::Image;
use sealane_service::{NodeFacts, NodePortAddresses, ServiceTable};
use sealane_testkit::{Namespace, SOON, eventually};

/// What an API server would tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    pub services: BTreeMap<ObjectName, ServiceNet>,
    pub slices: BTreeMap<ObjectName, SliceNet>,
}

impl Objects {
    /// What it comes to on a node.
    pub fn table(&self, facts: &NodeFacts) -> ServiceTable {
        let mut table = ServiceTable::new(facts.clone());
        table.replace_slices(self.slices.clone());
        table.replace_services(self.services.clone());
        table
    }
}

/// A running task.
pub struct Alone {
    pub kernel: Netlink,
    introspect: Introspect,
    sender: Sender,
    thread: JoinHandle<()>,
    /// What the sockets in `kernel` belong to.
    _runtime: tokio::runtime::Runtime,
}

impl Alone {
    /// Starts it, and returns when the kernel has all.
    #[track_caller]
    pub fn start(node: &Namespace, mode: ProxyMode, facts: &NodeFacts, objects: &Objects) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let kernel = runtime.block_on(async { Netlink::in_named(node.title()).unwrap() });
        let introspect = Introspect::new("agent");
        let Queue {
            sender, receiver, ..
        } = Queue::new(Arc::new(|_, _, _| {}));
        let localhost = Arc::new(Localhost::new(&NodePortAddresses::All));
        runtime.spawn(services::serve_localhost(
            Arc::clone(&localhost),
            kernel.clone(),
        ));
        let thread = services::start(Parts {
            mode,
            localhost,
            node_ports: NodePortAddresses::All,
            health: Arc::new(Health::new(NodePortAddresses::All)),
            kernel: kernel.clone(),
            conntrack: node.enter(Conntrack::open).unwrap(),
            introspect: introspect.clone(),
            inputs: receiver,
        });
        let alone = Self {
            kernel,
            introspect,
            sender,
            thread: thread.unwrap(),
            _runtime: runtime,
        };
        let Objects { services, slices } = objects.clone();
        alone.tell(Input::Services(Change::Reset(
            services.into_iter().collect(),
        )));
        alone.tell(Input::Slices(Change::Reset(slices.into_iter().collect())));
        alone.tell(Input::Node(facts.clone()));
        eventually(SOON, "Services are in the kernel", || {
            alone.introspect.is_ready()
        });
        alone
    }

    pub fn tell(&self, input: Input) {
        self.sender.send(input).ok().unwrap();
    }

    /// What the kernel holds of a family.
    #[track_caller]
    pub fn image(&self, family: Family) -> Image {
        self.kernel.services(family).unwrap()
    }

    /// Ends it as soon as all that it was told is in the kernel.
    #[track_caller]
    pub fn finish(self) {
        drop(self.sender);
        self.thread.join().unwrap();
    }
}
