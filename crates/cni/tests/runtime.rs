//! What a runtime does with a chain, seen by plugins that write down how they were called.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use sealane_cni::{
    invoke::{Attachment, NetworkConf, Runtime},
    types::code,
};
use serde_json::{Value, json};

/// Two plugins, `first` and `second`; each adds a line to `calls` and its name to the result.
struct Stage {
    dir: tempfile::TempDir,
    runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["first", "second"] {
            let script = format!(
                r#"#!/bin/sh
conf=$(cat)
echo "{name} $CNI_COMMAND $CNI_CONTAINERID $conf" >> {calls}
if [ -e {dir}/fail-{name}-$CNI_COMMAND ]; then
    echo '{{"cniVersion":"1.0.0","code":11,"msg":"{name} is tired"}}'
    exit 1
fi
[ $CNI_COMMAND != ADD ] || echo '{{"cniVersion":"1.0.0","interfaces":[{{"name":"{name}"}}],"dns":{{}}}}'
"#,
                calls = dir.path().join("calls").display(),
                dir = dir.path().display(),
            );
            let path = bin.join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let runtime = Runtime {
            bin_dirs: vec![PathBuf::from("/nowhere"), bin],
            cache_dir: dir.path().join("cache"),
        };
        Self { dir, runtime }
    }

    fn fail(&self, plugin: &str, command: &str) {
        fs::write(self.dir.path().join(format!("fail-{plugin}-{command}")), "").unwrap();
    }

    /// Who was called with which command, and what each read.
    fn calls(&self) -> Vec<(String, Value)> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.dir.path().join("calls"));
        text.lines()
            .map(|line| {
                let mut words = line.splitn(4, ' ');
                let call = [words.next().unwrap(), words.next().unwrap()].join(" ");
                (call, serde_json::from_str(words.nth(1).unwrap()).unwrap())
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.calls().into_iter().map(|(call, _)| call).collect()
    }
}

fn network(version: &str) -> NetworkConf {
    NetworkConf::parse(json!({
        "cniVersion": version, "name": "net",
        "plugins": [{"type": "first", "key": "value"}, {"type": "second"}],
    }))
    .unwrap()
}

fn attachment() -> Attachment {
    Attachment {
        container_id: "abc".into(),
        netns: Some("/run/netns/abc".into()),
        ifname: "eth0".into(),
        ..Attachment::default()
    }
}

#[tokio::test]
async fn a_chain_is_added_in_order_and_deleted_in_reverse_with_the_result() {
    let stage = Stage::new();
    let network = network("1.0.0");
    let result = stage.runtime.add(&network, &attachment()).await.unwrap();
    assert_eq!(result.interfaces[0].name, "second");
    let calls = stage.calls();
    assert_eq!(
        calls[0].1,
        json!({"cniVersion": "1.0.0", "name": "net", "type": "first", "key": "value"})
    );
    assert_eq!(calls[1].1["prevResult"]["interfaces"][0]["name"], "first");

    stage.runtime.check(&network, &attachment()).await.unwrap();
    let calls = stage.calls();
    assert_eq!(
        (calls[0].0.as_str(), calls[1].0.as_str()),
        ("first CHECK", "second CHECK")
    );
    assert_eq!(calls[0].1["prevResult"]["interfaces"][0]["name"], "second");

    assert_eq!(stage.runtime.cached().unwrap().len(), 1);
    stage
        .runtime
        .del(Some(&network), &attachment())
        .await
        .unwrap();
    let calls = stage.calls();
    assert_eq!(
        (calls[0].0.as_str(), calls[1].0.as_str()),
        ("second DEL", "first DEL")
    );
    assert_eq!(calls[1].1["prevResult"]["interfaces"][0]["name"], "second");
    assert_eq!(stage.runtime.cached().unwrap(), []);
}

