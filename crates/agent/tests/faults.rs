//! Disks and clients that misbehave, on the real kernel.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod stage;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use sealane_cni::types::code;
use sealane_testkit::Topology;
use serde_json::Value;
use stage::{Stage, reach};

const SUBNET: &str = "10.244.1.0/27";

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
