//! Paths to fields of a schema, as `fieldPath` and `selectableFields` write them: `.spec.color`,
//! `.spec['a-b']`.

use std::sync::Arc;

use crate::node::{Additional, Node};

/// A path that leads somewhere.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The path as problems show it: `spec.labels[a]`.
    pub path: String,
    pub first: String,
    pub node: &'a Arc<Node>,
}

/// Follows a path; why it leads nowhere.
pub(crate) fn find<'a>(
    root: &'a Arc<Node>,
    path: &str,
    brackets: bool,
) -> Result<Found<'a>, String> {
    let mut node = root;
    let mut shown = String::new();
    let mut first = None;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('.') {
            Some(after) => {
                let end = after.find(['.', '[', ']']).unwrap_or(after.len());
                if end == 0 {
                    return Err(match after.is_empty() {
                        true => "unexpected end of JSON path".into(),
                        false => "does not refer to a valid field".into(),
                    });
                }
                (after[..end].to_owned(), &after[end..])
            }
            None => quoted(rest, brackets)?,
        };
        rest = after;
        let nowhere = || "does not refer to a valid field".to_owned();
        let member = !node.properties.is_empty();
        node = match (member, &node.additional) {
            (true, _) => node.properties.get(name.as_str()).ok_or_else(nowhere)?,
            (false, Some(Additional::Schema(member))) => member,
            _ => return Err(nowhere()),
        };
        if !member {
            shown.push_str(&format!("[{name}]"));
        } else {
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&name);
        }
        first.get_or_insert(name);
    }
    Ok(Found {
        path: shown,
        first: first.unwrap_or_default(),
        node,
    })
}

/// A name in brackets and single quotes, and what follows it.
fn quoted(path: &str, brackets: bool) -> Result<(String, &str), String> {
    let Some(rest) = path.strip_prefix('[') else {
        let got = path.split(['.', '[']).next().unwrap_or(path);
        return Err(format!("expected [ or . but got: {got}"));
    };
    if !brackets {
        return Err("array notation is not allowed".into());
    }
    let Some(inner) = rest.strip_prefix('\'') else {
        let got = rest.split(']').next().unwrap_or(rest);
        return Err(format!("expected single quoted string but got {got}"));
    };
    let mut name = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => {
                let after = inner[at + 1..].strip_prefix(']');
                return Ok((name, after.ok_or("unexpected end of JSON path")?));
            }
            '\\' => name.push(match letters.next().map(|(_, letter)| letter) {
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\u{b}',
                Some(same @ ('\'' | '\\')) => same,
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "invalid string literal: invalid escape char \\{other}"
                    ));
                }
            }),
            letter => name.push(letter),
        }
    }
    Err("unexpected end of JSON path".into())
}