#[tokio::test]
async fn del_uses_the_configuration_of_its_add_whatever_is_on_disk_now() {
    let stage = Stage::new();
    stage
        .runtime
        .add(&network("1.0.0"), &attachment())
        .await
        .unwrap();
    stage.calls();
    // As after an upgrade: another chain, or none at all.
    let restarted = stage.runtime.clone();
    restarted.del(None, &attachment()).await.unwrap();
    assert_eq!(stage.names(), ["second DEL", "first DEL"]);
    restarted.del(None, &attachment()).await.unwrap();
    assert_eq!(stage.names(), [""; 0]);
    // Nothing is known of it, but the network is: plugins decide that nothing is to be done.
    restarted
        .del(Some(&network("1.0.0")), &attachment())
        .await
        .unwrap();
    assert_eq!(stage.names(), ["second DEL", "first DEL"]);
}

#[tokio::test]
async fn an_add_that_fails_is_taken_back_and_says_why() {
    let stage = Stage::new();
    stage.fail("second", "ADD");
    let error = stage
        .runtime
        .add(&network("1.0.0"), &attachment())
        .await
        .unwrap_err();
    assert_eq!(error.plugin_error().unwrap().code, code::TRY_AGAIN_LATER);
    assert_eq!(
        error.to_string(),
        "ADD of container abc on network net: plugin second: second is tired (CNI code 11)"
    );
    assert_eq!(
        stage.names(),
        ["first ADD", "second ADD", "second DEL", "first DEL"]
    );
    assert_eq!(stage.runtime.cached().unwrap(), []);
}

#[tokio::test]
async fn a_del_that_fails_can_be_repeated() {
    let stage = Stage::new();
    stage
        .runtime
        .add(&network("1.0.0"), &attachment())
        .await
        .unwrap();
    stage.fail("second", "DEL");
    stage.runtime.del(None, &attachment()).await.unwrap_err();
    assert_eq!(stage.runtime.cached().unwrap().len(), 1);
    fs::remove_file(stage.dir.path().join("fail-second-DEL")).unwrap();
    stage.runtime.del(None, &attachment()).await.unwrap();
    assert_eq!(stage.runtime.cached().unwrap(), []);
}

#[tokio::test]
async fn commands_that_a_version_lacks_are_not_called() {
    let stage = Stage::new();
    let old = network("0.3.1");
    stage.runtime.add(&old, &attachment()).await.unwrap();
    stage.calls();
    stage.runtime.check(&old, &attachment()).await.unwrap();
    stage.runtime.status(&old).await.unwrap();
    assert_eq!(stage.names(), [""; 0]);
    stage.runtime.del(None, &attachment()).await.unwrap();
    assert!(
        stage
            .calls()
            .iter()
            .all(|(_, conf)| conf.get("prevResult").is_none())
    );
    stage.runtime.status(&network("1.1.0")).await.unwrap();
    assert_eq!(stage.names(), ["first STATUS", "second STATUS"]);
}

#[tokio::test]
async fn names_that_would_leave_the_cache_folder_are_refused() {
    let stage = Stage::new();
    for (container_id, ifname) in [
        ("../abc", "eth0"),
        ("abc", "../eth0"),
        ("", "eth0"),
        ("abc", ""),
    ] {
        let attachment = Attachment {
            container_id: container_id.into(),
            ifname: ifname.into(),
            ..attachment()
        };
        stage
            .runtime
            .add(&network("1.0.0"), &attachment)
            .await
            .unwrap_err();
        stage.runtime.del(None, &attachment).await.unwrap_err();
    }
    assert_eq!(stage.names(), [""; 0]);
}

#[tokio::test]
async fn a_torn_file_of_the_cache_is_no_obstacle() {
    let stage = Stage::new();
    let network = network("1.0.0");
    stage.runtime.add(&network, &attachment()).await.unwrap();
    fs::write(stage.dir.path().join("cache/net-abc-eth0.json"), "{").unwrap();
    stage.calls();
    stage
        .runtime
        .del(Some(&network), &attachment())
        .await
        .unwrap();
    assert_eq!(stage.names(), ["second DEL", "first DEL"]);
}
