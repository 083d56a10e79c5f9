//! Random calls, several at once, with agents that are killed and nodes that
//! are rebooted: no address twice, none lost, and kernel, memory, file and
//! runtime agree after every round. A network of the reference plugins on the
//! same node is never touched.
//!
//! `SEALANE_CALLS` and `SEALANE_SEED` choose how long and which story; a
//! failure names both.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
};

use sealane_cni::{
    invoke::InvokeError,
    types::{ValidAttachment, code},
};
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::{Value, json};
use stage::{Agent, ContainerRuntime, Stage, attachment, calls, ip, pod, reach, this_node};

const SUBNET: &str = "10.244.1.0/27";
const SANDBOXES: usize = 12;
const AT_ONCE: usize = 4;

#[test]
fn random_calls_kills_and_reboots_leave_all_witnesses_in_agreement() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let calls = number("SEALANE_CALLS", 500);
    let seed = number("SEALANE_SEED", 0x5ea1);
    println!("SEALANE_CALLS={calls} SEALANE_SEED={seed}");
    let mut story = Story::begin(seed);
    while story.calls < calls as usize {
        story.round();
        story.agree();
    }
    let someone = story.believed.keys().next().copied();
    if let Some(n) = someone {
        reach(story.netns(n), "10.244.1.1".parse().unwrap());
    }
    println!("{}", story.told());
}

/// Numbers from a seed (xorshift64), so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A sandbox's next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Add,
    AddAgain,
    Check,
    Del,
    /// ADD and DEL of one sandbox at the same moment, as of a runtime that gives up waiting.
    AddAndDel,
}

struct Story {
    stage: Stage,
    runtime: ContainerRuntime,
    agent: Option<Agent>,
    dice: Dice,
    /// Of others, on the same node.
    foreign: Foreign,
    /// Each in a topology of its own, so that it can go alone.
    namespaces: Vec<(Topology, Namespace)>,
    /// What the runtime believes: which sandboxes have which address. Failed
    /// calls are followed by DEL, as the specification asks of a runtime.
    believed: BTreeMap<usize, IpAddr>,
    calls: usize,
    rounds: usize,
    happened: BTreeMap<&'static str, usize>,
}

fn container(n: usize) -> String {
    format!("c{n}")
}

fn sandbox(n: usize) -> (Topology, Namespace) {
    let (topology, [namespace]) = Topology::new([&*format!("p{n}")]);
    (topology, namespace)
}

impl Story {
    fn begin(seed: u64) -> Self {
        let stage = Stage::new();
        let agent = stage.start_ready(&[SUBNET]);
        Self {
            runtime: stage.runtime(),
            agent: Some(agent),
            dice: Dice(seed.max(1)),
            namespaces: (0..SANDBOXES).map(sandbox).collect(),
            believed: BTreeMap::new(),
            foreign: Foreign::new(&stage),
            calls: 0,
            rounds: 0,
            happened: BTreeMap::new(),
            stage,
        }
    }

