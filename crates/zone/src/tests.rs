//! A small cluster, and what is asked of it.

mod chance;
mod clients;
mod errors;
mod explain;
mod search;
mod specification;

use sealane_message::{
    Data, Kind, MAX_BYTES, Name, Question, Record, Records, Request, Section, Writer,
};
use sealane_objects::{ObjectName, PodDns, ServiceDns, SliceDns};
use serde_json::{Value, json};

use crate::{Found, PodRecords, Settings, Zone};

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn object(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

/// As the Corefile of the usual cluster has it.
pub(crate) fn settings() -> Settings {
    Settings {
        zones: ["cluster.local", "in-addr.arpa", "ip6.arpa"]
            .map(name)
            .into(),
        ttl: 30,
        pods: PodRecords::Insecure,
        servers: vec!["10.96.0.10".parse().unwrap()],
        ..Settings::default()
    }
}

pub(crate) fn service(zone: &mut Zone, name: &str, service: Value) {
    let service: ServiceDns = serde_json::from_value(service).unwrap();
    zone.set_service(&object(name), Some(service));
}

pub(crate) fn slice(zone: &mut Zone, name: &str, slice: Value) {
    let slice: SliceDns = serde_json::from_value(slice).unwrap();
    zone.set_slice(&object(name), Some(slice));
}

pub(crate) fn pod(value: Value) -> PodDns {
    serde_json::from_value(value).unwrap()
}

/// An endpoint by its address; what stands behind a `/` is its hostname, `!` that it is not ready.
pub(crate) fn endpoint(words: &str) -> Value {
    let ready = !words.ends_with('!');
    let words = words.trim_end_matches('!');
    let (address, host) = words.split_once('/').unwrap_or((words, ""));
    let host = (!host.is_empty()).then_some(host);
    json!({"address": address, "ready": ready, "hostname": host, "pod": null})
}

pub(crate) fn slice_of(service: &str, ports: &[(&str, u16)], endpoints: &[&str]) -> Value {
    let port = |(name, port): &(&str, u16)| json!({"name": name, "protocol": "TCP", "port": port});
    json!({
        "service": service,
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
        "endpoints": endpoints.iter().map(|words| endpoint(words)).collect::<Vec<_>>(),
    })
}

/// The reply as text: how it ended, then the records as a zone file has them; a letter for each section
/// but the first.
pub(crate) fn ask(zone: &Zone, settings: &Settings, asked: &str, kind: Kind) -> String {
    let question = Question::new(name(asked), kind);
    let answer = match zone.find(settings, &question) {
        Found::Outside => return "outside\n".to_owned(),
        Found::Inside(answer) => answer,
    };
    let mut message = Vec::new();
    let request = Request::new(0, question);
    let mut writer = Writer::reply(&mut message, &request, MAX_BYTES);
    answer.write(&question, &mut writer).unwrap();
    writer.finish();
    let mut text = format!("{}\n", answer.rcode());
    for record in Records::of(&message).unwrap() {
        text += &line(&record.unwrap());
    }
    if let Some(next) = answer.go_on() {
        text += &format!("goes on with {next}\n");
    }
    text
}

fn line(record: &Record<'_>) -> String {
    let data = match &record.data {
        Data::A(address) => address.to_string(),
        Data::Aaaa(address) => address.to_string(),
        Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => name.to_string(),
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => format!("{priority} {weight} {port} {target}"),
        Data::Soa(soa) => format!(
            "{} {} SERIAL {} {} {} {}",
            soa.primary, soa.mailbox, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        Data::Other(Kind::TXT, bytes) => format!("{:?}", String::from_utf8_lossy(&bytes[1..])),
        other => format!("{other:?}"),
    };
    let section = match record.section {
        Section::Answer => "",
        Section::Authority => "[authority] ",
        Section::Additional => "[additional] ",
    };
    let (owner, ttl) = (record.owner, record.ttl);
    format!("{section}{owner} {ttl} IN {} {data}\n", record.data.kind())
}
