//! A door for a fuzz target: Corefiles, and what must hold whatever they are.
//!
//! Not part of the interface. What the target began with, and what it once broke, runs again with
//! this crate's tests.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use sealane_message::{Age, Answer, Kind, Name, Question, Request, Writer};

use crate::{HostsFound, Rewritten, Server, Source, TemplateFound, parse};

/// Words of the file that are asked for as names.
const MOST_NAMES: usize = 20;
/// How often it may read itself. What is imported imports again: without an end, each would be as large as a Corefile
/// may be, and there would be few of them.
const MOST_IMPORTS: usize = 4;

/// A Corefile that may import itself, and have itself for its hosts.
struct Itself<'a> {
    text: &'a str,
    imports: Cell<usize>,
}

impl Source for Itself<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "A").then(|| "{$A} \" {".into())
    }

    fn file(&self, path: &str) -> Option<String> {
        let left = self.imports.get().checked_sub(1)?;
        self.imports.set(left);
        ["self", "/etc/hosts"]
            .contains(&path)
            .then(|| self.text.to_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<(String, String)> {
        let matches = |path: &&str| crate::glob(pattern, path);
        let paths = ["a.server", "b.server"].into_iter().filter(matches);
        paths
            .map(|path| (path.to_owned(), "b.org {\n    errors\n}\n".to_owned()))
            .collect()
    }
}

/// A Corefile, and questions about the names in it.
///
/// # Panics
///
/// When a refusal does not say where and why, or what was accepted cannot be asked.
pub fn corefile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let source = Itself {
        text: &text,
        imports: Cell::new(MOST_IMPORTS),
    };
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
