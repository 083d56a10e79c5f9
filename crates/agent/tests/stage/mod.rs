//! A node in a namespace with an agent on it, a Kubernetes API that is a
//! channel, pods that are namespaces, and a container runtime that calls the
//! real plugin as a process.
#![allow(dead_code, reason = "each file of tests uses a part")]

pub mod calls;
pub mod killed;
pub mod pools;
pub mod site;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use pools::Shelf;
use sealane_agent::{
    AntiSpoofing, Attachment, Feed, ProxyMode, Routing, Settings, Surroundings, serve, services,
};
use sealane_cni::{
    invoke::{Attachment as CniAttachment, InvokeError, NetworkConf, Runtime, load_conflist},
    types::{AddResult, ValidAttachment},
};
use sealane_introspect::{Introspect, fetch};
use sealane_kube::Change;
use sealane_netlink::{Ears, Netlink};
use sealane_objects::{NodeNet, ObjectName, PodNet};
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub const NODE: &str = "node-1";
pub const NODE_IP: &str = "172.29.0.2";
pub const OUTSIDE_IP: &str = "172.29.0.1";
pub const UPLINK_MTU: u32 = 1450;

/// The stage: `outside ── eth0 ── node`, and folders that go with it.
pub struct Stage {
    pub topology: Topology,
    pub node: Namespace,
    pub outside: Namespace,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let (topology, [node, outside]) = Topology::new(["node", "outside"]);
        topology.join(
            (&node, "eth0", &format!("{NODE_IP}/24")),
            (&outside, "eth0", &format!("{OUTSIDE_IP}/24")),
        );
        for end in [&node, &outside] {
            let mtu = UPLINK_MTU.to_string();
            end.run("ip", ["link", "set", "eth0", "mtu", &mtu])
                .succeeds();
        }
        let dir = tempfile::tempdir().unwrap();
        Self {
            topology,
            node,
            outside,
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn settings(&self) -> Settings {
        settings_in(self.dir.path())
    }

    /// An agent that knows nothing yet.
    pub fn start(&self) -> Agent {
        Agent::start(self.settings(), self.node.title())
    }

    /// An agent on a node that has these pod subnets, and no pods.
    pub fn start_ready(&self, subnets: &[&str]) -> Agent {
        let agent = self.start();
        agent.tell_nodes(vec![this_node(subnets)]);
        agent.tell_pods(vec![]);
        agent.wait_ready();
        agent
    }

    /// Our plugin alone, for a container of any name.
    pub fn plugin(
        &self,
        container: &str,
        netns: &Namespace,
        command: &str,
    ) -> Result<Value, Value> {
        let id = ("CNI_CONTAINERID", container);
        let environment = calls::environment_with(self, netns, command, id);
        calls::ours(self, &environment, &calls::conf(self, "1.1.0"))
    }

    pub fn runtime(&self) -> ContainerRuntime {
        runtime_in(self.dir.path())
    }

    /// The file of leases as it is on disk.
    pub fn leases_on_disk(&self) -> Value {
        let text = fs::read(self.path("state/leases.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The file is as a machine finds it after its next boot.
    pub fn pretend_another_boot(&self) {
        let path = self.path("state/leases.json");
        if !path.exists() {
            return;
        }
        let mut leases = self.leases_on_disk();
        leases["bootID"] = "00000000-0000-0000-0000-000000000000".into();
        fs::write(&path, leases.to_string()).unwrap();
    }

    /// What the node's kernel holds of ours; equal before and after a restart that changes nothing.
    pub fn kernel(&self) -> String {
        let show = |program: &str, args: &[&str]| self.node.run(program, args).succeeds();
        [
            show("ip", &["-o", "link", "show"]),
            show("ip", &["-o", "address", "show"]),
            show("ip", &["route", "show"]),
            // With handles, which a table that is loaded again gets anew, but without counters.
            show("nft", &["-s", "-a", "list", "ruleset"]),
        ]
        .concat()
        // Link-local addresses lose it by themselves, a second after their link came up.
        .replace(" tentative", "")
    }
}

/// Settings of node-1 with all folders below one.
pub fn settings_in(dir: &Path) -> Settings {
    Settings {
        access: Default::default(),
        node_name: NODE.into(),
        cluster_cidr: None,
        routing: Routing::Auto,
        vxlan_port: 4789,
        vxlan_vni: 94,
        // Tests of Services turn it on.
        proxy_mode: ProxyMode::None,
        external_ips: false,
        nodeport_addresses: Default::default(),
        healthz_bind_address: None,
        attachment: attachment_asked_for(),
        non_masquerade_cidrs: vec![],
        anti_spoofing: AntiSpoofing::Pod,
        cni_bin_dir: dir.join("bin"),
        cni_conf_dir: dir.join("net.d"),
        cni_chain: vec![],
        address_reuse_delay: 0,
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        health_port: None,
        ec2: None,
    }
}

/// `SEALANE_ATTACHMENT`, for tests that hold in either form.
pub fn attachment_asked_for() -> Attachment {
    let asked = std::env::var("SEALANE_ATTACHMENT");
    asked.map_or_else(|_| Attachment::default(), |name| name.parse().unwrap())
}

/// The container runtime of the agent with these folders.
pub fn runtime_in(dir: &Path) -> ContainerRuntime {
    ContainerRuntime {
        runtime: Runtime {
            bin_dirs: vec![dir.join("bin"), "/usr/lib/cni".into()],
            cache_dir: dir.join("cache"),
        },
        conf_dir: dir.join("net.d"),
        tokio: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
    }
}

pub fn this_node(subnets: &[&str]) -> NodeNet {
    node(NODE, NODE_IP, subnets)
}

pub fn node(name: &str, ip: &str, subnets: &[&str]) -> NodeNet {
    NodeNet {
        name: name.into(),
        internal_ips: vec![ip.parse().unwrap()],
        pod_cidrs: subnets.iter().map(|s| s.parse().unwrap()).collect(),
        ..Default::default()
    }
}

pub fn pod(name: &str, ips: &[&str]) -> PodNet {
    PodNet {
        name: ObjectName::new("default", name),
        uid: format!("uid-{name}"),
        node_name: NODE.into(),
        host_network: false,
        finished: false,
        pod_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..PodNet::default()
    }
}

/// A running agent; dropping it is a kill.
pub struct Agent {
    feed: mpsc::Sender<Feed>,
    services: services::Sender,
    debug_socket: PathBuf,
    kill: CancellationToken,
    outcome: Arc<Mutex<Option<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    pub fn start(settings: Settings, netns: &str) -> Self {
        Self::start_installing(plugin_program(), settings, netns)
    }

    /// An agent that installs a program of choice as plugin.
    pub fn start_installing(program: PathBuf, settings: Settings, netns: &str) -> Self {
        Self::start_all(program, settings, netns, &Arc::default())
    }

    /// With pools that it may share with other nodes' agents.
    pub fn start_with(settings: Settings, netns: &str, shelf: &Arc<Shelf>) -> Self {
        Self::start_all(plugin_program(), settings, netns, shelf)
    }

    fn start_all(program: PathBuf, settings: Settings, netns: &str, shelf: &Arc<Shelf>) -> Self {
        let (sender, feed) = mpsc::channel(16);
        shelf.tell_all(&sender);
        let shelf = Arc::clone(shelf);
        let kill = CancellationToken::new();
        let outcome = Arc::new(Mutex::new(None));
        let (killed, told, netns) = (kill.clone(), Arc::clone(&outcome), netns.to_owned());
        let debug_socket = settings.debug_socket();
        let told_people: Arc<Mutex<Vec<String>>> = Arc::default();
        let tell = Arc::clone(&told_people);
        let tell_of_services = Arc::clone(&told_people);
        let queue = services::Queue::new(Arc::new(move |service, reason, message| {
            let line = format!("{reason} {service}: {message}");
            let told = tell_of_services.lock();
            told.unwrap_or_else(PoisonError::into_inner).push(line);
        }));
        let to_services = queue.sender.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let kernel = Netlink::in_named(&netns).unwrap();
                let surroundings = Surroundings {
                    ledger: pools::ledger(&shelf),
                    ears: Some(kernel.run(Ears::open).unwrap().unwrap()),
                    kernel,
                    program,
                    feed,
                    services: queue,
                    introspect: Introspect::new("agent"),
                    announce: Box::new(move |pod, reason, message| {
                        let about = pod.map(|pod| pod.name.to_string()).unwrap_or_default();
                        let line = format!("{reason} {about}: {message}");
                        tell.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(line);
                    }),
                };
                let serving = serve(settings, surroundings, CancellationToken::new());
                tokio::select! {
                    () = killed.cancelled() => {}
                    result = serving => {
                        let text = format!("{result:?}");
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                    }
                }
            });
            // Not waited for, as after a kill.
            runtime.shutdown_background();
        });
        Self {
            feed: sender,
            services: to_services,
            debug_socket,
            kill,
            outcome,
            told: told_people,
            thread: Some(thread),
        }
    }

