//! Records as text.

use sealane_message::{Answer, Data, Kind, Record, Section, Soa};

/// The records of the answer section, as zone files have them.
pub fn records(answer: &Answer) -> Vec<String> {
    let all = answer.records();
    let of_answer = all.filter(|record| record.section == Section::Answer);
    of_answer.map(|record| text(&record)).collect()
}

fn text(record: &Record<'_>) -> String {
    let kind = record.data.kind();
    let (owner, ttl) = (record.owner, record.ttl);
    format!("{owner} {ttl} IN {kind} {}", data(&record.data))
}

fn data(data: &Data<'_>) -> String {
    match data {
        Data::A(address) => address.to_string(),
        Data::Aaaa(address) => address.to_string(),
        Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => name.to_string(),
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => format!("{priority} {weight} {port} {target}"),
        Data::Mx {
            preference,
            exchange,
        } => format!("{preference} {exchange}"),
        Data::Soa(Soa {
            primary,
            mailbox,
            serial,
            refresh,
            retry,
            expire,
            minimum,
        }) => format!("{primary} {mailbox} {serial} {refresh} {retry} {expire} {minimum}"),
        Data::Other(Kind::TXT, wire) => strings(wire),
        Data::Other(_, wire) => {
            let hex: String = wire.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\# {} {hex}", wire.len())
        }
    }
}

fn strings(mut wire: &[u8]) -> String {
    let mut texts = Vec::new();
    while let Some((length, rest)) = wire.split_first() {
        let (text, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        texts.push(format!("{:?}", String::from_utf8_lossy(text)));
        wire = rest;
    }
    texts.join(" ")
}
