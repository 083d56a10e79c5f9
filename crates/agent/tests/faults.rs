//! Disks and clients that misbehave, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use sealane_agent::inspect;
use sealane_cni::types::code;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::Value;
use stage::{
    Agent, Stage,
    calls::{conf, environment},
    killed::{Doomed, Seen, agent_of_a_stage},
    reach,
};

const SUBNET: &str = "10.244.1.0/27";

#[test]
fn a_disk_that_refuses_fails_the_add_and_nothing_else() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let runtime = stage.runtime();
    let (_pods, [a, b]) = Topology::new(["a", "b"]);
    runtime.add("a", &a).unwrap();
    let obstacle = stage.path("state/leases.json.new");
    let _ = fs::remove_file(&obstacle);
    fs::create_dir(&obstacle).unwrap();
    let error = runtime.add("b", &b).unwrap_err();
    let error = error.plugin_error().unwrap();
    assert_eq!(error.code, code::IO_FAILURE);
    assert!(error.msg.contains("leases.json.new"), "{error}");
    assert!(runtime.status().is_err());
    reach(&a, "10.244.1.1".parse().unwrap());
    fs::remove_dir(&obstacle).unwrap();
    agent.wait("the file is written again", |_| runtime.status().is_ok());
    assert_eq!(agent.leases(), 1, "what was refused is not leased");
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
    // A well-formed ADD without a descriptor, and names that are none.
    for (container, ifname, code) in [
        ("a", "eth0", code::DECODE_FAILURE),
        ("../a", "eth0", code::INVALID_ENVIRONMENT),
        ("a", "../eth0", code::INVALID_ENVIRONMENT),
        ("", "", code::INVALID_ENVIRONMENT),
    ] {
        for command in ["ADD", "DEL"] {
            let call = serde_json::json!({
                "command": command, "network": "n", "container_id": container, "ifname": ifname,
            });
            let refused = refused(&mut connect(), format!("{call}\n").as_bytes());
            let fine = command == "DEL" && code == code::DECODE_FAILURE;
            assert_eq!(refused, if fine { 0 } else { code }, "{call}");
        }
    }
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

/// A runtime that is killed and starts again deletes what it had not finished; what its plugins
/// did after that would stay for ever.
#[test]
fn a_plugin_that_outlives_its_runtime_does_nothing() {
    let stage = Stage::new();
    let agent = stage.start_ready(&[SUBNET]);
    let (_pods, [a]) = Topology::new(["a"]);
    let before = stage.kernel();
    // `sealane node` names itself, and the kernel ends its plugins with it.
    for (names_itself, told) in [
        (true, None),
        (false, Some(u64::from(code::TRY_AGAIN_LATER))),
    ] {
        let mut runtime = runtime_that_waits(&stage, &a, names_itself);
        let mut conf_pipe = runtime.stdin.take().unwrap();
        let mut said = BufReader::new(runtime.stdout.take().unwrap());
        let mut plugin = String::new();
        said.read_line(&mut plugin).unwrap();
        let waits_in = format!("/proc/{}/wchan", plugin.trim());
        eventually(SOON, "the plugin waits for its configuration", || {
            let place = fs::read_to_string(&waits_in).unwrap_or_default();
            place.contains("pipe_read").then_some(()).ok_or(place)
        });
        runtime.kill().unwrap();
        runtime.wait().unwrap();
        let _ = write!(conf_pipe, "{}", conf(&stage, "1.0.0"));
        drop(conf_pipe);
        let mut answer = String::new();
        said.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        assert_eq!(answer["code"].as_u64(), told, "{answer}");
        assert_eq!((agent.leases(), stage.kernel()), (0, before.clone()));
    }
}

