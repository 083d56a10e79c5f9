//! What fuzzing starts from, and what it found: run as plain tests.

use std::fs;
use std::path::Path;

use sealane_structural::fuzzing;

fn each(target: &str, run: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for folder in ["seeds", "found"] {
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(target)) else {
            continue;
        };
        for entry in entries {
            run(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "fuzz/seeds/{target} is there");
}

#[test]
fn definitions() {
    each("definitions", fuzzing::definition);
}

#[test]
fn rules() {
    each("rules", fuzzing::rule);
}
