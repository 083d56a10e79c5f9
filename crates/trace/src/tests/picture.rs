//! What is drawn.

use super::*;

#[test]
fn the_first_screen_is_a_speakers_picture() {
    let trace = walk_in(&world(), "default/pod-a", "backend:80");
    let expected = include_str!("service.txt");
    let shown = render(&trace, Colour::No, 130);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/service.txt");
        std::fs::write(path, &shown).unwrap();
        return;
    }
    assert_eq!(shown, expected);
}

#[test]
fn narrow_terminals_get_one_header_a_line() {
    let trace = walk_in(&world(), "pod-a", "backend:80");
    for width in [40, 80] {
        let shown = render(&trace, Colour::No, width);
        let drawn = shown
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with(" 1 "));
        for line in drawn {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_node_that_asks_for_a_name_that_is_not_there_is_drawn() {
    let trace = walk_in(&world(), "node/node-1", "nothing:80");
    let hops: Vec<_> = trace.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(hops, ["node-1"], "{:?}", trace.outcome);
    let text = render(&trace, Colour::No, 120);
    assert!(!text.contains("\n\n\n"), "{text}");
}
