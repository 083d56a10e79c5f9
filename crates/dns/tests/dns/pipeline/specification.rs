//! The records of the specification, asked for by programs that know nothing of ours.
//!
//! The cluster and the table are those of the zone's own test, `crates/zone/tests/golden`.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Command, Stdio},
};

use sealane_dns::serve::Sockets;
use sealane_zone::Zone;
use serde_json::{Value, from_value};

use super::{World, object};

const CLUSTER: &str = include_str!("../../../../zone/tests/golden/specification.json");
const TABLE: &str = include_str!("../../../../zone/tests/golden/specification.txt");
const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/dns/pipeline/specification.py"
);

const COREFILE: &str = "
.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 30
    }
    forward . UPSTREAM
}";

/// A question of the table with its reply: the rcode and the records, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    asked: String,
    reply: Vec<String>,
    /// The last name is for others to resolve: the reply only begins so.
    goes_on: bool,
}

/// The table, but for names that are not the cluster's at all.
fn table() -> Vec<Row> {
    let mut rows = rows(TABLE);
    rows.retain(|row| row.reply != ["outside"]);
    for row in &mut rows {
        let before = row.reply.len();
        row.reply.retain(|line| !line.starts_with("goes on with "));
        row.goes_on = row.reply.len() < before;
    }
    assert!(rows.len() > 50, "{} questions", rows.len());
    rows
}

/// What stands behind each `? NAME KIND`.
fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("? "), rows.last_mut()) {
            (Some(asked), _) => rows.push(Row {
                asked: asked.to_owned(),
                reply: Vec::new(),
                goes_on: false,
            }),
            (None, Some(row)) if !line.is_empty() => row.reply.push(normal(line)),
            _ => {}
        }
    }
    rows
}

/// One blank between words, lower case, and no number for the zone's version.
fn normal(line: &str) -> String {
    let line = line.to_lowercase();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if let Some(soa) = words.iter().position(|word| *word == "soa")
        && words.len() == soa + 8
    {
        words[soa + 3] = "serial";
    }
    words.join(" ")
}

fn zone() -> Zone {
    let cluster: Value = serde_json::from_str(CLUSTER).unwrap();
    let objects =
        |kind: &str| -> BTreeMap<String, Value> { from_value(cluster[kind].clone()).unwrap() };
    let mut zone = Zone::new();
    let namespaces: Vec<String> = from_value(cluster["namespaces"].clone()).unwrap();
    zone.replace_namespaces(namespaces.iter().map(String::as_str));
    for (name, service) in objects("services") {
        zone.set_service(&object(&name), Some(from_value(service).unwrap()));
    }
    for (name, slice) in objects("slices") {
        zone.set_slice(&object(&name), Some(from_value(slice).unwrap()));
    }
    zone
}

/// `dig`'s replies in the table's form.
fn dig(at: SocketAddr, transport: &str, table: &[Row]) -> Vec<Row> {
    let mut dig = Command::new("dig");
    dig.arg(format!("@{}", at.ip()));
    dig.args(["-p", &at.port().to_string(), "+noall", "+comments"]);
    dig.args([
        "+answer",
        "+authority",
        "+additional",
        "+tries=1",
        "+time=10",
    ]);
    if transport == "tcp" {
        dig.arg("+tcp");
    }
    for row in table {
        dig.args(row.asked.split(' '));
    }
    let output = dig.output().expect("run dig, of Debian's bind9-dnsutils");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut questions = table.iter();
    let mut written = String::new();
    let mut section = "";
    for line in text.lines() {
        if let Some((_, status)) = line.split_once("status: ") {
            let asked = &questions.next().unwrap().asked;
            let rcode = status.split(',').next().unwrap_or_default();
            written += &format!("? {asked}\n{rcode}\n");
        }
        section = match line {
            ";; ANSWER SECTION:" => "",
            ";; AUTHORITY SECTION:" => "[authority] ",
            ";; ADDITIONAL SECTION:" => "[additional] ",
            _ => section,
        };
        if !line.starts_with(';') && !line.is_empty() {
            written += &format!("{section}{line}\n");
        }
    }
    rows(&written)
}

/// What a program with dnspython gets.
fn python(at: SocketAddr, transport: &str, table: &[Row]) -> Vec<Row> {
    let mut child = Command::new("/usr/bin/python3")
        .args([SCRIPT, &at.ip().to_string(), &at.port().to_string()])
        .arg(transport)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run python3 with Debian's python3-dnspython");
    let mut questions = child.stdin.take().unwrap();
    for row in table {
        writeln!(questions, "{}", row.asked).unwrap();
    }
    drop(questions);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    rows(&String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_and_dnspython_get_the_table_of_the_specification() {
    let table = table();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let udp = UdpSocket::bind(address).unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let sockets = Sockets {
            udp: vec![udp],
            tcp: vec![tcp],
        };
        let _world = World::of(COREFILE, zone(), sockets).await;
        for (client, ask) in [("dig", dig as fn(_, &_, &_) -> _), ("dnspython", python)] {
            for (transport, at) in [("udp", udp_at), ("tcp", tcp_at)] {
                let told = tokio::task::block_in_place(|| ask(at, transport, &table));
                assert_eq!(told.len(), table.len(), "{client} over {transport} at {at}");
                for (told, expected) in told.iter().zip(&table) {
                    let asked = &expected.asked;
                    let which = format!("{client} over {transport} at {at}: {asked}");
                    match expected.goes_on {
                        true => assert_eq!(told.reply[1], expected.reply[1], "{which}"),
                        false => assert_eq!(told.reply, expected.reply, "{which}"),
                    }
                }
            }
        }
    }
}
