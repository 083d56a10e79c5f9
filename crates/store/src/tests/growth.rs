//! The file grows with what is kept, not with what was ever written.

use std::fs;

use super::{medium::Dice, *};

#[tokio::test]
async fn updates_do_not_make_the_file_grow_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(&folder, 200)).unwrap();
    let len = || fs::metadata(folder.path().join("store")).unwrap().len();
    let mut revision = long(&store, Expect::Absent).await;
    let mut lens = Vec::new();
    for _ in 0..3 {
        for _ in 0..400 {
            revision = long(&store, Expect::Revision(revision)).await;
        }
        lens.push(len());
    }
    // 200 events of 8 KB are kept: twice the log is written between two looks.
    assert!(lens[0] < 16 << 20, "{lens:?}");
    assert_eq!(lens[1], lens[2], "{lens:?}");
}

async fn long(store: &Store, expect: Expect) -> u64 {
    let mut template = template("a");
    // Nothing that can be packed.
    let mut dice = Dice(7);
    template.tail = (0..6000).map(|_| dice.below(256) as u8).collect();
    let put = store.put(key("a"), expect, template, Attributes::default());
    put.await.unwrap().revision
}
