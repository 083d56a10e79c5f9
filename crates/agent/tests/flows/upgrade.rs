//! An agent starts on a table of another version of itself, with other chains and maps, while clients come and go.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sealane_agent::ProxyMode;
use sealane_net::{Family, names};
use sealane_testkit::{LATER, eventually};

use super::net::{Net, Who, facts, pod_ip};
use super::table::{self, Row, TARGET, To};
use crate::alone::{Alone, Objects};

/// How often an agent finds the other version's table.
const UPGRADES: usize = 4;
/// Connections of each client before an agent starts, and after it has.
const CONNECTIONS: usize = 40;
/// A SYN may be sent again: by chance two clients behind the node's address have the port one after the other, of which
/// the server remembers the first. One that left untranslated would do so each time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who calls while the table changes.
fn clients() -> [Row; 4] {
    [
        table::row("plain", Who::C, To::Cluster),
        table::row("plain", Who::Node, To::Cluster),
        table::row("plain", Who::Outside, To::NodePort),
        table::row("plain", Who::Node, To::Localhost),
    ]
}

/// A table with our name that serves the same frontends in another way, as an older agent would have left it.
fn older_table() -> String {
    let endpoints = ["a", "b", "x"].map(|name| pod_ip(Family::V4, name).to_string());
    let [a, b, x] = endpoints;
    let endpoint = format!("numgen random mod 3 map {{ 0 : {a}, 1 : {b}, 2 : {x} }}");
    let frontends = clients().map(|row| row.address(Family::V4));
    let frontends: BTreeSet<String> = frontends
        .iter()
        .map(|at| format!("{} . {}", at.ip(), at.port()))
        .collect();
    let frontends = frontends.into_iter().collect::<Vec<_>>().join(", ");
    let table = names::SERVICES_TABLE;
    format!(
        "table ip {table} {{}}
         delete table ip {table}
         table ip {table} {{
           comment \"layout 0, program 0123456789abcdef\"
           set known {{ type ipv4_addr . inet_service; elements = {{ {frontends} }}; }}
           chain serve {{
             meta mark set meta mark or 0x4000
             ip protocol tcp dnat to {endpoint} : {TARGET}
           }}
           chain prerouting {{
             type nat hook prerouting priority dstnat;
             ip daddr . tcp dport @known goto serve
           }}
           chain output {{
             type nat hook output priority -100;
             ip daddr . tcp dport @known goto serve
           }}
           chain postrouting {{
             type nat hook postrouting priority srcnat - 5;
             meta mark and 0x4000 == 0x4000 masquerade fully-random
           }}
         }}"
    )
}

/// What an agent leaves behind that is killed while it replaces a table.
fn left_over() -> String {
    let spare = names::SERVICES_SPARE_TABLE;
    format!(
        "table ip {spare} {{ chain prerouting {{ type nat hook prerouting priority dstnat; }}; }}"
    )
}

pub fn loses_no_connection(net: &Net, objects: &Objects) {
    // An older agent has done that, too.
    let localnet = format!("{}=1", names::LOCALNET_SYSCTL);
    net.node.run("sysctl", ["-qw", &localnet]).succeeds();
    for round in 0..UPGRADES {
        net.node.run("nft", [older_table()]).succeeds();
        if round % 2 == 1 {
            net.node.run("nft", [left_over()]).succeeds();
        }
        let alone = under_load(net, || {
            Alone::start(&net.node, ProxyMode::Nftables, &facts(), objects)
        });
        let tables = net.node.run("nft", ["list", "tables"]).succeeds();
        let spare = tables.contains(names::SERVICES_SPARE_TABLE);
        assert!(!spare, "the spare table is left:\n{tables}");
        let list = ["-t", "list", "table", "ip", names::SERVICES_TABLE];
        let rules = net.node.run("nft", list).succeeds();
        assert!(rules.contains("chain services"), "{rules}");
        alone.finish();
    }
}

/// Does something while all clients call, which lose no connection meanwhile.
fn under_load<T>(net: &Net, change: impl FnOnce() -> T) -> T {
    let callers: Vec<_> = clients()
        .into_iter()
        .map(|row| (row, AtomicUsize::new(0)))
        .collect();
    let (stop, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (changed, failures) = thread::scope(|scope| {
        let (stop, failed) = (&stop, &failed);
        let start = |(row, made): &'_ (Row, AtomicUsize)| {
            let to = row.address(Family::V4);
            let result = net.namespace(row.who).enter(|| call(to, made, stop));
            failed.fetch_or(result.is_err(), Ordering::SeqCst);
            result.map_err(|error| format!("{:?} to {to}: {error}", row.who))
        };
        let running: Vec<_> = callers
            .iter()
            .map(|caller| scope.spawn(move || start(caller)))
            .collect();
        let counts = || -> Vec<usize> {
            let each = callers.iter();
            each.map(|(_, made)| made.load(Ordering::SeqCst)).collect()
        };
        let more = || {
            let before = counts();
            eventually(LATER, "all clients have called", || {
                let now = counts();
                let mut each = now.iter().zip(&before);
                failed.load(Ordering::SeqCst)
                    || each.all(|(now, before)| *now >= before + CONNECTIONS)
            });
        };
        more();
        let changed = change();
        more();
        stop.store(true, Ordering::SeqCst);
        let results = running.into_iter().map(|caller| caller.join().unwrap());
        let failures: Vec<String> = results.filter_map(Result::err).collect();
        (changed, failures)
    });
    assert!(failures.is_empty(), "{failures:#?}");
    changed
}

/// One connection after the other, until told to stop.
fn call(to: SocketAddr, made: &AtomicUsize, stop: &AtomicBool) -> io::Result<()> {
    while !stop.load(Ordering::SeqCst) {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        made.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}
