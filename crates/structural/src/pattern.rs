//! Regular expressions as Kubernetes has them: those of Go, which are those of RE2.
//!
//! The engine is the crate `regex`, of the same family: linear in the text, without
//! look-around. Where the same letters mean something else there, they are written otherwise:
//! in Go `\d`, `\w`, `\s` and `\b` know ASCII alone, brackets, `&&` and `--` inside a class are
//! themselves, and a brace that counts nothing is a brace.

use std::fmt::Write;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// Largest program that an expression may become.
const SIZE_LIMIT_BYTES: usize = 4 << 20;

/// An expression of a schema, made into a program when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub source: Box<str>,
    program: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    pub fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            program: OnceLock::new(),
        }
    }

    fn program(&self) -> &Result<Regex, String> {
        self.program.get_or_init(|| compile(&self.source))
    }

    /// Whether some part of the text matches; the engine's words if the expression is none.
    pub fn is_match(&self, text: &str) -> Result<bool, &str> {
        match self.program() {
            Ok(program) => Ok(program.is_match(text)),
            Err(why) => Err(why),
        }
    }
}

/// Makes an expression into a program.
pub(crate) fn compile(source: &str) -> Result<Regex, String> {
    let build = RegexBuilder::new(&translated(source)?)
        .size_limit(SIZE_LIMIT_BYTES)
        .build();
    build.map_err(|error| {
        let words = error.to_string();
        let last = words.lines().next_back().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        format!("error parsing regexp: {why}: `{source}`")
    })
}

/// The same expression in the engine's dialect.
///
/// # Errors
///
/// What Go refuses and the engine takes: a repetition of a repetition.
fn translated(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source;
    // How many marks of repetition stand right before: a second one may only be `?`.
    let mut repeats = 0;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let repeat = matches!(letter, '*' | '+' | '?') || (letter == '{' && counts(rest));
        match (repeat, repeats, letter) {
            (false, ..) => repeats = 0,
            (true, 0, _) if !out.is_empty() && !out.ends_with(['(', '|']) => repeats = 1,
            (true, 1, '?') => repeats = 2,
            // `(?i)` and the like, or nothing to repeat, which the engine refuses.
            (true, 0, _) => {}
            (true, ..) => return Err(format!("invalid nested repetition operator: `{letter}`")),
        }
        match letter {
            '\\' => rest = &rest[escape(rest, false, &mut out)..],
            '[' => rest = &rest[class(rest, &mut out)..],
            '{' if repeat => {
                let end = rest.find('}').map_or(0, |at| at + 1);
                let _ = write!(out, "{{{}", &rest[..end]);
                rest = &rest[end..];
            }
            '{' => out.push_str("\\{"),
            letter => out.push(letter),
        }
    }
    Ok(out)
}

/// Writes a class whose opening bracket was read; how much of it was read.
fn class(source: &str, out: &mut String) -> usize {
    out.push('[');
    let mut rest = source;
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut first = true;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            ']' if !first => {
                out.push(']');
                break;
            }
            '\\' => rest = &rest[escape(rest, true, out)..],
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]").map_or(0, |at| at + 2);
                let _ = write!(out, "[{}", &rest[..end]);
                rest = &rest[end..];
            }
            '[' | ']' | '&' | '~' => drop(write!(out, "\\{letter}")),
            '-' if rest.starts_with('-') => out.push_str("\\-"),
            letter => out.push(letter),
        }
        first = false;
    }
    source.len() - rest.len()
}

/// Writes what stands after a backslash; how much of it was read.
fn escape(after: &str, in_class: bool, out: &mut String) -> usize {
    let Some(letter) = after.chars().next() else {
        out.push('\\');
        return 0;
    };
    let set = match letter {
        'd' | 'D' => Some("0-9"),
        'w' | 'W' => Some("0-9A-Za-z_"),
        's' | 'S' => Some("\\t\\n\\f\\r "),
        _ => None,
    };
    match (set, letter) {
        (Some(set), 'd' | 'w' | 's') if in_class => out.push_str(set),
        (Some(set), 'd' | 'w' | 's') => drop(write!(out, "[{set}]")),
        (Some(set), _) => drop(write!(out, "[^{set}]")),
        (None, 'b') if !in_class => out.push_str("(?-u:\\b)"),
        (None, '<' | '>') => out.push(letter),
        (None, 'p' | 'P') if after[1..].starts_with('{') => {
            let end = after.find('}').map_or(after.len(), |at| at + 1);
            let _ = write!(out, "\\{}", &after[..end]);
            return end;
        }
        (None, 'Q') => {
            let (literal, ends) = match after[1..].split_once("\\E") {
                Some((literal, _)) => (literal, 2),
                None => (&after[1..], 0),
            };
            out.push_str(&regex::escape(literal));
            return 1 + literal.len() + ends;
        }
        (None, _) => drop(write!(out, "\\{letter}")),
    }
    letter.len_utf8()
}

/// Whether what follows a brace makes it a count: `3}`, `3,}`, `3,5}`.
fn counts(after: &str) -> bool {
    let Some((count, _)) = after.split_once('}') else {
        return false;
    };
    let (least, most) = count.split_once(',').unwrap_or((count, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (pattern, matching, other) in [
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-1", "-a"),
            (r"^\d+$", "12", "١٢"),
            (r"^\w+$", "a_1", "ä"),
            (r"^[\w.]+$", "a.b", "ä"),
            (r"^\S+$", "ä", "a b"),
            (r"^[^\s]$", "x", "\n"),
            (r"^a{$", "a{", "a"),
            (r"^a{2,3}$", "aa", "a"),
            (r"^[[]$", "[", "]"),
            (r"^[]]$", "]", "["),
            (r"^[^]]$", "[", "]"),
            (r"^[a&&b]$", "&", "c"),
            (r"^[[:alpha:]]$", "a", "1"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^\/a$", "/a", "a"),
            (r"^(?i)a\b", "A-", "AB"),
            (r"^\p{Lu}$", "Ä", "ä"),
            (r"^(\*\.)?[a-z]+$", "*.a", "*a"),
            (r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$", "a~|&", "a b"),
            (
                r"^(?:[A-Za-z0-9\/\-._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$",
                "/a%20",
                "%2",
            ),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!(pattern.is_match(matching), Ok(true), "{pattern:?}");
            assert_eq!(pattern.is_match(other), Ok(false), "{pattern:?}");
        }
        for wrong in [
            "(",
            "[",
            "a**b(",
            r"\C",
            "(?=a)",
            "x++",
            "x**",
            "x{2}{3}",
            "x??+",
            "a{1001}{1001}{1001}",
        ] {
            assert!(compile(wrong).is_err(), "{wrong}");
        }
    }
}
