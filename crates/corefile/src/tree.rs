//! Words to server blocks: braces, snippets and imports.
//!
//! ```text
//! (NAME) { … }          a snippet
//! ZONE[:PORT], … {      a server block; without braces, one to the end of the file
//!     PLUGIN ARGUMENT … {
//!         OPTION ARGUMENT …
//!     }
//!     import NAME        the words of the snippet, or of the files
//! }
//! ```
//!
//! An import is replaced by words, not by statements, as in Caddy: an imported
//! file may hold server blocks or plugins, whatever fits its place. What a
//! snippet that imports itself would grow to is bounded by [`MOST_TOKENS`].

use std::collections::BTreeMap;

use crate::fault::{At, Fault, Notice};
use crate::lex::{Token, tokens};
use crate::source::Source;

/// Words that a Corefile may have after its imports.
pub(crate) const MOST_TOKENS: usize = 200_000;

/// How deep braces may be nested; plugins need two.
const DEEPEST: usize = 8;

/// A plugin or an option, with what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub at: At,
    /// The plugin's name, or the plugin's and the option's: `forward max_fails`.
    pub path: String,
    pub name: String,
    pub args: Vec<String>,
    pub options: Vec<Statement>,
}

/// A server block: for which zones and ports, and what is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub at: At,
    pub keys: Vec<String>,
    pub statements: Vec<Statement>,
}

/// The server blocks of a text.
pub(crate) fn blocks(
    text: &str,
    source: &dyn Source,
    notices: &mut Vec<Notice>,
) -> Result<Vec<Block>, Fault> {
    let mut parser = Parser {
        rest: Vec::new(),
        seen: 0,
        snippets: BTreeMap::new(),
        source,
        notices,
    };
    let own = tokens(text, "Corefile", source, parser.notices)?;
    let end = own.last().map(|token| token.at.clone());
    parser.put_before(own);
    parser.blocks(end)
}

struct Parser<'a> {
    /// What is still to be read, the next word last.
    rest: Vec<Token>,
    /// Words that were put there so far.
    seen: usize,
    snippets: BTreeMap<String, Vec<Token>>,
    source: &'a dyn Source,
    notices: &'a mut Vec<Notice>,
}

