//! Bare network namespaces, veths and bridges, for tests that need a network and no cluster.
//!
//! Built with the `ip` command on purpose: what tests our netlink code must not be made by it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::run;
use crate::namespace::Namespace;

/// The bridge of [`Topology::plug`].
const SWITCH: &str = "switch";

/// A word for names of kernel objects that no other test of this machine uses.
///
/// It carries the process id, so that [`crate::cluster`] can tell what a killed test run has left.
pub fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    format!(
        "t{}-{}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Namespaces that live as long as this value; the links inside go with them.
#[derive(Debug)]
pub struct Topology {
    name: String,
    namespaces: Vec<Namespace>,
}

impl Topology {
    /// One namespace for each title, with its loopback up and nothing else.
    ///
    /// # Panics
    /// When a namespace cannot be made; that takes root and CAP_SYS_ADMIN.
    #[track_caller]
    pub fn new<const N: usize>(titles: [&str; N]) -> (Self, [Namespace; N]) {
        let mut topology = Self {
            name: unique(),
            namespaces: Vec::new(),
        };
        let made = titles.map(|title| topology.add_namespace(title));
        (topology, made)
    }

    #[track_caller]
    fn add_namespace(&mut self, title: &str) -> Namespace {
        let name = format!("{}-{title}", self.name);
        run("ip", ["netns", "add", &name]).succeeds();
        let namespace = Namespace::named(&name);
        self.namespaces.push(namespace.clone());
        namespace.run("ip", ["link", "set", "lo", "up"]).succeeds();
        namespace
    }

    /// Joins two namespaces by a veth and gives each end an address (`10.0.0.1/24`).
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn join(&self, left: (&Namespace, &str, &str), right: (&Namespace, &str, &str)) {
        let ((near, near_link, near_address), (far, far_link, far_address)) = (left, right);
        let far_name = far.title();
        // With a queue for each processor the kernel takes several times as long.
        const ONE_QUEUE: [&str; 4] = ["numtxqueues", "1", "numrxqueues", "1"];
        let one = ["link", "add", "name", near_link];
        let other = ["type", "veth", "peer", "name", far_link];
        let place = ["netns", far_name];
        let words = [&one[..], &ONE_QUEUE, &other, &ONE_QUEUE, &place].concat();
        near.run("ip", words).succeeds();
        for (namespace, link, address) in [
            (near, near_link, near_address),
            (far, far_link, far_address),
        ] {
            add_address(namespace, link, address);
            namespace.run("ip", ["link", "set", link, "up"]).succeeds();
        }
    }

    /// Plugs a namespace into a bridge called `switch` of another, which is made first if it is not there.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn plug(&self, switch: &Namespace, end: &Namespace, link: &str, address: &str) {
        static PORT: AtomicU32 = AtomicU32::new(1);
        if !switch.run("ip", ["link", "show", SWITCH]).status.success() {
            self.add_bridge(switch, SWITCH);
        }
        let port = format!("port{}", PORT.fetch_add(1, Ordering::Relaxed));
        let pair = [
            "link",
            "add",
            &port,
            "master",
            SWITCH,
            "type",
            "veth",
            "peer",
            "name",
            link,
            "netns",
            end.title(),
        ];
        switch.run("ip", pair).succeeds();
        switch.run("ip", ["link", "set", &port, "up"]).succeeds();
        add_address(end, link, address);
        end.run("ip", ["link", "set", link, "up"]).succeeds();
    }

    /// Adds a bridge of that name and brings it up.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn add_bridge(&self, namespace: &Namespace, name: &str) {
        namespace
            .run("ip", ["link", "add", name, "type", "bridge"])
            .succeeds();
        namespace.run("ip", ["link", "set", name, "up"]).succeeds();
    }

    /// A namespace's name in `ip netns list`, made from the topology's own name and a title.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Adds an address to a link.
///
/// # Panics
/// When the kernel refuses.
#[track_caller]
pub fn add_address(namespace: &Namespace, link: &str, address: &str) {
    let mut words = vec!["address", "add", address, "dev", link];
    if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) || address.contains(':') {
        words.push("nodad");
    }
    namespace.run("ip", words).succeeds();
}

impl Drop for Topology {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            if std::thread::panicking() {
                eprintln!("look around with: {} bash", namespace.prefix());
                eprintln!("{}", namespace.run("ip", ["address"]));
                eprintln!("{}", namespace.run("ip", ["route"]));
            }
            let gone = run("ip", ["netns", "delete", namespace.title()]);
            if !gone.status.success() {
                eprintln!("delete namespace: {gone}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        assert_ne!(unique(), unique());
    }

    #[test]
    fn two_namespaces_on_a_veth_reach_each_other_and_are_gone_afterwards() {
        let (topology, [left, right]) = Topology::new(["left", "right"]);
        topology.join(
            (&left, "eth0", "10.9.0.1/24"),
            (&right, "eth0", "10.9.0.2/24"),
        );
        let listener = right
            .enter(|| std::net::TcpListener::bind("10.9.0.2:80"))
            .unwrap();
        left.enter(|| std::net::TcpStream::connect("10.9.0.2:80"))
            .unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), "10.9.0.1");

        let name = topology.name().to_owned();
        drop(topology);
        let names = run("ip", ["netns", "list"]).succeeds();
        assert!(!names.contains(&name), "{names}");
    }
}
