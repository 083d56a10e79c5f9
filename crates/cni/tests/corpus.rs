//! What fuzzing began with, and what it once broke, again and without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;

use sealane_cni::fuzzing::DOORS;

#[test]
fn readers_take_all_that_fuzzing_knows_and_every_byte_of_it_changed() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (target, door) in DOORS {
        let mut count = 0;
        for kind in ["seeds", "found"] {
            let folder = root.join(kind).join(format!("cni-{target}"));
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                eprintln!("{}", path.display());
                let input = fs::read(&path).unwrap();
                door(&input);
                changed(&input, door);
                count += 1;
            }
        }
        assert!(count > 0, "fuzz/seeds/cni-{target} is there");
    }
}

/// One byte becomes another that means something, or the rest is cut off.
fn changed(input: &[u8], door: &fn(&[u8])) {
    for at in 0..input.len() {
        for byte in *b"\0\"/9[\xff" {
            let mut other = input.to_vec();
            other[at] = byte;
            door(&other);
        }
        door(&input[..at]);
    }
}
