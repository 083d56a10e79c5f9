//! One table of flows, which the walker, nftables and iptables must all pass.
//!
//! | | what runs |
//! |---|---|
//! | [`table`] | Services of all shapes; who calls, what, and what comes out |
//! | [`net`] | a node with pods, another node, clients outside |
//! | [`ask`], [`sctp`] | a row with real packets, there and back |
//! | [`walked`] | a row in the encoded program |
//! | [`moved`] | affinity that ends, and flows whose endpoint goes |
//! | [`upgrade`] | a table of another version in the kernel, and connections all the while |
//!
//! All Services are loaded at once, in both families and for three protocols, by the task that the agent runs.

pub mod ask;
mod moved;
pub mod net;
mod sctp;
mod table;
mod upgrade;
mod walked;

use std::sync::Mutex;
use std::thread;

use sealane_agent::ProxyMode;
use sealane_iptables::Choices;
use sealane_net::{Family, Protocol};

use crate::alone::Alone;
use net::{Net, Who, facts};
use table::{Backend, LEFT_ALONE, Row, objects, rows};

/// Rows that came out otherwise.
fn wrong(
    row: &Row,
    protocol: Protocol,
    family: Family,
    (outcome, expected): (&str, &str),
) -> Option<String> {
    let Row { shape, who, to, .. } = row;
    (outcome != expected).then(|| {
        format!("{shape}: {who:?} to {to:?} by {protocol} {family}: {outcome}, not {expected}")
    })
}

#[test]
fn every_flow_comes_out_as_the_table_says_in_the_encoded_program() {
    let table = objects().table(&facts());
    let mut wrongs = Vec::new();
    for family in Family::ALL {
        let walked = walked::Walked::new(family, &table);
        for protocol in Protocol::ALL {
            for row in rows() {
                let expected = row.expected(Backend::Nftables, family);
                if expected == LEFT_ALONE {
                    continue;
                }
                let outcome = walked.outcome(&row, protocol);
                wrongs.extend(wrong(&row, protocol, family, (&outcome, expected)));
            }
        }
    }
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}

#[test]
fn every_flow_comes_out_as_the_table_says_in_nftables() {
    let net = Net::new();
    let alone = Alone::start(&net.node, ProxyMode::Nftables, &facts(), &objects());
    check(&net, Backend::Nftables);
    at_localhost(&net);
    spread(&net);
    move_datagrams(&net, &alone);
    alone.finish();
}

#[test]
fn an_upgrade_of_the_table_loses_no_connection() {
    let net = Net::new();
    upgrade::loses_no_connection(&net, &objects());
}

#[test]
fn every_flow_comes_out_as_the_table_says_in_iptables() {
    for legacy in [false, true] {
        let net = Net::new();
        if legacy {
            // What a kubelet leaves where its node uses this variant.
            let hint = ["-t", "mangle", "-N", "KUBE-IPTABLES-HINT"];
            for program in ["iptables-legacy", "ip6tables-legacy"] {
                net.node.run(program, hint).succeeds();
            }
        }
        let alone = Alone::start(&net.node, ProxyMode::Iptables, &facts(), &objects());
        lists_what_was_meant(&net, legacy);
        check(&net, Backend::Iptables);
        at_localhost(&net);
        spread(&net);
        move_datagrams(&net, &alone);
        alone.finish();
    }
}

/// All rows: TCP and UDP side by side, SCTP one after the other, since its sockets hear of each other's refusals.
fn check(net: &Net, backend: Backend) {
    let rows = rows();
    let wrongs = Mutex::new(Vec::new());
    let run = |row: &Row, protocol, family| {
        let expected = row.expected(backend, family);
        if expected == LEFT_ALONE {
            return;
        }
        let outcome = ask::outcome(net, row, protocol, family, expected);
        let wrong = wrong(row, protocol, family, (&outcome, expected));
        wrongs.lock().unwrap().extend(wrong);
    };
    thread::scope(|scope| {
        for family in Family::ALL {
            let (rows, run) = (&rows, &run);
            scope.spawn(move || moved::affinity_ends(net, family));
            scope.spawn(move || {
                rows.iter().for_each(|row| run(row, Protocol::Sctp, family));
            });
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for row in rows {
                    scope.spawn(move || run(row, protocol, family));
                }
            }
        }
    });
    let wrongs = wrongs.into_inner().unwrap();
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}

/// From `::1` no rule leads on, a listener does.
fn at_localhost(net: &Net) {
    let row = Row {
        outcome: "a* b* x*",
        ..table::row("plain", Who::Node, table::To::Localhost)
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (outcome, family) = (row.outcome, Family::V6);
        let seen = ask::outcome(net, &row, protocol, family, outcome);
        assert_eq!(seen, outcome, "[::1] by {protocol}");
    }
}

fn move_datagrams(net: &Net, alone: &Alone) {
    for family in Family::ALL {
        moved::datagrams_move(net, alone, &objects(), family);
    }
}

/// Three endpoints get a third each, within six standard deviations: by chance a run in 10^8 is outside.
fn spread(net: &Net) {
    const COUNT: usize = 1500;
    let plain = rows().remove(0);
    let to = plain.address(Family::V4);
    let names = ask::names(net.namespace(Who::C), to, COUNT);
    let deviation = (COUNT as f64 * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
    for name in ["a", "b", "x"] {
        let count = names.iter().filter(|n| *n == name).count();
        let off = (count as f64 - COUNT as f64 / 3.0).abs();
        assert!(off < 6.0 * deviation, "{name} has {count} of {COUNT}");
    }
}

/// What `iptables-save` prints is what was encoded.
fn lists_what_was_meant(net: &Net, legacy: bool) {
    let table = objects().table(&facts());
    for family in Family::ALL {
        let choices = Choices {
            pods: facts().pod_cidrs,
            node: facts().host_addresses,
            ..Choices::new(family)
        };
        let meant = sealane_iptables::compile(table.iter(), &choices).text();
        let program = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let variant = if legacy { "legacy" } else { "nft" };
        let save = format!("{program}-{variant}-save");
        let saved = net.node.run(&save, [""; 0]).succeeds();
        assert_eq!(sorted_rules(&saved), sorted_rules(&meant), "{save}");
    }
}

/// Others' order of chains is their own.
fn sorted_rules(text: &str) -> Vec<&str> {
    let rules = text.lines().filter(|line| line.starts_with("-A "));
    let mut rules: Vec<&str> = rules.collect();
    rules.sort_unstable();
    rules
}
