//! A topology on the real kernel: made, mended, removed. Needs root.
//!
//! The machine of each test is a network namespace of its own, with a link to
//! another one that is the world. So no test sees this machine's links, and
//! nothing is sent beyond it.
//!
//! ```text
//!   world 192.0.2.1 ── uplink 192.0.2.2 machine sl-NAME ── NAME-net ── NAME-node-1, NAME-node-2
//!     2001:db8::1            2001:db8::2
//! ```

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::{Asked, IpFamily, Plan, resolve};
use sealane_cluster::{observe, topology};
use sealane_net::{Family, Route};
use sealane_netlink::{Netlink, Veth, VethPeer, netns, sysctl};

const WORLD: &str = "192.0.2.1";
const UPLINK: &str = "192.0.2.2";
const FORWARD: &str = "net.ipv4.ip_forward";
const WORLD_V6: &str = "2001:db8::1";
const UPLINK_V6: &str = "2001:db8::2";
const FORWARD_V6: &str = "net.ipv6.conf.all.forwarding";

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
        for (side, v4, v6) in [(&netlink, UPLINK, UPLINK_V6), (&outside, WORLD, WORLD_V6)] {
            // Link-local addresses are to be of use at once.
            side.set_sysctls(&[("net.ipv6.conf.uplink.accept_dad", "0")])
                .unwrap();
            side.set_up("lo").await.unwrap();
            side.set_up("uplink").await.unwrap();
            for address in [format!("{v4}/24"), format!("{v6}/64")] {
                side.add_address("uplink", address.parse().unwrap())
                    .await
                    .unwrap();
            }
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
        sysctl::set(FORWARD_V6, "0").unwrap();
        Self {
            netlink,
            world: outside,
            shared: tempfile::tempdir().unwrap(),
        }
    }

    async fn cluster(&self, suffix: &str, internet: bool) -> Cluster {
        self.cluster_of(None, suffix, internet).await
    }

    async fn cluster_of(
        &self,
        ip_family: Option<IpFamily>,
        suffix: &str,
        internet: bool,
    ) -> Cluster {
        let name = format!("ct{}-{suffix}", std::process::id())
            .parse()
            .unwrap();
        let asked = Asked {
            name,
            no_internet: !internet,
            ip_family,
            ..Asked::default()
        };
        let plan = resolve(&asked, &observe::observe(&asked.name).await.unwrap()).unwrap();
        let layout = Layout {
            shared: self.shared.path().to_owned(),
            ..Layout::new(plan.name.clone(), PathBuf::from("/nonexistent"))
        };
        let mut cluster = Cluster {
            plan,
            layout,
            lost: Vec::new(),
        };
        cluster.lost = topology::build(&cluster.layout, &cluster.plan)
            .await
            .unwrap();
        cluster
    }

    /// The world tells that it is the way to everywhere, as routers do (RFC 4861 §4.2); returns
    /// when the machine has heard it.
    async fn hear_a_router(&self) {
        let mut advertisement = [0; 16];
        (advertisement[0], advertisement[4]) = (134, 64);
        advertisement[6..8].copy_from_slice(&1800_u16.to_be_bytes());
        // What has passed a router is not believed: §6.1.2.
        let unrouted = [("net.ipv6.conf.uplink.hop_limit", "255")];
        self.world.set_sysctls(&unrouted).unwrap();
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let protocol = SockProtocol::IcmpV6;
        let open = || socket(AddressFamily::Inet6, kind, flags, protocol).unwrap();
        let router = UdpSocket::from(self.world.run(open).unwrap());
        let uplink = self.world.index_of("uplink").await.unwrap();
        let to = SocketAddrV6::new(self.link_local().await, 0, 0, uplink);
        for _ in 0..100 {
            router.send_to(&advertisement, to).unwrap();
            if self.learnt_way().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the machine does not listen to routers");
    }

    async fn link_local(&self) -> Ipv6Addr {
        let uplink = self.netlink.index_of("uplink").await.unwrap();
        let addresses = self.netlink.addresses_of(uplink).await.unwrap();
        let mut v6 = addresses.iter().filter_map(|net| match net.addr() {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        });
        v6.find(Ipv6Addr::is_unicast_link_local).unwrap()
    }

    /// Whether the machine has a default route that it was told of.
    async fn learnt_way(&self) -> bool {
        let routes = self.netlink.routes().await.unwrap();
        routes
            .iter()
            .any(|route| route.destination == Family::V6.everything())
    }
}

