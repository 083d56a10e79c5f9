//! What fuzzing began with, and what it once broke: run as plain tests.

use std::{fs, path::Path};

use crate::fuzzing;

fn each(target: &str, run: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for folder in ["seeds", "found"] {
        // There is nothing to be found until something has broken.
        let Ok(files) = fs::read_dir(fuzz.join(folder).join(target)) else {
            continue;
        };
        for file in files {
            run(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "fuzz/seeds/{target} is there");
}

#[test]
fn rows() {
    each("store-row", fuzzing::row);
}

#[test]
fn files() {
    each("store-file", fuzzing::file);
}