    /// What the API server says of Services and EndpointSlices.
    pub fn tell_services(&self, input: services::Input) {
        // The thread is not there when the agent does not serve them.
        let _ = self.services.send(input);
    }

    pub fn tell_nodes(&self, nodes: Vec<NodeNet>) {
        let all = nodes
            .into_iter()
            .map(|node| (ObjectName::new("", node.name.clone()), node));
        let feed = Feed::Nodes(Change::Reset(all.collect()));
        self.feed.blocking_send(feed).ok().unwrap();
    }

    pub fn tell_pods(&self, pods: Vec<PodNet>) {
        let all = pods.into_iter().map(|pod| (pod.name.clone(), pod));
        let feed = Feed::Pods(Change::Reset(all.collect()));
        self.feed.blocking_send(feed).ok().unwrap();
    }

    pub fn tell_namespace(&self, name: &str, labels: BTreeMap<String, String>) {
        let all = vec![(ObjectName::new("", name), labels)];
        let feed = Feed::Namespaces(Change::Reset(all));
        self.feed.blocking_send(feed).ok().unwrap();
    }

    /// What `/debug/state` shows.
    pub fn state(&self) -> Result<Value, String> {
        let got =
            fetch(&self.debug_socket, "GET", "/debug/state/network").map_err(|e| e.to_string())?;
        serde_json::from_str(&got.body).map_err(|e| e.to_string())
    }

