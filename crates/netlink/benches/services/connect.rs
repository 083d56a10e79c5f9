//! What a new connection through a cluster IP takes beside one to the endpoint itself: over `lo`, where all addresses
//! are, so that nothing but the way through the kernel counts. Both are tracked, neither is masqueraded.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use sealane_netlink::netns;

use crate::gauge::{quantile_us, tell};
use crate::ours::Place;
use crate::world;

const ROUNDS: usize = 31;
const CONNECTIONS: usize = 200;
/// One whose clients may get any endpoint.
const SERVICE: usize = 1;

pub fn measure(place: &Place) {
    for line in [
        "ip link set lo up",
        "ip address add 10.128.0.200/32 dev lo",
        "ip route add local 10.128.0.0/9 dev lo src 10.128.0.200",
        "ip route add 10.96.0.0/12 dev lo src 10.128.0.200",
    ] {
        place.run(line);
    }
    let rounds = netns::run_in(place.netns(), || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
        let direct = SocketAddr::from((world::endpoint(SERVICE, 0), 8080));
        let through = SocketAddr::from((world::cluster_ip(SERVICE), 80));
        let round = |turn: usize| {
            let mut took = [0.0; 2];
            for which in [turn % 2, (turn + 1) % 2] {
                took[which] = connect(&listener, [direct, through][which]);
            }
            took
        };
        (0..ROUNDS).map(round).collect::<Vec<_>>()
    });
    let rounds = rounds.unwrap();
    let middle = |of: fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    tell("connection to an endpoint, us", middle(|took| took[0]));
    tell("connection to a cluster IP, us", middle(|took| took[1]));
    tell("one to the other", middle(|took| took[1] / took[0]));
}

/// The middle of some connections, in microseconds. They end by a reset, so that no port is in use for longer.
fn connect(listener: &TcpListener, to: SocketAddr) -> f64 {
    let times: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let begun = Instant::now();
            let client = TcpStream::connect(to).unwrap();
            let took = begun.elapsed();
            let (peer, _) = listener.accept().unwrap();
            let now = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &now).unwrap();
            drop((client, peer));
            took
        })
        .collect();
    quantile_us(&times, 0.5)
}