/// A shell that starts the plugin, prints its process id and waits for it.
fn runtime_that_waits(stage: &Stage, netns: &Namespace, names_itself: bool) -> Child {
    let name = if names_itself {
        "export SEALANE_RUNTIME_PID=$$;"
    } else {
        ""
    };
    let script = format!("exec 3<&0; {name} \"$0\" <&3 & echo $!; wait");
    Command::new("sh")
        .args(["-c", &script])
        .arg(stage.path("bin/sealane"))
        .envs(environment(stage, netns, "ADD"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the process that the tests of kills start"]
fn agent_in_a_process() {
    agent_of_a_stage();
}

/// What is going on when the agent is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Add,
    Del,
    /// It starts, and carries out a DEL that was left for it.
    Start,
}

/// `SEALANE_KILLS` is how many of the calls that change something are tried for each moment; 1000 are all of them.
#[test]
fn an_agent_that_is_killed_before_any_system_call_leaks_nothing_and_gives_nothing_twice() {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let kills: usize = number("SEALANE_KILLS").unwrap_or(3);
    for moment in [Moment::Add, Moment::Del, Moment::Start] {
        let scene = Scene::new();
        let all = scene.play(moment, usize::MAX).calls.len();
        assert!(all > 3, "{moment:?}: only {all} calls were seen");
        let step = all.div_ceil(kills.max(1)).max(1);
        let points: Vec<usize> = (1..=all).rev().step_by(step).collect();
        let killed = points
            .iter()
            .filter(|point| scene.play(moment, **point).killed);
        let killed = killed.count();
        println!("{moment:?}: {all} calls, killed before {killed} of them");
        assert!(
            killed * 2 > points.len(),
            "{moment:?}: {killed} of {points:?}"
        );
    }
}

struct Scene {
    stage: Stage,
    _pods: Topology,
    a: Namespace,
    b: Namespace,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new();
        let (pods, [a, b]) = Topology::new(["a", "b"]);
        let _installs_the_plugin = stage.start_ready(&[SUBNET]);
        stage.runtime().network();
        Self {
            stage,
            _pods: pods,
            a,
            b,
        }
    }

    fn play(&self, moment: Moment, number: usize) -> Seen {
        let runtime = self.stage.runtime();
        let (seen, expected) = match moment {
            Moment::Add => {
                let mut doomed = self.ready();
                doomed.kill_before(number);
                let added = runtime.add("a", &self.a);
                (doomed.end(), added.is_ok().then_some(true))
            }
            Moment::Del => {
                let mut doomed = self.ready();
                runtime.add("a", &self.a).unwrap();
                doomed.kill_before(number);
                let deleted = runtime.del("a", Some(&self.a));
                (doomed.end(), deleted.is_ok().then_some(false))
            }
            Moment::Start => {
                let agent = self.stage.start_ready(&[SUBNET]);
                runtime.add("a", &self.a).unwrap();
                agent.kill();
                runtime.del("a", None).unwrap();
                let mut doomed = Doomed::new(&self.stage, SUBNET);
                doomed.kill_before(number);
                doomed.go();
                doomed.wait_ready_or_killed(&self.stage);
                (doomed.end(), Some(false))
            }
        };
        self.recovers(&format!("{moment:?} {number} {seen:?}"), expected);
        seen
    }

    fn ready(&self) -> Doomed {
        let mut doomed = Doomed::new(&self.stage, SUBNET);
        doomed.go();
        doomed.wait_ready(&self.stage);
        doomed
    }

    /// The next agent finds pod `a` attached, or not, as the runtime was told; unknown when it was told nothing.
    fn recovers(&self, after: &str, attached: Option<bool>) {
        let agent = self.stage.start_ready(&[SUBNET]);
        let runtime = self.stage.runtime();
        self.agree(&agent, after);
        match attached {
            Some(true) => runtime
                .check("a", &self.a)
                .unwrap_or_else(|error| panic!("{after}: {error}")),
            Some(false) => {
                agent.wait("no lease is left", |s| s["leases"] == Value::Array(vec![]));
                assert!(!self.address_of_a().contains("inet"), "{after}");
            }
            None => {}
        }
        let added = runtime.add("b", &self.b).unwrap();
        let given = added.ips[0].address.to_string();
        let kept = self.address_of_a();
        assert!(!kept.contains(&given), "{after}: {given} twice: {kept}");
        reach(&self.b, "10.244.1.1".parse().unwrap());
        runtime.del("a", Some(&self.a)).unwrap();
        runtime.del("b", Some(&self.b)).unwrap();
        assert_eq!(agent.leases(), 0, "{after}");
        self.agree(&agent, after);
        eventually(SOON, "the spool is empty", || {
            fs::read_dir(self.stage.path("state/spool")).map_or(0, Iterator::count) == 0
        });
        assert_eq!(self.address_of_a(), "", "{after}");
    }

    fn address_of_a(&self) -> String {
        let shown = self.a.run("ip", ["-o", "-4", "address", "show"]).succeeds();
        let of_pod = shown.lines().filter(|line| line.contains("eth0"));
        of_pod.collect()
    }

    /// Leases, labels and links say the same.
    fn agree(&self, agent: &Agent, after: &str) {
        let run = self.stage.path("run");
        agent.wait("leases and links agree", |_| {
            let faults = self.stage.node.enter(|| inspect::check(&run));
            faults.is_ok_and(|faults| faults.is_empty())
        });
        let state = agent.state().unwrap();
        let addresses = state["leases"].as_array().unwrap().iter();
        let addresses: Vec<String> = addresses.map(|l| l["addresses"].to_string()).collect();
        let mut once = addresses.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), addresses.len(), "{after}: {addresses:?}");
    }
}