    /// What people were told, as Events.
    pub fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> String {
        fetch(&self.debug_socket, "GET", "/metrics").unwrap().body
    }

    /// Waits until the state is as wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, what, || {
            if let Some(outcome) = self.outcome() {
                panic!("the agent has ended: {outcome}");
            }
            let state = self.state()?;
            if wanted(&state) {
                Ok(state)
            } else {
                Err(format!("{state:#}"))
            }
        })
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        self.wait("the agent is ready", |state| state["ready"] == true);
    }

    /// How many leases there are.
    pub fn leases(&self) -> usize {
        self.state().unwrap()["leases"].as_array().unwrap().len()
    }

    /// What the agent ended with, if it has ended by itself.
    pub fn outcome(&self) -> Option<String> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends it as kill -9 does: no destructor of a task decides anything.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.kill.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The program under `SEALANE_BIN`, else the example that cargo builds beside the tests.
pub fn plugin_program() -> PathBuf {
    if let Some(chosen) = std::env::var_os("SEALANE_BIN") {
        return chosen.into();
    }
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/cni-plugin");
    assert!(
        path.exists(),
        "{} is missing: build the examples",
        path.display()
    );
    path
}

/// A container runtime that uses what the agent has installed.
pub struct ContainerRuntime {
    pub runtime: Runtime,
    pub conf_dir: PathBuf,
    pub tokio: tokio::runtime::Runtime,
}

impl ContainerRuntime {
    /// The configuration, which the agent installs a moment after it is ready.
    #[track_caller]
    pub fn network(&self) -> NetworkConf {
        eventually(SOON, "a CNI configuration is there", || {
            load_conflist(&self.conf_dir)
        })
    }

    pub fn add(&self, container: &str, netns: &Namespace) -> Result<AddResult, InvokeError> {
        let network = self.network();
        let attachment = attachment(container, Some(netns));
        self.tokio.block_on(self.runtime.add(&network, &attachment))
    }

    pub fn del(&self, container: &str, netns: Option<&Namespace>) -> Result<(), InvokeError> {
        let network = self.network();
        let attachment = attachment(container, netns);
        self.tokio
            .block_on(self.runtime.del(Some(&network), &attachment))
    }

    pub fn check(&self, container: &str, netns: &Namespace) -> Result<(), InvokeError> {
        let network = self.network();
        let attachment = attachment(container, Some(netns));
        self.tokio
            .block_on(self.runtime.check(&network, &attachment))
    }

    pub fn gc(&self, valid: &[ValidAttachment]) -> Result<(), InvokeError> {
        let network = self.network();
        self.tokio.block_on(self.runtime.gc(&network, valid))
    }

    pub fn status(&self) -> Result<(), InvokeError> {
        let network = self.network();
        self.tokio.block_on(self.runtime.status(&network))
    }
}

/// A container of a pod with the same name.
pub fn attachment(container: &str, netns: Option<&Namespace>) -> CniAttachment {
    let arg = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    CniAttachment {
        container_id: container.into(),
        netns: netns.map(|ns| Path::new("/run/netns").join(ns.title())),
        ifname: "eth0".into(),
        args: vec![
            arg("IgnoreUnknown", "1"),
            arg("K8S_POD_NAMESPACE", "default"),
            arg("K8S_POD_NAME", container),
            arg("K8S_POD_UID", &format!("uid-{container}")),
        ],
        ..CniAttachment::default()
    }
}

/// The one address of a result.
pub fn ip(result: &AddResult) -> IpAddr {
    result.ips[0].address.addr()
}

/// A packet there and one back: nobody listens on this port, and a refusal is an answer.
#[track_caller]
pub fn reach(from: &Namespace, to: IpAddr) {
    let target = (to, 9).into();
    let answer = from.enter(|| std::net::TcpStream::connect_timeout(&target, SOON));
    let error = answer.expect_err("somebody listens on the port for discarding");
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "reach {to} from {}: {error}",
        from.title()
    );
}

/// Who a listener in `to` sees when `from` connects to it.
#[track_caller]
pub fn seen_source(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let listener = to
        .enter(|| std::net::TcpListener::bind((address, 0)))
        .unwrap();
    let target = listener.local_addr().unwrap();
    let _connection = from
        .enter(|| std::net::TcpStream::connect_timeout(&target, Duration::from_secs(5)))
        .unwrap_or_else(|e| panic!("connect from {} to {target}: {e}", from.title()));
    listener.accept().unwrap().1.ip()
}
