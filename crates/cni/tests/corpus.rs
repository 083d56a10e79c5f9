//! What fuzzing began with, and what it once broke, again and without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;

use sealane_cni::fuzzing::DOORS;

#[test]
fn readers_take_all_that_fuzzing_knows() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (target, door) in DOORS {
        let mut count = 0;
        for kind in ["seeds", "found"] {
            let folder = root.join(kind).join(format!("cni-{target}"));
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                eprintln!("{}", path.display());
                door(&fs::read(path).unwrap());
                count += 1;
            }
        }
        assert!(count > 0, "fuzz/seeds/cni-{target} is there");
    }
}
