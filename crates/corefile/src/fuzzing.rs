//! A door for a fuzz target: Corefiles, and what must hold whatever they are.
//!
//! Not part of the interface. What the target began with, and what it once broke, runs again with
//! this crate's tests.

use std::net::{IpAddr, Ipv4Addr};

use sealane_message::{Age, Answer, Kind, Name, Question, Request, Writer};

use crate::{Given, HostsFound, Rewritten, Server, TemplateFound, parse};

/// Words of the file that are asked for as names.
const MOST_NAMES: usize = 20;

/// A Corefile, and questions about the names in it.
///
/// # Panics
///
/// When a refusal does not say where and why, or what was accepted cannot be asked.
pub fn corefile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut source = Given::default();
    // What may be imported imports again.
    source
        .files
        .insert("self".into(), text.clone().into_owned());
    source
        .files
        .insert("/etc/hosts".into(), text.clone().into_owned());
    source.variables.insert("A".into(), "{$A} \" {".into());
    let config = match parse(&text, &source) {
        Ok(config) => config,
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                assert!(fault.at.line > 0 && !fault.problem.is_empty(), "{fault:?}");
            }
            return;
        }
    };
    assert!(!config.notices.is_empty() || !config.servers.is_empty());
    let words = text.split_whitespace();
    let names = words.filter_map(|word| word.parse::<Name>().ok());
    for name in names.take(MOST_NAMES) {
        for kind in [Kind::A, Kind::PTR] {
            let question = Question::new(name, kind);
            if let Some(server) = config.server(53, &name) {
                ask(server, &question);
            }
        }
    }
}

fn ask(server: &Server, question: &Question) {
    assert!(server.zone_of(53, &question.name).is_some());
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let _any = server.acl.access(question, client);
    let mut reply = Vec::new();
    let request = Request::new(7, *question);
    let mut writer = Writer::reply(&mut reply, &request, 512);
    match server.rewrites.apply(question) {
        Rewritten::To(back) => {
            let empty = Answer::make(back.asked(), |_| Ok(())).expect("no record always fits");
            let _full = back.write(&empty, Age::NEW, &mut writer);
        }
        Rewritten::Invalid(error) => assert!(!error.is_empty()),
        Rewritten::Unchanged => {}
    }
    if let TemplateFound::Answer(answer) = server.templates.find(question, client) {
        let _full = answer.write(&mut writer);
    }
    if let Some(hosts) = &server.hosts {
        let found = hosts.find(question);
        let _full = hosts.write(question, &found, &mut writer);
        assert!(found != HostsFound::Addresses(Vec::new()));
    }
    writer.finish();
    assert!(reply.len() <= 512);
}
