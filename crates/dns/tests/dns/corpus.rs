//! What fuzzing of the state on disk began with, and what it once broke.

use std::{fs, path::Path};

use sealane_dns::fuzzing;

#[test]
fn the_corpus_holds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for folder in ["seeds", "found"] {
        // There is nothing to be found until something has broken.
        let Ok(files) = fs::read_dir(fuzz.join(folder).join("dns-state")) else {
            continue;
        };
        for file in files {
            fuzzing::state(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "fuzz/seeds/dns-state is there");
}
