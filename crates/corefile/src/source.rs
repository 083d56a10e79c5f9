use std::collections::BTreeMap;

/// What a Corefile may refer to. The reader does no IO; whoever reads the Corefile gives this.
pub trait Source {
    /// An environment variable, for `{$NAME}`.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file, for `import FILE` and `hosts FILE`.
    fn file(&self, path: &str) -> Option<String>;

    /// The files that match a pattern with one `*`, by path in their order, for `import custom/*.server`.
    fn matching(&self, pattern: &str) -> Vec<(String, String)>;
}

/// Variables and files that are at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Texts of files by their paths.
    pub files: BTreeMap<String, String>,
}

impl Source for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn matching(&self, pattern: &str) -> Vec<(String, String)> {
        let matching = self.files.iter().filter(|(path, _)| glob(pattern, path));
        matching
            .map(|(path, text)| (path.clone(), text.clone()))
            .collect()
    }
}

/// Whether a path matches a pattern, in which one `*` stands for anything but `/`.
#[must_use]
pub fn glob(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let middle = path
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    middle.is_some_and(|middle| !middle.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stays_in_its_folder() {
        for (pattern, path, expected) in [
            ("custom/*.server", "custom/a.server", true),
            ("custom/*.server", "custom/a.override", false),
            ("custom/*.server", "custom/b/a.server", false),
            ("custom/*", "custom/a", true),
            ("a", "a", true),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(glob(pattern, path), expected, "{pattern} {path}");
        }
    }
}