    fn netns(&self, n: usize) -> &Namespace {
        &self.namespaces[n].1
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn told(&self) -> String {
        format!(
            "{} calls in {} rounds: {:?}",
            self.calls, self.rounds, self.happened
        )
    }

    fn round(&mut self) {
        self.rounds += 1;
        match self.dice.below(20) {
            0 => self.reboot("namespaces gone, file left", true, false),
            1 => self.reboot("file gone, namespaces left", false, true),
            2 => self.torn(),
            3 | 4 => self.forget_and_collect(),
            _ => self.calls_at_once(),
        }
    }

    /// A few sandboxes change at once, and in some rounds the agent is killed meanwhile.
    fn calls_at_once(&mut self) {
        let chosen: BTreeSet<usize> = (0..AT_ONCE).map(|_| self.dice.below(SANDBOXES)).collect();
        let calls: Vec<(usize, Call)> =
            chosen.into_iter().map(|n| (n, self.next_call(n))).collect();
        let kill = self.dice.below(3) == 0;
        let answers = if kill {
            self.count("killed agents");
            let old = self.agent.take().unwrap();
            let (stage, pods) = (&self.stage, self.known_pods());
            let (answers, next) = std::thread::scope(|scope| {
                let restart = scope.spawn(move || {
                    old.kill();
                    started(stage, pods)
                });
                (self.perform(&calls), restart.join().unwrap())
            });
            self.agent = Some(next);
            answers
        } else {
            self.perform(&calls)
        };
        self.calls += calls.len();
        for ((n, call), answer) in calls.into_iter().zip(answers) {
            self.believe(n, call, answer, kill);
        }
    }

    fn next_call(&mut self, n: usize) -> Call {
        if !self.believed.contains_key(&n) {
            let gives_up = self.dice.below(8) == 0;
            return if gives_up { Call::AddAndDel } else { Call::Add };
        }
        match self.dice.below(10) {
            0 => Call::AddAgain,
            1..4 => Call::Check,
            _ => Call::Del,
        }
    }

    fn perform(&self, calls: &[(usize, Call)]) -> Vec<Result<Option<IpAddr>, InvokeError>> {
        let network = self.runtime.network();
        let runtime = &self.runtime.runtime;
        let all = calls.iter().map(|(n, call)| {
            let attachment = attachment(&container(*n), Some(self.netns(*n)));
            let network = &network;
            async move {
                match call {
                    Call::Add => {
                        let result = runtime.add(network, &attachment).await?;
                        Ok(Some(ip(&result)))
                    }
                    // As a runtime that has lost its memory: no DEL follows.
                    Call::AddAgain => self.add_again(*n).map(|()| None),
                    Call::Check => runtime.check(network, &attachment).await.map(|()| None),
                    Call::Del => runtime.del(Some(network), &attachment).await.map(|()| None),
                    Call::AddAndDel => {
                        let add = runtime.add(network, &attachment);
                        let del = runtime.del(Some(network), &attachment);
                        // Whichever comes first: what counts is the DEL that follows.
                        let _ = futures::join!(add, del);
                        runtime.del(Some(network), &attachment).await.map(|()| None)
                    }
                }
            }
        });
        self.runtime.tokio.block_on(futures::future::join_all(all))
    }

    /// A second ADD by the plugin alone: refused, or not answered when the agent is killed.
    fn add_again(&self, n: usize) -> Result<(), InvokeError> {
        let refused = self
            .stage
            .plugin(&container(n), self.netns(n), "ADD")
            .unwrap_err();
        let accepted = [code::ALREADY_ATTACHED, code::TRY_AGAIN_LATER].map(u64::from);
        assert!(
            accepted.contains(&refused["code"].as_u64().unwrap()),
            "{refused}"
        );
        Ok(())
    }

    fn believe(
        &mut self,
        n: usize,
        call: Call,
        answer: Result<Option<IpAddr>, InvokeError>,
        killed: bool,
    ) {
        self.count(match call {
            Call::Add => "ADD",
            Call::AddAgain => "second ADD",
            Call::Check => "CHECK",
            Call::Del => "DEL",
            Call::AddAndDel => "ADD and DEL at once",
        });
        match (call, answer) {
            (Call::Add, Ok(Some(address))) => drop(self.believed.insert(n, address)),
            (Call::Del | Call::AddAndDel, Ok(_)) => drop(self.believed.remove(&n)),
            (Call::Check | Call::AddAgain, Ok(_)) => {}
            (call, Err(error)) => {
                assert!(killed, "{}: {call:?} of c{n}: {error}", self.told());
                if call != Call::Check {
                    self.runtime
                        .del(&container(n), Some(self.netns(n)))
                        .unwrap();
                    self.believed.remove(&n);
                }
            }
            (call, answer) => panic!("{call:?} of c{n}: {answer:?}"),
        }
    }

    /// All pods are still wanted, so the API gives no reason to release anything.
    fn known_pods(&self) -> BTreeSet<usize> {
        (0..SANDBOXES).collect()
    }

    /// The runtime forgets some sandboxes, by a crash of its own, and says what is left.
    fn forget_and_collect(&mut self) {
        self.count("GC");
        let forgotten: Vec<usize> = (0..2).map(|_| self.dice.below(SANDBOXES)).collect();
        for n in forgotten {
            if self.believed.remove(&n).is_some() {
                let kept = format!("sealane-{}-eth0.json", container(n));
                fs::remove_file(self.stage.path("cache").join(kept)).unwrap();
            }
        }
        let valid: Vec<ValidAttachment> = self
            .believed
            .keys()
            .map(|n| ValidAttachment {
                container_id: container(*n),
                ifname: "eth0".into(),
            })
            .collect();
        self.runtime.gc(&valid).unwrap();
    }

    /// The agent is away while namespaces or the file go; those whose namespace went are no pods any more.
    fn reboot(&mut self, what: &'static str, namespaces: bool, file: bool) {
        self.count(what);
        self.agent.take().unwrap().kill();
        if namespaces {
            (0..SANDBOXES).for_each(|n| self.lose(n));
            self.stage.pretend_another_boot();
        }
        if file {
            fs::remove_dir_all(self.stage.path("state")).unwrap();
        }
        self.restart();
    }

    /// Half of the namespaces go, and of the file.
    fn torn(&mut self) {
        self.count("both torn");
        self.agent.take().unwrap().kill();
        for n in 0..SANDBOXES {
            if self.dice.below(2) == 0 {
                self.lose(n);
            }
        }
        let path = self.stage.path("state/leases.json");
        let text = fs::read(&path).unwrap_or_default();
        fs::create_dir_all(self.stage.path("state")).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        self.restart();
    }

    fn lose(&mut self, n: usize) {
        // The old one goes first, or the new one could not have its place in the kernel's memory.
        let old = std::mem::replace(&mut self.namespaces[n], sandbox(n));
        drop(old);
        self.believed.remove(&n);
        let kept = format!("sealane-{}-eth0.json", container(n));
        let _ = fs::remove_file(self.stage.path("cache").join(kept));
    }

    fn restart(&mut self) {
        let pods = self.believed.keys().copied().collect();
        self.agent = Some(started(&self.stage, pods));
    }

    #[track_caller]
    fn agree(&self) {
        let told = self.told();
        assert_eq!(
            self.foreign.shown(&self.stage),
            self.foreign.before,
            "{told}: a foreign network"
        );
        let distinct: BTreeSet<&IpAddr> = self.believed.values().collect();
        assert_eq!(
            distinct.len(),
            self.believed.len(),
            "{told}: an address was given out twice"
        );
        let expected: BTreeMap<String, String> = self
            .believed
            .iter()
            .map(|(n, address)| (container(*n), format!("{address}/27")))
            .collect();
        let agent = self.agent.as_ref().unwrap();
        let same = |what: &str, found: BTreeMap<String, String>| {
            if found == expected {
                return Ok(());
            }
            Err(format!(
                "{told}: {what} has {found:?}, the runtime {expected:?}"
            ))
        };
        // What was left for an agent that was away takes a moment; nothing else is in flight.
        eventually(SOON, "memory, file and kernel agree", || {
            same("memory", leases(&agent.state()?))?;
            same("file", self.leases_on_disk())?;
            same("kernel", self.links())
        });
        for n in 0..SANDBOXES {
            let (links, addresses) = network(self.netns(n));
            match self.believed.get(&n) {
                Some(a) => assert!(
                    addresses.contains(&a.to_string()),
                    "{told}: {a} in {addresses:?}"
                ),
                None => assert!(!links.contains("eth0"), "{told}: {links:?}"),
            }
        }
    }

    /// A file that is gone is written again with the first lease.
    fn leases_on_disk(&self) -> BTreeMap<String, String> {
        if !self.stage.path("state/leases.json").exists() {
            return BTreeMap::new();
        }
        leases(&self.stage.leases_on_disk())
    }

    /// Containers and addresses of the links, as they say themselves.
    fn links(&self) -> BTreeMap<String, String> {
        let shown = self.stage.node.run("ip", ["-j", "link"]).succeeds();
        let links: Vec<Value> = serde_json::from_str(&shown).unwrap();
        links
            .iter()
            .filter_map(|link| link["ifalias"].as_str())
            .filter_map(sealane_agent::wire::labelled)
            .map(|lease| (lease.container_id, lease.addresses[0].to_string()))
            .collect()
    }
}

/// A pod of the reference plugins: its bridge, its links, and their leases.
struct Foreign {
    pod: (Topology, Namespace),
    before: String,
}

impl Foreign {
    fn new(stage: &Stage) -> Self {
        let plugin = Path::new("/usr/lib/cni/bridge");
        assert!(
            plugin.exists(),
            "install the package containernetworking-plugins"
        );
        let (topology, [pod]) = Topology::new(["foreign"]);
        let conf = json!({
            "cniVersion": "1.0.0", "name": "foreign", "type": "bridge", "bridge": "br-ref",
            "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.99.0.0/24", "dataDir": stage.path("host-local")},
        });
        let environment = calls::environment(stage, &pod, "ADD");
        calls::execute(&stage.node, plugin, &environment, &conf.to_string()).unwrap();
        let mut foreign = Self {
            pod: (topology, pod),
            before: String::new(),
        };
        foreign.before = foreign.shown(stage);
        foreign
    }