/// A cluster's network that is removed however the test ends.
struct Cluster {
    plan: Plan,
    layout: Layout,
    /// What its pods do not reach the world by, although they may.
    lost: Vec<Family>,
}

impl Cluster {
    fn v6_of(&self, node: u32) -> IpAddr {
        let addresses = self.plan.node(node).addresses;
        let mut v6 = addresses.iter().map(|net| net.addr());
        v6.find(IpAddr::is_ipv6).unwrap()
    }

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
        let Cluster { plan, layout, .. } = &cluster;
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
fn a_node_reaches_the_world_by_ipv6_and_the_machine_goes_on_listening_to_its_router() {
    on_a_machine(async |machine| {
        const OF_A_HOST: [(&str, &str); 3] = [
            ("net.ipv6.conf.uplink.forwarding", "0"),
            ("net.ipv6.conf.uplink.accept_ra", "1"),
            ("net.ipv6.conf.default.forwarding", "0"),
        ];
        machine.hear_a_router().await;
        let cluster = machine.cluster_of(Some(IpFamily::Dual), "six", true).await;
        assert_eq!(cluster.lost, []);
        for (key, value) in OF_A_HOST {
            assert_eq!(sysctl::get(key).unwrap(), value, "{key}");
        }
        assert!(machine.learnt_way().await, "the way that was learnt stays");
        for (world, uplink) in [(WORLD, UPLINK), (WORLD_V6, UPLINK_V6)] {
            let in_world = listen(&machine.world, world.parse::<IpAddr>().unwrap());
            let from = cluster.inside(1).run(|| say(&in_world, connect)).unwrap();
            assert_eq!(from, uplink.parse::<IpAddr>().unwrap());
        }
        let way = Route::via(Family::V6.everything(), WORLD_V6.parse().unwrap());
        machine.netlink.set_route(&way).await.unwrap();
        machine.netlink.delete_route(&way).await.unwrap();
        machine.hear_a_router().await;
        cluster.remove().await;
        assert_eq!(sysctl::get(FORWARD_V6).unwrap(), "0");
        for (key, value) in OF_A_HOST {
            assert_eq!(sysctl::get(key).unwrap(), value, "{key}");
        }
        assert_eq!(
            std::fs::read_dir(machine.shared.path()).unwrap().count(),
            0,
            "nothing is left of it"
        );
    });
}

#[test]
fn a_machine_without_a_way_by_ipv6_is_left_as_it_is() {
    on_a_machine(async |machine| {
        let cluster = machine.cluster_of(Some(IpFamily::Dual), "lost", true).await;
        assert_eq!(cluster.lost, [Family::V6]);
        assert_eq!(sysctl::get(FORWARD_V6).unwrap(), "0");
        let in_world = listen(&machine.world, WORLD.parse::<IpAddr>().unwrap());
        cluster.inside(1).run(|| say(&in_world, connect)).unwrap();
        let on_two = listen(&cluster.inside(2), cluster.v6_of(2));
        let from = cluster.inside(1).run(|| say(&on_two, connect)).unwrap();
        assert_eq!(from, cluster.v6_of(1));
        cluster.remove().await;
        assert_eq!(sysctl::get(FORWARD).unwrap(), "0");
    });
}

#[test]
fn without_the_internet_the_world_hears_nothing_even_where_this_machine_forwards() {
    on_a_machine(async |machine| {
        sysctl::set(FORWARD, "1").unwrap();
        sysctl::set(FORWARD_V6, "1").unwrap();
        let cluster = machine
            .cluster_of(Some(IpFamily::Dual), "alone", false)
            .await;
        for world in [WORLD, WORLD_V6] {
            let in_world = listen(&machine.world, world.parse::<IpAddr>().unwrap());
            in_world.set_nonblocking(true).unwrap();
            let address = in_world.local_addr().unwrap();
            let refused = cluster
                .inside(1)
                .run(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)))
                .unwrap();
            assert!(refused.is_err());
            assert!(in_world.accept().is_err());
        }
        let here = cluster.plan.machine_addresses();
        for address in here.iter().map(|net| net.addr()) {
            let on_machine = listen(&machine.netlink, address);
            cluster.inside(1).run(|| say(&on_machine, connect)).unwrap();
        }
        cluster.remove().await;
        assert_eq!(sysctl::get(FORWARD).unwrap(), "1");
        assert!(machine.netlink.tables().await.unwrap().is_empty());
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
