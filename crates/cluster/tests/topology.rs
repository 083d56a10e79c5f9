//! A topology on the real kernel: made, mended, removed. Needs root.
//!
//! The machine of each test is a network namespace of its own, with a link to
//! another one that is the world. So no test sees this machine's links, and
//! nothing is sent beyond it.
//!
//! ```text
//!   world 192.0.2.1 ── uplink 192.0.2.2 machine sl-NAME ── NAME-net ── NAME-node-1, NAME-node-2
//! ```

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::{Asked, Plan, resolve};
use sealane_cluster::{observe, topology};
use sealane_net::Route;
use sealane_netlink::{Netlink, Veth, VethPeer, netns, sysctl};

const WORLD: &str = "192.0.2.1";
const UPLINK: &str = "192.0.2.2";
const FORWARD: &str = "net.ipv4.ip_forward";

/// Runs a test on a machine of its own.
fn on_a_machine<F: Future<Output = ()>>(test: impl FnOnce(Machine) -> F + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { test(Machine::new().await).await });
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

struct Machine {
    netlink: Netlink,
    world: Netlink,
    shared: tempfile::TempDir,
}

impl Machine {
    async fn new() -> Self {
        let world = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            netns::open("/proc/thread-self/ns/net".as_ref()).unwrap()
        });
        let world = world.join().unwrap();
        let (netlink, outside) = (
            Netlink::in_current().unwrap(),
            Netlink::in_netns(&world).unwrap(),
        );
        let veth = Veth {
            name: "uplink",
            up: true,
            peer: VethPeer {
                name: "uplink",
                netns: Some(world.as_fd()),
                ..VethPeer::default()
            },
            ..Veth::default()
        };
        netlink.add_veth(&veth).await.unwrap();
        for (side, address) in [(&netlink, UPLINK), (&outside, WORLD)] {
            side.set_up("lo").await.unwrap();
            side.set_up("uplink").await.unwrap();
            side.add_address("uplink", format!("{address}/24").parse().unwrap())
                .await
                .unwrap();
        }
        let default = Route::via("0.0.0.0/0".parse().unwrap(), WORLD.parse().unwrap());
        netlink
            .set_route(&Route {
                protocol: 3,
                ..default
            })
            .await
            .unwrap();
        sysctl::set(FORWARD, "0").unwrap();
        Self {
            netlink,
            world: outside,
            shared: tempfile::tempdir().unwrap(),
        }
    }

    async fn cluster(&self, suffix: &str, internet: bool) -> Cluster {
        let name = format!("ct{}-{suffix}", std::process::id())
            .parse()
            .unwrap();
        let asked = Asked {
            name,
            no_internet: !internet,
            ..Asked::default()
        };
        let plan = resolve(&asked, &observe::observe(&asked.name).await.unwrap()).unwrap();
        let layout = Layout {
            shared: self.shared.path().to_owned(),
            ..Layout::new(plan.name.clone(), PathBuf::from("/nonexistent"))
        };
        let cluster = Cluster { plan, layout };
        topology::build(&cluster.layout, &cluster.plan)
            .await
            .unwrap();
        cluster
    }
}

/// A cluster's network that is removed however the test ends.
struct Cluster {
    plan: Plan,
    layout: Layout,
}

impl Cluster {
    fn address(&self, node: u32) -> IpAddr {
        self.plan.node(node).addresses[0].addr()
    }

    fn inside(&self, node: u32) -> Netlink {
        Netlink::in_named(&self.plan.node(node).netns).unwrap()
    }

    async fn remove(&self) {
        let errors = topology::remove(&self.layout).await;
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!topology::exists(&self.layout).await);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for name in topology::namespaces(&self.plan.name) {
            netns::delete_named(&name).unwrap();
        }
    }
}

/// Says a word to a listener; returns whom it was heard from.
fn say(listener: &TcpListener, connect: impl FnOnce(SocketAddr) -> TcpStream) -> IpAddr {
    let mut stream = connect(listener.local_addr().unwrap());
    stream.write_all(b"hello").unwrap();
    drop(stream);
    let (mut heard, from) = listener.accept().unwrap();
    let mut word = String::new();
    heard.read_to_string(&mut word).unwrap();
    assert_eq!(word, "hello");
    from.ip()
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap()
}

fn listen(place: &Netlink, address: impl Into<IpAddr>) -> TcpListener {
    let address = address.into();
    place
        .run(|| TcpListener::bind((address, 0)).unwrap())
        .unwrap()
}