impl Parser<'_> {
    fn put_before(&mut self, tokens: Vec<Token>) {
        self.seen += tokens.len();
        self.rest.extend(tokens.into_iter().rev());
    }

    fn blocks(&mut self, end: Option<At>) -> Result<Vec<Block>, Fault> {
        let mut blocks = Vec::new();
        while let Some(keys) = self.keys()? {
            let at = keys[0].at.clone();
            let opened = self.rest.pop_if(|token| token.opens()).is_some();
            let name = keys[0].text.strip_prefix('(');
            if let Some(name) = name.and_then(|name| name.strip_suffix(')')) {
                let name = name.to_owned();
                self.snippet(name, &at, opened)?;
                continue;
            }
            let end = end.clone().unwrap_or_else(|| at.clone());
            let statements = if opened {
                self.statements("", &at, 1)?
            } else {
                self.statements_to_the_end(&end)?
            };
            let keys = keys.into_iter().map(|token| token.text).collect();
            blocks.push(Block {
                at,
                keys,
                statements,
            });
        }
        Ok(blocks)
    }

    /// The words before a block: those of a line, and of the next one behind a comma.
    fn keys(&mut self) -> Result<Option<Vec<Token>>, Fault> {
        let mut keys: Vec<Token> = Vec::new();
        let mut another = false;
        while let Some(token) = self.rest.last() {
            if token.is_import() && (keys.is_empty() || another) {
                self.import()?;
                continue;
            }
            if token.opens() && !keys.is_empty() && !another {
                break;
            }
            if token.opens() || token.closes() {
                let found = &token.text;
                return Err(fault(
                    &token.at,
                    format!("expected a zone, such as \".\" or \"cluster.local\", not {found}"),
                ));
            }
            if token.first && !keys.is_empty() && !another {
                break;
            }
            let Some(mut token) = self.rest.pop() else {
                break;
            };
            another = token.text.ends_with(',');
            if another {
                token.text.pop();
            }
            if !token.text.is_empty() {
                keys.push(token);
            }
        }
        match keys.last() {
            Some(last) if another => Err(fault(
                &last.at,
                "expected another zone behind the comma, not the end of the file".into(),
            )),
            last => Ok(last.is_some().then_some(keys)),
        }
    }

    fn snippet(&mut self, name: String, at: &At, opened: bool) -> Result<(), Fault> {
        if !opened {
            return Err(fault(at, format!("expected {{ behind snippet ({name})")));
        }
        let mut depth = 1;
        let mut body = Vec::new();
        while let Some(token) = self.rest.pop() {
            depth += usize::from(token.opens());
            depth -= usize::from(token.closes());
            if depth == 0 {
                self.snippets.insert(name, body);
                return Ok(());
            }
            body.push(token);
        }
        Err(fault(
            at,
            format!("snippet ({name}) is never closed: expected }}"),
        ))
    }

    /// Statements up to the brace that closes them, which is taken away.
    fn statements(
        &mut self,
        within: &str,
        opened: &At,
        depth: usize,
    ) -> Result<Vec<Statement>, Fault> {
        let mut statements = Vec::new();
        while let Some(token) = self.rest.last() {
            if token.closes() {
                self.rest.pop();
                return Ok(statements);
            }
            if token.is_import() {
                self.import()?;
            } else {
                statements.extend(self.statement(within, depth)?);
            }
        }
        Err(fault(
            opened,
            "the block that begins here is never closed: expected }".into(),
        ))
    }

    fn statements_to_the_end(&mut self, end: &At) -> Result<Vec<Statement>, Fault> {
        let at = end.clone();
        let closing = Token {
            text: "}".into(),
            at,
            first: true,
            quoted: false,
        };
        self.rest.insert(0, closing);
        let statements = self.statements("", end, 1)?;
        match self.rest.last() {
            None => Ok(statements),
            Some(token) => Err(fault(
                &token.at,
                "a block is closed by } that was not opened: give the zones { … } of their own"
                    .into(),
            )),
        }
    }

    fn statement(&mut self, within: &str, depth: usize) -> Result<Option<Statement>, Fault> {
        let Some(token) = self.rest.pop() else {
            return Ok(None);
        };
        if token.opens() || depth > DEEPEST {
            let problem = "unexpected {: expected a plugin or an option before it";
            return Err(fault(&token.at, problem.into()));
        }
        let separator = if within.is_empty() { "" } else { " " };
        let mut statement = Statement {
            path: format!("{within}{separator}{}", token.text),
            at: token.at,
            name: token.text,
            args: Vec::new(),
            options: Vec::new(),
        };
        while let Some(next) = self.rest.last() {
            if next.opens() {
                self.rest.pop();
                let path = statement.path.clone();
                statement.options = self.statements(&path, &statement.at.clone(), depth + 1)?;
                break;
            }
            if next.first || next.closes() {
                break;
            }
            statement
                .args
                .extend(self.rest.pop().map(|token| token.text));
        }
        Ok(Some(statement))
    }

    /// Replaces `import WHAT` by what it names.
    fn import(&mut self) -> Result<(), Fault> {
        let Some(Token { at, .. }) = self.rest.pop() else {
            return Ok(());
        };
        let is_argument = |token: &mut Token| !token.first && !token.opens() && !token.closes();
        let Some(what) = self.rest.pop_if(is_argument) else {
            return Err(fault(
                &at,
                "import: expected a snippet's name or a file".into(),
            ));
        };
        if self.rest.pop_if(is_argument).is_some() {
            let problem = "import: expected one snippet's name or file, and nothing behind it";
            return Err(fault(&at, problem.into()));
        }
        let words = self.imported(&what.text, &at)?;
        // What is behind an import is on a line of its own, unless it is the brace of a one-line block.
        self.put_before(words);
        if self.seen > MOST_TOKENS {
            let problem = format!(
                "import: the file grows to more than {MOST_TOKENS} words; does something import itself?"
            );
            return Err(fault(&at, problem));
        }
        Ok(())
    }

    fn imported(&mut self, what: &str, at: &At) -> Result<Vec<Token>, Fault> {
        if let Some(snippet) = self.snippets.get(what) {
            return Ok(snippet.clone());
        }
        let stars = what.matches('*').count();
        if stars > 1 || what.contains(['?', '[']) {
            let problem = format!("import {what}: expected a pattern with at most one *");
            return Err(fault(at, problem));
        }
        let files = if stars == 1 {
            self.source.matching(what)
        } else {
            let text = self.source.file(what).ok_or_else(|| {
                let problem = format!("import {what}: there is neither a snippet nor a file of this name (a snippet must be above its import)");
                fault(at, problem)
            })?;
            vec![(what.to_owned(), text)]
        };
        let mut words = Vec::new();
        for (path, text) in files {
            words.extend(tokens(&text, &path, self.source, self.notices)?);
        }
        Ok(words)
    }
}

