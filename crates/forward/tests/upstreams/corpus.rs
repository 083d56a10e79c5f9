//! What the fuzz target began with, and what it once broke.

use std::{fs, path::Path};

use sealane_forward::fuzzing;

#[test]
fn the_corpus_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for folder in ["seeds", "found"] {
        // There is nothing to be found until something has broken.
        let Ok(files) = fs::read_dir(fuzz.join(folder).join("dns-upstream")) else {
            continue;
        };
        for file in files {
            let message = fs::read(file.unwrap().path()).unwrap();
            fuzzing::reply(&message);
            changed(&message);
            count += 1;
        }
    }
    assert!(count > 0, "fuzz/seeds/dns-upstream is there");
}

/// One byte becomes another that means something, or the rest is cut off.
fn changed(message: &[u8]) {
    for at in 0..message.len() {
        for byte in [0, 1, 12, 41, 46, 63, 64, 0xC0, 0xFF] {
            let mut other = message.to_vec();
            other[at] = byte;
            fuzzing::reply(&other);
        }
        fuzzing::reply(&message[..at]);
    }
}
