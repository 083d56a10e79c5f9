//! Texts: the language's functions, and cel-go's strings library in its second version.

use super::{Cost, Fault, Row, run};
use crate::cel::value::{Outcome, Val};

pub(super) const ROWS: &[Row] = &[
    ("size(string): int", size),
    ("size(bytes): int", size),
    ("size(list<A>): int", size),
    ("size(map<A, B>): int", size),
    ("string.size(): int", size),
    ("bytes.size(): int", size),
    ("list<A>.size(): int", size),
    ("map<A, B>.size(): int", size),
    (
        "string.contains(string): bool",
        run!(Text(a), Text(b) => Ok(Val::Bool(a.contains(&**b)))),
    ),
    (
        "string.startsWith(string): bool",
        run!(Text(a), Text(b) => Ok(Val::Bool(a.starts_with(&**b)))),
    ),
    (
        "string.endsWith(string): bool",
        run!(Text(a), Text(b) => Ok(Val::Bool(a.ends_with(&**b)))),
    ),
    (
        "string.charAt(int): string",
        run!(Text(a), Int(at) => char_at(a, *at)),
    ),
    (
        "string.indexOf(string): int",
        run!(Text(a), Text(b) => index_of(a, b, 0)),
    ),
    (
        "string.indexOf(string, int): int",
        run!(Text(a), Text(b), Int(from) => index_of(a, b, *from)),
    ),
    (
        "string.lastIndexOf(string): int",
        run!(Text(a), Text(b) => last_index_of(a, b, None)),
    ),
    (
        "string.lastIndexOf(string, int): int",
        run!(Text(a), Text(b), Int(to) => last_index_of(a, b, Some(*to))),
    ),
    (
        "string.lowerAscii(): string",
        run!(Text(a) => Ok(Val::text(a.to_ascii_lowercase()))),
    ),
    (
        "string.upperAscii(): string",
        run!(Text(a) => Ok(Val::text(a.to_ascii_uppercase()))),
    ),
    (
        "string.trim(): string",
        run!(Text(a) => Ok(Val::text(a.trim()))),
    ),
    (
        "string.replace(string, string): string",
        run!(Text(a), Text(b), Text(c) => made(&a.replace(&**b, c))),
    ),
    (
        "string.replace(string, string, int): string",
        run!(Text(a), Text(b), Text(c), Int(n) => replace(a, b, c, *n)),
    ),
    (
        "string.split(string): list<string>",
        run!(Text(a), Text(b) => split(a, b, -1)),
    ),
    (
        "string.split(string, int): list<string>",
        run!(Text(a), Text(b), Int(n) => split(a, b, *n)),
    ),
    (
        "string.substring(int): string",
        run!(Text(a), Int(from) => substring(a, *from, None)),
    ),
    (
        "string.substring(int, int): string",
        run!(Text(a), Int(from), Int(to) => substring(a, *from, Some(*to))),
    ),
    ("list<string>.join(): string", |cost, args| {
        join(cost, args, "")
    }),
    (
        "list<string>.join(string): string",
        |cost, args| match args {
            [_, Val::Text(between)] => join(cost, args, between),
            _ => Err(Fault::NoOverload),
        },
    ),
    (
        "strings.quote(string): string",
        run!(Text(a) => Ok(Val::text(format!("{:?}", &**a)))),
    ),
];

/// Longest text that is made of others.
const LONGEST: usize = 8 << 20;

fn size<'a>(_: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    int(args[0].size().ok_or(Fault::NoOverload)?)
}

fn int<'a>(value: usize) -> Outcome<'a> {
    i64::try_from(value)
        .map(Val::Int)
        .map_err(|_| Fault::error("integer overflow"))
}

fn made<'a>(text: &str) -> Outcome<'a> {
    if text.len() > LONGEST {
        return Err(Fault::TooCostly);
    }
    Ok(Val::text(text))
}

fn out_of_range<'a>(at: i64) -> Outcome<'a> {
    Err(Fault::error(format!("index out of range: {at}")))
}

/// Where in bytes a letter begins; the end is a place too.
fn offset(text: &str, at: i64) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    let places = text
        .char_indices()
        .map(|(place, _)| place)
        .chain([text.len()]);
    places.into_iter().nth(at)
}

fn char_at<'a>(text: &str, at: i64) -> Outcome<'a> {
    let Some(start) = offset(text, at) else {
        return out_of_range(at);
    };
    Ok(Val::text(text[start..].chars().take(1).collect::<String>()))
}

fn letters(text: &str, bytes: usize) -> usize {
    text[..bytes].chars().count()
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Outcome<'a> {
    let Some(start) = offset(text, from) else {
        return out_of_range(from);
    };
    match text[start..].find(part) {
        Some(found) => int(letters(text, start + found)),
        None => Ok(Val::Int(-1)),
    }
}

fn last_index_of<'a>(text: &str, part: &str, to: Option<i64>) -> Outcome<'a> {
    let end = match to {
        None => text.len(),
        Some(to) => match offset(text, to) {
            Some(start) => text.len().min(start + part.len()),
            None => return out_of_range(to),
        },
    };
    let end = (0..=end)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    match text[..end].rfind(part) {
        Some(found) => int(letters(text, found)),
        None => Ok(Val::Int(-1)),
    }
}

fn replace<'a>(text: &str, old: &str, new: &str, times: i64) -> Outcome<'a> {
    match usize::try_from(times) {
        Ok(times) => made(&text.replacen(old, new, times)),
        Err(_) => made(&text.replace(old, new)),
    }
}

fn split<'a>(text: &str, by: &str, times: i64) -> Outcome<'a> {
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let part = |part: &str| Val::text(part);
    if times == 0 {
        return Ok(Val::list(Vec::new()));
    }
    if by.is_empty() {
        let mut parts: Vec<Val<'a>> = Vec::new();
        for (at, letter) in text.char_indices() {
            if parts.len() + 1 == times {
                parts.push(part(&text[at..]));
                break;
            }
            parts.push(part(letter.encode_utf8(&mut [0; 4])));
        }
        return Ok(Val::list(parts));
    }
    Ok(Val::list(text.splitn(times, by).map(part).collect()))
}

fn substring<'a>(text: &str, from: i64, to: Option<i64>) -> Outcome<'a> {
    let Some(start) = offset(text, from) else {
        return out_of_range(from);
    };
    let end = match to {
        None => text.len(),
        Some(to) => match offset(text, to) {
            Some(end) => end,
            None => return out_of_range(to),
        },
    };
    match text.get(start..end) {
        Some(part) => Ok(Val::text(part)),
        None => Err(Fault::error(format!(
            "invalid substring range. start: {from}, end: {}",
            to.unwrap_or_default()
        ))),
    }
}

fn join<'a>(cost: &mut Cost, args: &[Val<'a>], between: &str) -> Outcome<'a> {
    let items = args[0].items()?;
    let mut joined = String::new();
    for (at, item) in items.iter().enumerate() {
        let Val::Text(text) = item else {
            return Err(Fault::NoOverload);
        };
        if at > 0 {
            joined.push_str(between);
        }
        joined.push_str(text);
        cost.charge(text.len() as u64 / 10)?;
    }
    made(&joined)
}
