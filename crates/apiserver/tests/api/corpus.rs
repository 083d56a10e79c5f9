//! What fuzzing began with, and what it once broke, again and without a fuzzer.

use std::{fs, path::PathBuf};

use clap::Parser;
use sealane_apiserver::fuzzing::{DOORS, Exchange};

use crate::{Command, harness::Server};

/// The inputs of a target: those it began with, and those that broke something.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut found = Vec::new();
    for folder in ["seeds", "found"].map(|kind| root.join(kind).join(target)) {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for path in entries.map(|entry| entry.unwrap().path()) {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    assert!(!found.is_empty(), "fuzz/seeds/{target} is there");
    found
}

#[test]
fn readers_take_all_that_fuzzing_knows() {
    for (target, door) in DOORS {
        for (path, bytes) in inputs(target) {
            eprintln!("{}", path.display());
            door(&bytes);
        }
    }
}

#[test]
fn a_server_answers_all_that_fuzzing_knows() {
    let server = Server::prepare();
    let options = Command::parse_from(server.arguments()).options;
    let exchange = Exchange::start(&options);
    for (path, bytes) in inputs("request") {
        eprintln!("{}", path.display());
        let answer = exchange.send(&bytes);
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", path.display());
    }
    let alive = exchange.send(b"GET /api/v1/namespaces/default\n\n");
    assert!(alive.starts_with(b"HTTP/1.1 200"), "it lives");
}