    fn shown(&self, stage: &Stage) -> String {
        let store = stage.path("host-local/foreign");
        let mut leases: Vec<String> = fs::read_dir(store)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| format!("{} {:?}", path.display(), fs::read(&path).unwrap()))
            .collect();
        leases.sort();
        let (links, addresses) = network(&stage.node);
        let foreign = |name: &String| name.starts_with("veth") || name == "br-ref";
        let links: Vec<String> = links.into_iter().filter(foreign).collect();
        let gateway = addresses.contains("10.99.0.1");
        format!("{leases:?} {links:?} {gateway} {:?}", network(&self.pod.1))
    }
}

/// The links and the IPv4 addresses of a namespace, without a process for it.
fn network(netns: &Namespace) -> (BTreeSet<String>, BTreeSet<String>) {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
    let (links, routes) = netns.enter(|| (read("dev"), read("fib_trie")));
    let links = links
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    // A line with the address, and below it `/32 host LOCAL`.
    let lines: Vec<&str> = routes.lines().map(str::trim).collect();
    let local = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    let addresses = local.filter_map(|pair| pair[0].strip_prefix("|-- "));
    (
        links.map(|name| name.trim().to_owned()).collect(),
        addresses.map(str::to_owned).collect(),
    )
}

fn started(stage: &Stage, pods: BTreeSet<usize>) -> Agent {
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    agent.tell_pods(pods.into_iter().map(|n| pod(&container(n), &[])).collect());
    agent.wait_ready();
    agent
}

fn leases(state: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let leases = state["leases"].as_array().unwrap().iter();
    leases
        .map(|l| (text(&l["containerID"]), text(&l["addresses"][0])))
        .collect()
}
