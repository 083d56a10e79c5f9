//! What time and changes do to clients, with real packets: affinity that ends, and flows of datagrams whose endpoint goes.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use sealane_agent::services::Input;
use sealane_kube::Change;
use sealane_net::{Family, Protocol};
use sealane_testkit::{LATER, SOON, eventually};

use super::ask;
use super::net::{Net, Who};
use super::table::{self, To};
use crate::alone::{Alone, Objects};

/// For an answer; one that has not come by then is asked for again.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two connections of a client that is to stay: far below its Service's [`table::BRIEF`].
const OFTEN: Duration = Duration::from_millis(100);

/// A client stays as long as it calls again in time, also when its first call is longer ago, and is free afterwards.
pub fn affinity_ends(net: &Net, family: Family) {
    let row = table::row("brief", Who::C, To::Cluster);
    let (from, to) = (net.namespace(row.who), row.address(family));
    let call = || ask::names(from, to, 1).remove(0);
    // On a busy machine it may come too late to have the right to stay: then all begins anew.
    let first = eventually(LATER, "a client calls in time", || {
        let begun = Instant::now();
        let first = call();
        let mut before = begun;
        while begun.elapsed() < table::BRIEF + OFTEN * 5 {
            thread::sleep(OFTEN);
            let (started, name) = (Instant::now(), call());
            if before.elapsed() >= table::BRIEF {
                return None;
            }
            assert_eq!(name, first, "{family}: a client that calls often stays");
            before = started;
        }
        Some(first)
    });
    // Each time it goes elsewhere with a chance of 2/3.
    eventually(LATER, "a client that was silent is free", || {
        thread::sleep(table::BRIEF + OFTEN);
        call() != first
    });
}

/// The very socket whose endpoint goes is answered by the next one, from inside and from outside.
pub fn datagrams_move(net: &Net, alone: &Alone, objects: &Objects, family: Family) {
    let mut places = vec![
        (Who::C, To::Cluster),
        (Who::Node, To::Cluster),
        (Who::Outside, To::NodePort),
    ];
    if family == Family::V4 {
        places.push((Who::Node, To::Localhost));
        places.push((Who::Node, To::Loopback));
    }
    let client = |(who, to): (Who, To)| {
        let row = table::row("pinned", who, to);
        let any: IpAddr = match family {
            Family::V4 => [0; 4].into(),
            Family::V6 => [0_u8; 16].into(),
        };
        let to: SocketAddr = row.address(family);
        let socket = net.namespace(who).enter(|| {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(to).unwrap();
            socket
        });
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (who, socket)
    };
    let clients: Vec<_> = places.into_iter().map(client).collect();
    for name in ["a", "b", "x", "a"] {
        let (key, slice) = table::slice_of(objects, "pinned", name, family);
        alone.tell(Input::Slices(Change::Applied(key, slice)));
        for (who, client) in &clients {
            let what = format!("{name} answers {who:?} by {} {family}", Protocol::Udp);
            eventually(SOON, &what, || {
                ask::send(client, b"?").map_err(|error| error.to_string())?;
                let mut buffer = [0; 64];
                let length = client
                    .recv(&mut buffer)
                    .map_err(|error| error.to_string())?;
                let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
                match said.split(' ').next() {
                    Some(said) if said == name => Ok(()),
                    _ => Err(said),
                }
            });
        }
    }
}
