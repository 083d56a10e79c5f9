//! Plugins called by hand, one process for each call.

use std::{io::Write, path::Path, process::Stdio};

use sealane_testkit::Namespace;
use serde_json::{Value, json};

use super::Stage;

/// What our plugin reads.
pub fn conf(stage: &Stage, version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "sealane", "type": "sealane",
        "socket": stage.path("run/agent.sock"), "spool": stage.path("state/spool"),
    })
}

pub fn netns_path(netns: &Namespace) -> String {
    format!("/run/netns/{}", netns.title())
}

/// The variables of a call for the container that is called as its namespace.
pub fn environment(stage: &Stage, netns: &Namespace, command: &str) -> Vec<(String, String)> {
    [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", netns.title()),
        ("CNI_NETNS", &netns_path(netns)),
        ("CNI_IFNAME", "eth0"),
        (
            "CNI_PATH",
            &format!("{}:/usr/lib/cni", stage.path("bin").display()),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The same with one variable of another value.
pub fn environment_with(
    stage: &Stage,
    netns: &Namespace,
    command: &str,
    (name, value): (&str, &str),
) -> Vec<(String, String)> {
    let mut all = environment(stage, netns, command);
    all.retain(|(known, _)| known != name);
    all.push((name.to_owned(), value.to_owned()));
    all
}

/// Our plugin: what it printed, or the error object.
pub fn plugin(
    stage: &Stage,
    netns: &Namespace,
    command: &str,
    conf: &Value,
) -> Result<Value, Value> {
    let environment = environment(stage, netns, command);
    ours(stage, &environment, conf)
}

/// Our plugin with an environment of its own.
pub fn ours(stage: &Stage, environment: &[(String, String)], conf: &Value) -> Result<Value, Value> {
    let program = stage.path("bin/sealane");
    execute(&Namespace::own(), &program, environment, &conf.to_string())
}

/// Any program as a plugin, within a namespace.
pub fn execute(
    within: &Namespace,
    program: &Path,
    environment: &[(String, String)],
    stdin: &str,
) -> Result<Value, Value> {
    let mut child = within
        .command(program.to_str().unwrap())
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A plugin that refuses its environment does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(printed)
    }
}
