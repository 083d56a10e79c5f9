//! Namespaces for tests, and the tools that look into them.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sealane_netlink::{Bridge, Netlink, Veth, VethPeer, netns};

/// A namespace that goes away with this value.
pub struct Place {
    pub name: String,
    pub netns: OwnedFd,
    pub netlink: Netlink,
}

impl Place {
    /// A new namespace with its loopback up.
    pub async fn new() -> Self {
        let name = unique_name();
        let netns = netns::create_named(&name).expect("tests need root to make namespaces");
        // From here on the guard removes it, whatever fails.
        let place = Guard(name.clone());
        let netlink = Netlink::in_netns(&netns).unwrap();
        netlink.set_up("lo").await.unwrap();
        std::mem::forget(place);
        Self {
            name,
            netns,
            netlink,
        }
    }

    /// Runs `ip -j ARGS` in the namespace.
    pub fn ip(&self, args: &str) -> serde_json::Value {
        let text = self.run(&format!("ip -j {args}"));
        let text = if text.trim().is_empty() { "[]" } else { &text };
        serde_json::from_str(text).unwrap_or_else(|e| panic!("ip -j {args}: {e}: {text}"))
    }

    /// Runs a command line in the namespace and returns what it prints.
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(
            output.status.success(),
            "{line} in netns {} (look yourself: ip netns exec {} bash): {}",
            self.name,
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn try_run(&self, line: &str) -> std::process::Output {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        netns::spawn_in(&self.netns, None, &mut command)
            .unwrap()
            .wait_with_output()
            .unwrap()
    }

    /// A link that is up and leads nowhere: a bridge without ports.
    pub async fn add_link(&self, name: &str) {
        let bridge = Bridge {
            name,
            up: true,
            ..Bridge::default()
        };
        self.netlink.add_bridge(&bridge).await.unwrap();
    }

    /// Connects two places by a veth pair, both ends up.
    pub async fn connect(&self, link: &str, other: &Place, other_link: &str) {
        self.netlink
            .add_veth(&Veth {
                name: link,
                up: true,
                peer: VethPeer {
                    name: other_link,
                    netns: Some(other.netns.as_fd()),
                    ..VethPeer::default()
                },
                ..Veth::default()
            })
            .await
            .unwrap();
        other.netlink.set_up(other_link).await.unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(Guard(self.name.clone()));
    }
}

/// Removes a name.
pub struct Guard(pub String);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = netns::delete_named(&self.0) {
            eprintln!("{error}");
        }
    }
}

pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("sl-netlink-{}-{number}", std::process::id())
}
