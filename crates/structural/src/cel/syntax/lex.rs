//! From text to tokens.

use super::{Fault, Literal};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Literal(Literal),
    /// An operator or bracket.
    Mark(&'static str),
    End,
}

/// A token and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub token: Token,
    pub at: usize,
}

/// The longer before the shorter that they begin with.
const MARKS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "[?", "<", ">", "!", "+", "-", "*", "/", "%", "?",
    ":", ".", ",", "(", ")", "[", "]",
];
const BRACES: [&str; 2] = ["{", "}"];

pub(super) fn lex(source: &str) -> Result<Vec<Placed>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += skipped(&source[at..]);
        let rest = &source[at..];
        let Some(first) = rest.chars().next() else {
            tokens.push(Placed {
                token: Token::End,
                at,
            });
            return Ok(tokens);
        };
        let (token, length) = if let Some((prefix, quote)) = string_start(rest) {
            string(rest, prefix, quote).map_err(|why| Fault::new(at, why))?
        } else if first.is_ascii_alphabetic() || first == '_' {
            word(rest)
        } else if first.is_ascii_digit() || is_fraction(rest) {
            number(rest).map_err(|why| Fault::new(at, why))?
        } else {
            let mark = MARKS
                .iter()
                .chain(&BRACES)
                .find(|mark| rest.starts_with(**mark));
            let mark = mark.ok_or_else(|| {
                Fault::new(
                    at,
                    format!("Syntax error: token recognition error at: '{first}'"),
                )
            })?;
            (Token::Mark(mark), mark.len())
        };
        tokens.push(Placed { token, at });
        at += length;
    }
}

/// Length of spaces and comments.
fn skipped(source: &str) -> usize {
    let mut rest = source;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
        match rest.strip_prefix("//") {
            Some(comment) => rest = &comment[comment.find('\n').unwrap_or(comment.len())..],
            None => return source.len() - rest.len(),
        }
    }
}

fn word(rest: &str) -> (Token, usize) {
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let token = match &rest[..end] {
        "true" => Token::Literal(Literal::Bool(true)),
        "false" => Token::Literal(Literal::Bool(false)),
        "null" => Token::Literal(Literal::Null),
        "in" => Token::Mark("in"),
        word => Token::Ident(word.into()),
    };
    (token, end)
}

fn is_fraction(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    bytes.next() == Some(b'.') && bytes.next().is_some_and(|b| b.is_ascii_digit())
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let digits = |text: &str, radix: u32| {
        text.find(|c: char| !c.is_digit(radix))
            .unwrap_or(text.len())
    };
    let invalid = |_| "invalid int literal".to_owned();
    let unsigned = |end: usize| rest[end..].starts_with(['u', 'U']);
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let end = digits(hex, 16);
        let value = u64::from_str_radix(&hex[..end], 16).map_err(invalid)?;
        let end = end + 2;
        return Ok(match unsigned(end) {
            true => (Token::Literal(Literal::Uint(value)), end + 1),
            false => {
                let value = i64::try_from(value).map_err(|_| "invalid int literal")?;
                (Token::Literal(Literal::Int(value)), end)
            }
        });
    }
    let mut end = digits(rest, 10);
    let mut fractional = false;
    if is_fraction(&rest[end..]) {
        fractional = true;
        end += 1 + digits(&rest[end + 1..], 10);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(&rest[end + 1 + sign..], 10);
        if exponent > 0 {
            fractional = true;
            end += 1 + sign + exponent;
        }
    }
    let text = &rest[..end];
    if fractional {
        let value = text.parse().map_err(|_| "invalid double literal")?;
        return Ok((Token::Literal(Literal::Double(value)), end));
    }
    if unsigned(end) {
        let value = text.parse().map_err(|_| "invalid uint literal")?;
        return Ok((Token::Literal(Literal::Uint(value)), end + 1));
    }
    // The smallest int has no positive counterpart: the parser joins the sign to it.
    match text.parse::<u64>() {
        Ok(value) if value == i64::MIN.unsigned_abs() => {
            Ok((Token::Literal(Literal::Int(i64::MIN)), end))
        }
        Ok(value) => match i64::try_from(value) {
            Ok(value) => Ok((Token::Literal(Literal::Int(value)), end)),
            Err(_) => Err("invalid int literal".into()),
        },
        Err(_) => Err("invalid int literal".into()),
    }
}

/// The prefix of a text or of bytes that begins here, and its quotes.
fn string_start(rest: &str) -> Option<(&str, &str)> {
    let quote_at = |b: u8| b == b'"' || b == b'\'';
    let end = rest.bytes().take(3).position(quote_at)?;
    let prefix = &rest[..end];
    let known = ["", "r", "b", "rb", "br"].contains(&prefix.to_ascii_lowercase().as_str());
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes
        .into_iter()
        .find(|quote| rest[end..].starts_with(quote))?;
    known.then_some((prefix, quote))
}

fn string(rest: &str, prefix: &str, quote: &str) -> Result<(Token, usize), String> {
    let raw = prefix.contains(['r', 'R']);
    let bytes = prefix.contains(['b', 'B']);
    let start = prefix.len() + quote.len();
    let mut out = Vec::new();
    let mut at = start;
    loop {
        let rest = &rest[at..];
        if rest.starts_with(quote) {
            at += quote.len();
            break;
        }
        let letter = rest
            .chars()
            .next()
            .ok_or("Syntax error: unterminated string literal")?;
        if (letter == '\n' || letter == '\r') && quote.len() == 1 {
            return Err("Syntax error: unterminated string literal".into());
        }
        if letter == '\\' && !raw {
            at += 1 + escape(&rest[1..], bytes, &mut out)?;
        } else {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            at += letter.len_utf8();
        }
    }
    let literal = match bytes {
        true => Literal::Bytes(out),
        false => Literal::Text(String::from_utf8(out).map_err(|_| "invalid unicode code point")?),
    };
    Ok((Token::Literal(literal), at))
}

/// Writes what stands after a backslash; how much of it was read.
fn escape(rest: &str, bytes: bool, out: &mut Vec<u8>) -> Result<usize, String> {
    let letter = rest.chars().next().ok_or("unterminated string literal")?;
    let simple = match letter {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '?' | '"' | '\'' | '`' => u8::try_from(letter).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(1);
    }
    let (skip, digits, radix) = match letter {
        'x' | 'X' => (1, 2, 16),
        'u' if !bytes => (1, 4, 16),
        'U' if !bytes => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return Err(format!("invalid escape sequence: \\{letter}")),
    };
    let code = rest
        .get(skip..skip + digits)
        .and_then(|text| u32::from_str_radix(text, radix).ok());
    let code = code.ok_or("unable to unescape string")?;
    match u8::try_from(code) {
        Ok(byte) if bytes => out.push(byte),
        _ => {
            let letter = char::from_u32(code).ok_or("invalid unicode code point")?;
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(skip + digits)
}
