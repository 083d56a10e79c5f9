//! Kills, disks and clients that misbehave, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
};

use sealane_cni::types::code;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::Value;
use stage::{Agent, Stage, attachment, ip, pod, reach, this_node};

const SUBNET: &str = "10.244.1.0/27";

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

/// What the runtime believes: which sandboxes have which address. Failed calls
/// are followed by DEL, as the specification asks of a runtime.
#[derive(Default)]
struct Believed(BTreeMap<usize, IpAddr>);

#[test]
fn random_calls_and_kills_leave_file_kernel_and_runtime_in_agreement() {
    const PODS: usize = 12;
    let stage = Stage::new();
    let titles: [String; PODS] = std::array::from_fn(|n| format!("p{n}"));
    let (_pods, namespaces) = Topology::new(titles.each_ref().map(String::as_str));
    let mut agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let mut believed = Believed::default();
    let mut dice = Dice(0x5ea1_a7e5_eed0_0001);
    for round in 0..25 {
        // A few sandboxes change at once, and in some rounds the agent is killed meanwhile.
        let chosen: BTreeSet<usize> = (0..4).map(|_| dice.below(PODS)).collect();
        let kill = dice.below(3) == 0;
        let calls = chosen.iter().map(|n| {
            let has = believed.0.contains_key(n);
            let (runtime, netns) = (&runtime, &namespaces[*n]);
            let container = format!("c{n}");
            async move {
                let network = sealane_cni::invoke::load_conflist(&runtime.conf_dir).unwrap();
                let attachment = attachment(&container, Some(netns));
                if has {
                    let deleted = runtime.runtime.del(Some(&network), &attachment).await;
                    (*n, deleted.map(|()| None))
                } else {
                    let added = runtime.runtime.add(&network, &attachment).await;
                    (*n, added.map(|result| Some(ip(&result))))
                }
            }
        });
        let all = futures::future::join_all(calls);
        let answers = if kill {
            let (answers, next) = std::thread::scope(|scope| {
                let stage = &stage;
                let old = agent;
                let restart = scope.spawn(move || {
                    old.kill();
                    restarted(stage)
                });
                let answers = runtime.tokio.block_on(all);
                (answers, restart.join().unwrap())
            });
            agent = next;
            answers
        } else {
            runtime.tokio.block_on(all)
        };
        for (n, answer) in answers {
            match answer {
                Ok(Some(address)) => drop(believed.0.insert(n, address)),
                Ok(None) => drop(believed.0.remove(&n)),
                Err(_) => {
                    runtime.del(&format!("c{n}"), Some(&namespaces[n])).unwrap();
                    believed.0.remove(&n);
                }
            }
        }
        agree(&stage, &agent, &believed, &namespaces, round);
    }
    let someone = believed.0.keys().next().copied().unwrap();
    reach(&namespaces[someone], "10.244.1.1".parse().unwrap());
}

fn restarted(stage: &Stage) -> Agent {
    let agent = stage.start();
    agent.tell_nodes(vec![this_node(&[SUBNET])]);
    // All pods are still wanted, so the API gives no reason to release anything.
    agent.tell_pods((0..12).map(|n| pod(&format!("c{n}"), &[])).collect());
    agent.wait_ready();
    agent
}

fn agree(
    stage: &Stage,
    agent: &Agent,
    believed: &Believed,
    namespaces: &[Namespace],
    round: usize,
) {
    let distinct: BTreeSet<&IpAddr> = believed.0.values().collect();
    assert_eq!(
        distinct.len(),
        believed.0.len(),
        "round {round}: an address was given out twice"
    );
    let expected: BTreeMap<String, String> = believed
        .0
        .iter()
        .map(|(n, address)| (format!("c{n}"), format!("{address}/27")))
        .collect();
    assert_eq!(
        leases(&agent.state().unwrap()),
        expected,
        "round {round}: memory"
    );
    eventually(SOON, "the file agrees", || {
        leases(&stage.leases_on_disk()) == expected
    });
    let links = stage
        .node
        .run("ip", ["-o", "link"])
        .succeeds()
        .matches(": sl")
        .count();
    assert_eq!(links, expected.len(), "round {round}: links");
    for (n, netns) in namespaces.iter().enumerate() {
        let shown = netns.run("ip", ["-o", "-4", "address"]).succeeds();
        let address = believed.0.get(&n).map(|a| format!(" {a}/27 "));
        match address {
            Some(address) => assert!(
                shown.contains(&address),
                "round {round}: {address} in {shown}"
            ),
            None => assert!(!shown.contains("eth0"), "round {round}: {shown}"),
        }
    }
}

fn leases(state: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let leases = state["leases"].as_array().unwrap().iter();
    leases
        .map(|l| (text(&l["containerID"]), text(&l["addresses"][0])))
        .collect()
}

#[test]
fn a_disk_that_refuses_fails_the_add_and_nothing_else() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    let obstacle = stage.path("state/leases.json.new");
    fs::create_dir(&obstacle).unwrap();
    let error = runtime.add("b", &b).unwrap_err();
    let error = error.plugin_error().unwrap();
    assert_eq!(error.code, code::IO_FAILURE);
    assert!(error.msg.contains("leases.json.new"), "{error}");
    assert!(runtime.status().is_err());
    reach(&a, "10.244.1.1".parse().unwrap());
    fs::remove_dir(&obstacle).unwrap();
    agent.wait("the file is written again", |_| runtime.status().is_ok());
    runtime.add("b", &b).unwrap();
    reach(&b, "10.244.1.2".parse().unwrap());
}

#[test]
fn clients_that_speak_nonsense_harm_nobody() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a]) = Topology::new(["a"]);
    let connect = || UnixStream::connect(stage.path("run/agent.sock")).unwrap();
    let silent = connect();
    drop(connect());
    for nonsense in [
        "\n",
        "{}\n",
        "{\"command\":\"ADD\"}\n",
        "[1,2]\n",
        "\u{0}\u{1}\n",
    ] {
        assert_eq!(
            refused(&mut connect(), nonsense.as_bytes()),
            code::DECODE_FAILURE,
            "{nonsense:?}"
        );
    }
    // A well-formed ADD without a descriptor.
    let add =
        "{\"command\":\"ADD\",\"network\":\"n\",\"container_id\":\"a\",\"ifname\":\"eth0\"}\n";
    assert_eq!(
        refused(&mut connect(), add.as_bytes()),
        code::DECODE_FAILURE
    );
    assert_eq!(
        refused(&mut connect(), &vec![b'x'; 2 << 20]),
        code::DECODE_FAILURE
    );
    runtime.add("a", &a).unwrap();
    assert_eq!(agent.leases(), 1);
    drop(silent);
}

fn refused(stream: &mut UnixStream, text: &[u8]) -> u32 {
    // What is too long is not read to its end.
    let _ = stream.write_all(text);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    answer["failed"]["code"].as_u64().unwrap_or_default() as u32
}
