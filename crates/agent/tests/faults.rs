//! Disks and clients that misbehave, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use sealane_cni::types::code;
use sealane_testkit::{Namespace, SOON, Topology, eventually};
use serde_json::Value;
use stage::{
    Stage,
    calls::{conf, environment},
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