#[test]
fn nodes_and_this_machine_reach_each_other_with_their_own_addresses() {
    on_a_machine(async |machine| {
        let cluster = machine.cluster("reach", false).await;
        let (one, two) = (cluster.inside(1), cluster.inside(2));
        let on_two = listen(&two, cluster.address(2));
        assert_eq!(
            one.run(|| say(&on_two, connect)).unwrap(),
            cluster.address(1)
        );
        let here = cluster.plan.machine_addresses()[0].addr();
        assert_eq!(say(&on_two, connect), here);
        let on_machine = listen(&machine.netlink, here);
        assert_eq!(
            two.run(|| say(&on_machine, connect)).unwrap(),
            cluster.address(2)
        );
    });
}

#[test]
fn a_second_build_changes_nothing_and_a_half_one_is_mended() {
    on_a_machine(async |machine| {
        let cluster = machine.cluster("mend", true).await;
        let Cluster { plan, layout } = &cluster;
        let net = Netlink::in_named(&plan.name.network_netns()).unwrap();
        let look = async || {
            let mut links = net.links().await.unwrap();
            links.extend(cluster.inside(1).links().await.unwrap());
            links
        };
        let before = look().await;
        topology::build(layout, plan).await.unwrap();
        assert_eq!(look().await, before);

        cluster.inside(1).delete_link("eth0").await.unwrap();
        netns::delete_named(&plan.node(2).netns).unwrap();
        machine
            .netlink
            .delete_link(plan.name.machine_link().as_str())
            .await
            .unwrap();
        topology::build(layout, plan).await.unwrap();
        let on_two = listen(&cluster.inside(2), cluster.address(2));
        assert_eq!(
            cluster.inside(1).run(|| say(&on_two, connect)).unwrap(),
            cluster.address(1)
        );
        say(&on_two, connect);
    });
}

#[test]
fn a_node_reaches_the_world_with_the_machines_address() {
    on_a_machine(async |machine| {
        let cluster = machine.cluster("world", true).await;
        let in_world = listen(&machine.world, WORLD.parse::<IpAddr>().unwrap());
        let from = cluster.inside(1).run(|| say(&in_world, connect)).unwrap();
        assert_eq!(from, UPLINK.parse::<IpAddr>().unwrap());
    });
}

#[test]
fn without_the_internet_the_world_hears_nothing_even_where_this_machine_forwards() {
    on_a_machine(async |machine| {
        sysctl::set(FORWARD, "1").unwrap();
        let cluster = machine.cluster("alone", false).await;
        let in_world = listen(&machine.world, WORLD.parse::<IpAddr>().unwrap());
        in_world.set_nonblocking(true).unwrap();
        let address = in_world.local_addr().unwrap();
        let refused = cluster
            .inside(1)
            .run(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)))
            .unwrap();
        assert!(refused.is_err());
        assert!(in_world.accept().is_err());
        cluster.remove().await;
        assert_eq!(sysctl::get(FORWARD).unwrap(), "1");
    });
}

#[test]
fn the_last_cluster_puts_forwarding_back_as_the_first_found_it() {
    on_a_machine(async |machine| {
        const REDIRECTS: &str = "net.ipv4.conf.all.accept_redirects";
        const UPLINK_FORWARDS: &str = "net.ipv4.conf.uplink.forwarding";
        sysctl::set(REDIRECTS, "0").unwrap();
        sysctl::set(UPLINK_FORWARDS, "1").unwrap();
        let first = machine.cluster("first", true).await;
        let second = machine.cluster("second", true).await;
        first.remove().await;
        assert_eq!(sysctl::get(FORWARD).unwrap(), "1");
        let in_world = listen(&machine.world, WORLD.parse::<IpAddr>().unwrap());
        second.inside(1).run(|| say(&in_world, connect)).unwrap();
        second.remove().await;
        let after = [FORWARD, REDIRECTS, UPLINK_FORWARDS].map(|key| sysctl::get(key).unwrap());
        assert_eq!(after, ["0", "0", "1"]);
        assert!(machine.netlink.tables().await.unwrap().is_empty());
        assert_eq!(
            std::fs::read_dir(machine.shared.path()).unwrap().count(),
            0,
            "nothing is left of it"
        );
    });
}

#[test]
fn removal_leaves_nothing_and_may_be_repeated() {
    on_a_machine(async |machine| {
        let before = machine.netlink.links().await.unwrap();
        let cluster = machine.cluster("gone", true).await;
        assert!(topology::exists(&cluster.layout).await);
        assert_eq!(topology::namespaces(&cluster.plan.name).len(), 3);
        cluster.remove().await;
        cluster.remove().await;
        assert_eq!(machine.netlink.links().await.unwrap(), before);
        assert!(machine.netlink.routes_of(94).await.unwrap().is_empty());
    });
}