fn fault(at: &At, problem: String) -> Fault {
    Fault {
        at: at.clone(),
        about: String::new(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Given;

    fn shown(text: &str) -> String {
        shown_with(text, &Given::default())
    }

    fn shown_with(text: &str, source: &Given) -> String {
        match blocks(text, source, &mut Vec::new()) {
            Ok(blocks) => {
                let one = |block: &Block| {
                    let keys = block.keys.join(",");
                    format!("{keys}[{}]", statements(&block.statements))
                };
                blocks.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(fault) => fault.to_string(),
        }
    }

    fn statements(all: &[Statement]) -> String {
        let one = |statement: &Statement| {
            let mut text = statement.name.clone();
            for arg in &statement.args {
                text += "|";
                text += arg;
            }
            if !statement.options.is_empty() {
                text += &format!("({})", statements(&statement.options));
            }
            text
        };
        all.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blocks_have_zones_plugins_and_options() {
        for (text, expected) in [
            ("", ""),
            (". {\n  errors\n  cache 30\n}\n", ".[errors cache|30]"),
            (
                "a.org, b.org:53 c.org {\n}\nd.org,\ne.org {\n}",
                "a.org,b.org:53,c.org[] d.org,e.org[]",
            ),
            (
                ". {\n health {\n lameduck 5s\n }\n ready\n}",
                ".[health(lameduck|5s) ready]",
            ),
            (". {\n health { lameduck 5s }\n}", ".[health(lameduck|5s)]"),
            (
                ".\nerrors\nforward . 192.0.2.1\n",
                ".[errors forward|.|192.0.2.1]",
            ),
            (". {\n a \"{\" b\n}", ".[a|{|b]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn snippets_and_files_stand_where_they_are_imported() {
        let mut source = Given::default();
        for (path, text) in [
            ("custom/b.server", "b.org {\n errors\n}\n"),
            ("custom/a.server", "a.org {\n import usual\n}\n"),
            ("custom/x.override", "log\n"),
        ] {
            source.files.insert(path.into(), text.into());
        }
        let text = "(usual) {\n errors\n cache {\n success 1\n }\n}\n. {\n import usual\n ready\n import custom/*.override\n import custom/*.none\n}\nimport custom/*.server\n";
        assert_eq!(
            shown_with(text, &source),
            ".[errors cache(success|1) ready log] a.org[errors cache(success|1)] b.org[errors]"
        );
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_line() {
        for (text, expected) in [
            (
                ". {\n errors\n",
                "Corefile:1: the block that begins here is never closed",
            ),
            (". {\n}\n}\n", "Corefile:3: expected a zone"),
            ("{\n}", "Corefile:1: expected a zone"),
            (".\nerrors\n}\n", "Corefile:3: a block is closed by }"),
            ("a.org,", "Corefile:1: expected another zone"),
            (". {\n {\n }\n}", "Corefile:2: unexpected {"),
            (
                ". {\n import\n}",
                "Corefile:2: import: expected a snippet's name",
            ),
            (". {\n import a b\n}", "Corefile:2: import: expected one"),
            (
                ". {\n import nothing\n}",
                "Corefile:2: import nothing: there is neither",
            ),
            (
                ". {\n import a*b*\n}",
                "Corefile:2: import a*b*: expected a pattern",
            ),
            ("(a) {\n b\n", "Corefile:1: snippet (a) is never closed"),
            ("(a)\n b\n", "Corefile:1: expected { behind snippet (a)"),
            (
                "(a) {\n import a\n b\n import a\n}\n. {\n import a\n}",
                "Corefile:4: import: the file grows to more",
            ),
        ] {
            let found = shown(text);
            // An import that never comes to an end may be noticed at either of the two.
            let found = found.replace(
                "Corefile:2: import: the file",
                "Corefile:4: import: the file",
            );
            assert!(found.starts_with(expected), "{text}\n{found}");
        }
    }
}
