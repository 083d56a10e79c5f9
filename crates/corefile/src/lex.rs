//! Text to words: what a space ends, what quotes and comments are, and what variables stand for.
//!
//! The rules are Caddy's, whose file format this is: a word ends at a space;
//! one that begins with `"` ends at the next `"` that has no `\` before it, and
//! may hold line breaks; `#` at the beginning of a word is a comment to the end
//! of the line; `{$NAME}` and `{%NAME%}` stand for environment variables
//! anywhere, in quotes too. Unlike Caddy's, a brace in quotes is no brace.

use std::sync::Arc;

use crate::fault::{At, Fault, Notice};
use crate::source::Source;

/// A word of a Corefile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub text: String,
    pub at: At,
    /// No word is before it on its line.
    pub first: bool,
    pub quoted: bool,
}

impl Token {
    pub fn opens(&self) -> bool {
        !self.quoted && self.text == "{"
    }

    pub fn closes(&self) -> bool {
        !self.quoted && self.text == "}"
    }

    pub fn is_import(&self) -> bool {
        self.first && !self.quoted && self.text == "import"
    }
}

/// The words of a text.
pub(crate) fn tokens(
    text: &str,
    file: &str,
    source: &dyn Source,
    notices: &mut Vec<Notice>,
) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer {
        rest: text.trim_start_matches('\u{feff}'),
        at: At {
            file: Arc::from(file),
            line: 1,
        },
        first: true,
    };
    let mut tokens = Vec::new();
    while let Some(mut token) = lexer.token()? {
        if token.text.contains('{') {
            token.text = with_variables(&token, source, notices);
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    at: At,
    first: bool,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Option<Token>, Fault> {
        self.skip_to_word();
        let at = self.at.clone();
        let Some(start) = self.rest.chars().next() else {
            return Ok(None);
        };
        let quoted = start == '"';
        let text = if quoted { self.quoted()? } else { self.word() };
        let first = std::mem::replace(&mut self.first, false);
        Ok(Some(Token {
            text,
            at,
            first,
            quoted,
        }))
    }

    fn skip_to_word(&mut self) {
        while let Some(start) = self.rest.chars().next() {
            if start == '#' {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if start.is_whitespace() {
                if start == '\n' {
                    self.at.line += 1;
                    self.first = true;
                }
                self.rest = &self.rest[start.len_utf8()..];
            } else {
                break;
            }
        }
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(char::is_whitespace);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word.to_owned()
    }

    /// What is between quotes; `\"` is a quote, and any other `\` is itself.
    fn quoted(&mut self) -> Result<String, Fault> {
        let mut text = String::new();
        let begun = self.at.clone();
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(text);
                }
                '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => text.push('"'),
                '\r' => {}
                _ => {
                    self.at.line += u32::from(character == '\n');
                    text.push(character);
                }
            }
        }
        Err(Fault {
            at: begun,
            about: String::new(),
            problem: "a quote is opened here and never closed: expected another \"".into(),
        })
    }
}

/// The word with the values of its variables; one that is not set has none.
fn with_variables(token: &Token, source: &dyn Source, notices: &mut Vec<Notice>) -> String {
    let mut text = String::new();
    let mut rest = token.text.as_str();
    while let Some((before, name, after)) = variable(rest) {
        text.push_str(before);
        match source.variable(name) {
            Some(value) => text.push_str(&value),
            None => notices.push(Notice {
                at: token.at.clone(),
                about: format!("variable {name}"),
                consequence: "is not set in the environment of sealane dns, and read as nothing"
                    .into(),
            }),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The first variable: what is before it, its name, what is behind it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let unix = between(text, "{$", "}");
    let windows = between(text, "{%", "%}");
    match (unix, windows) {
        (Some(unix), Some(windows)) if windows.0.len() < unix.0.len() => Some(windows),
        (None, windows) => windows,
        (unix, _) => unix,
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = text.split_once(open)?;
    let (name, after) = rest.split_once(close)?;
    (!name.is_empty()).then_some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Given;

    fn words(text: &str) -> Vec<String> {
        let mut source = Given::default();
        source.variables.insert("UP".into(), "192.0.2.1".into());
        let tokens = tokens(text, "Corefile", &source, &mut Vec::new()).unwrap();
        let shown = |token: Token| format!("{}{}", if token.first { "^" } else { "" }, token.text);
        tokens.into_iter().map(shown).collect()
    }

    #[test]
    fn spaces_quotes_comments_and_variables_are_read_as_caddy_reads_them() {
        for (text, expected) in [
            ("a b\n\tc # d\n#e\nf#g", vec!["^a", "b", "^c", "^f#g"]),
            (r#"a "b c" """#, vec!["^a", "b c", ""]),
            (r#"match "^a\.b\"c$""#, vec!["^match", r#"^a\.b"c$"#]),
            ("a \"b\nc\" d\ne", vec!["^a", "b\nc", "d", "^e"]),
            ("\u{feff}. {\r\n}\r\n", vec!["^.", "{", "^}"]),
            ("forward . {$UP}:53", vec!["^forward", ".", "192.0.2.1:53"]),
            (
                "{%UP%} {$UP}{%UP%}",
                vec!["^192.0.2.1", "192.0.2.1192.0.2.1"],
            ),
            ("x{$NONE}y {$} {$UP", vec!["^xy", "{$}", "{$UP"]),
            ("{{ .Name }}", vec!["^{{", ".Name", "}}"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let mut notices = Vec::new();
        tokens("a\nb {$NONE}", "Corefile", &Given::default(), &mut notices).unwrap();
        assert_eq!(
            notices[0].to_string(),
            "Corefile:2: variable NONE: is not set in the environment of sealane dns, and read as nothing"
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_by_its_first_line() {
        let fault = tokens(
            "a\nb \"c\nd",
            "Corefile",
            &Given::default(),
            &mut Vec::new(),
        )
        .unwrap_err();
        assert!(
            fault.to_string().starts_with("Corefile:2: a quote"),
            "{fault}"
        );
    }
}
