//! Lines as the shim writes them, and what each option leaves of them.

use std::io::Write;

use super::*;

const LOG: &str = "\
2026-11-21T00:00:01.000000000Z stdout F one
2026-11-21T00:00:02.500000000Z stderr F two words
2026-11-21T00:00:03.000000000Z stdout P long
2026-11-21T00:00:03.100000000Z stdout F  line
2026-11-21T00:00:04.000000000Z stdout F 
";

fn now() -> Timestamp {
    "2026-11-21T00:00:05Z".parse().unwrap()
}

fn options(query: &str) -> LogOptions {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    LogOptions::parse(&pairs).unwrap()
}

fn shown(query: &str) -> String {
    let mut out = Vec::new();
    Filter::new(&options(query), now()).feed(LOG.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn options_leave_what_they_say() {
    let cases = [
        ("", "one\ntwo words\nlong line\n\n"),
        ("stream=All", "one\ntwo words\nlong line\n\n"),
        ("stream=Stderr", "two words\n"),
        ("stream=Stdout", "one\nlong line\n\n"),
        (
            "sinceTime=2026-11-21T00:00:02.500Z",
            "two words\nlong line\n\n",
        ),
        ("sinceSeconds=2", "long line\n\n"),
        ("limitBytes=5", "one\nt"),
        ("limitBytes=0", ""),
        (
            "timestamps=true",
            "2026-11-21T00:00:01.000000000Z one\n2026-11-21T00:00:02.500000000Z two words\n\
             2026-11-21T00:00:03.000000000Z long line\n2026-11-21T00:00:04.000000000Z \n",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(shown(query), expected, "{query}");
    }
}

#[test]
fn pieces_of_any_size_give_the_same_text() {
    let whole = shown("timestamps=true");
    for size in 1..40 {
        let mut filter = Filter::new(&options("timestamps=true"), now());
        let mut out = Vec::new();
        for piece in LOG.as_bytes().chunks(size) {
            filter.feed(piece, &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), whole, "pieces of {size}");
    }
}

#[test]
fn lines_that_are_not_in_the_format_are_left_out() {
    let mut out = Vec::new();
    let mut filter = Filter::new(&LogOptions::default(), now());
    filter.feed(
        b"garbage\n\nx y\na b Z c\n2026-11-21T00:00:01Z stdout F:tag ok\n",
        &mut out,
    );
    assert_eq!(out, b"ok\n");
}

#[test]
fn a_limit_is_noticed() {
    let mut filter = Filter::new(&options("limitBytes=3"), now());
    let mut out = Vec::new();
    filter.feed(LOG.as_bytes(), &mut out);
    assert!(filter.is_full());
    assert_eq!(out, b"one");
}

#[test]
fn wrong_options_are_named() {
    let cases = [
        (
            "tailLines=-1",
            "invalid value \"-1\" for tailLines: expected a whole number that is not negative",
        ),
        (
            "follow=maybe",
            "invalid value \"maybe\" for follow: expected true or false",
        ),
        (
            "sinceTime=noon",
            "invalid value \"noon\" for sinceTime: expected a time as in RFC 3339",
        ),
        (
            "stream=both",
            "invalid value \"both\" for stream: expected All, Stdout or Stderr",
        ),
        (
            "sinceSeconds=1&sinceTime=2026-11-21T00:00:00Z",
            "at most one of sinceTime and sinceSeconds may be given",
        ),
    ];
    for (query, expected) in cases {
        let pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(LogOptions::parse(&pairs).unwrap_err(), expected);
    }
}

fn file(text: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file
}

#[test]
fn the_last_lines_begin_where_they_should() {
    let cases = [
        ("a\nbb\nccc\n", 0, 9, 0),
        ("a\nbb\nccc\n", 1, 5, 1),
        ("a\nbb\nccc\n", 2, 2, 2),
        ("a\nbb\nccc\n", 3, 0, 3),
        ("a\nbb\nccc\n", 9, 0, 3),
        ("a\nbb", 1, 2, 1),
        ("", 3, 0, 0),
        ("\n", 1, 0, 1),
    ];
    for (text, asked, begin, lines) in cases {
        let found = tail(&file(text.as_bytes()), text.len() as u64, asked).unwrap();
        assert_eq!(found, Tail { begin, lines }, "{asked} of {text:?}");
    }
}

#[test]
fn the_last_lines_of_a_long_file_are_found_across_blocks() {
    let line = "x".repeat(999) + "\n";
    let text = line.repeat(500);
    let file = file(text.as_bytes());
    for lines in [1, 65, 66, 67, 499, 500, 501] {
        let position = tail(&file, text.len() as u64, lines).unwrap().begin;
        assert_eq!(
            position,
            1000 * 500u64.saturating_sub(lines),
            "{lines} lines"
        );
    }
}
