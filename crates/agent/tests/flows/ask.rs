//! One row with real packets.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use sealane_net::{Family, Protocol};
use sealane_testkit::Namespace;

use super::net::{self, Net};
use super::table::Row;

/// How long nothing comes until a packet counts as dropped. A refusal of TCP may take a second: what
/// comes while its socket is busy is lost, and the kernel sends again.
const SILENCE: Duration = Duration::from_millis(1500);
/// Of SCTP each packet is sent once.
const SHORT_SILENCE: Duration = Duration::from_millis(200);
/// For an answer that should come.
const PATIENCE: Duration = Duration::from_secs(5);
/// With three endpoints the chance that one is missed by so many connections is below 1e-20.
const TRIES: usize = 120;
/// So many connections of a client go to one endpoint by chance once in 500,000 times.
const STAYS: usize = 12;

/// What came of a row, in the words of the table.
pub fn outcome(net: &Net, row: &Row, protocol: Protocol, family: Family, expected: &str) -> String {
    let (one_of, names) = match expected.strip_prefix("one of ") {
        Some(names) => (true, names),
        None => (false, expected),
    };
    let wanted: BTreeSet<&str> = names.split(' ').collect();
    let silent = expected == "dropped";
    let patience = match (silent, protocol) {
        (true, Protocol::Sctp) => SHORT_SILENCE,
        (true, _) => SILENCE,
        (false, _) => PATIENCE,
    };
    let (from, to) = (net.namespace(row.who), row.address(family));
    let client = row.who.address(family);
    let mut seen = BTreeSet::new();
    for tries in 1..=TRIES {
        let answer = match from.enter(|| ask(protocol, to, patience)) {
            Ok(said) => word(&said, client, family),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".into(),
            Err(error) if is_silence(&error) => "dropped".into(),
            Err(error) => return format!("{error}"),
        };
        let is_strange = !wanted.contains(&*answer);
        let is_end = ["refused", "dropped"].contains(&&*answer);
        seen.insert(answer);
        let enough = match one_of {
            true => tries >= STAYS,
            false => seen.len() == wanted.len(),
        };
        if is_strange || is_end || enough {
            break;
        }
    }
    let all = seen.iter().cloned().collect::<Vec<_>>().join(" ");
    match one_of && seen.len() == 1 && wanted.contains(&*all) {
        true => expected.to_owned(),
        false => all,
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Of `a 10.244.1.7`: `a`, or `a*` if that is the node's address.
fn word(said: &str, client: IpAddr, family: Family) -> String {
    let Some((name, seen)) = said.split_once(' ') else {
        return format!("{said:?}");
    };
    match seen.parse::<IpAddr>() {
        Ok(seen) if net::is_node(family, seen) => format!("{name}*"),
        Ok(seen) if seen == client => name.to_owned(),
        _ => format!("{name} sees {seen}"),
    }
}

/// What the endpoint says, by a connection of its own.
pub fn ask(protocol: Protocol, to: SocketAddr, patience: Duration) -> io::Result<String> {
    match protocol {
        Protocol::Tcp => {
            let mut stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            Ok(said)
        }
        Protocol::Udp => {
            let any: IpAddr = match to {
                SocketAddr::V4(_) => [0; 4].into(),
                SocketAddr::V6(_) => [0_u8; 16].into(),
            };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(patience))?;
            send(&socket, b"?")?;
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        }
        Protocol::Sctp => {
            static NEXT: AtomicU16 = AtomicU16::new(0);
            let from = 40_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
            super::sctp::Sctp::open(Family::from(to.ip())).ask(from, to, patience)
        }
    }
}

/// What the sender's own node stops is not permitted; whether it is refused, the socket hears next.
pub fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    match socket.send(bytes) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other.map(drop),
    }
}

/// Who answered, by name, of many connections one after the other.
pub fn names(from: &Namespace, to: SocketAddr, count: usize) -> Vec<String> {
    from.enter(|| {
        let each = (0..count).map(|_| ask(Protocol::Tcp, to, PATIENCE).unwrap());
        let name = |said: String| said.split(' ').next().unwrap_or_default().to_owned();
        each.map(name).collect()
    })
}
