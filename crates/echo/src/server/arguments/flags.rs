//! Flags as Go's programs take them: one dash or two, a value after `=` or as
//! the next word; a switch stands alone.

/// A flag that a program knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// `--port 80`
    Value(&'static str),
    /// `--http`, `--http=false`
    Switch(&'static str),
}

/// A word of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Flag(&'static str, &'a str),
    Plain(&'a str),
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Self::Value(name) | Self::Switch(name) => name,
        }
    }
}

/// Reads all words.
pub(super) fn read<'a>(words: &'a [String], known: &[Known]) -> Result<Vec<Word<'a>>, String> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let Some(bare) = bare.filter(|bare| !bare.is_empty()) else {
            if word != "--" {
                found.push(Word::Plain(word));
            }
            continue;
        };
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (bare, None),
        };
        let flag = known.iter().find(|known| known.name() == name);
        let flag = flag.ok_or_else(|| format!("unknown argument {word:?}"))?;
        let value = match flag {
            Known::Switch(_) => value.or(Some("true")),
            Known::Value(_) => value.or_else(|| words.next().map(String::as_str)),
        };
        let value = value.ok_or_else(|| format!("{word} needs a value"))?;
        found.push(Word::Flag(flag.name(), value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_go_reads_them() {
        let known = [Known::Value("port"), Known::Switch("http")];
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            read(&words, &known).map(|found| format!("{found:?}"))
        };
        for (line, expected) in [
            ("--port 80", r#"[Flag("port", "80")]"#),
            ("-port=80 x", r#"[Flag("port", "80"), Plain("x")]"#),
            (
                "--http -- --http=false",
                r#"[Flag("http", "true"), Flag("http", "false")]"#,
            ),
        ] {
            assert_eq!(read(line), Ok(expected.to_owned()), "{line}");
        }
        assert_eq!(read("--port"), Err("--port needs a value".into()));
        assert_eq!(read("--prot 80"), Err("unknown argument \"--prot\"".into()));
    }
}
