//! Label selectors: `app=web,tier in (a,b),!canary,size>3`.
//!
//! Grammar and meaning as `k8s.io/apimachinery/pkg/labels`: an absent label satisfies `!=` and
//! `notin`, never `>` and `<`.

use sealane_store::Attributes;

use super::SelectorError;
use crate::check::format;

/// What the labels of an object must satisfy, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads a selector.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if !parser.rest.is_empty() && !parser.take(",") {
                return Err(parser.unexpected("',' or end of the selector"));
            }
        }
        Ok(Self(requirements))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.0.iter().all(|requirement| {
            requirement
                .operator
                .holds(attributes.label(&requirement.key))
        })
    }
}

impl Operator {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.take("!") {
            let key = self.key()?;
            return Ok(Requirement {
                key,
                operator: Operator::Absent,
            });
        }
        let key = self.key()?;
        let operator = if self.take("==") || self.take("=") {
            Operator::In(vec![self.value()?])
        } else if self.take("!=") {
            Operator::NotIn(vec![self.value()?])
        } else if self.take(">") {
            Operator::Greater(self.number()?)
        } else if self.take("<") {
            Operator::Less(self.number()?)
        } else if self.take_word("in") {
            Operator::In(self.values()?)
        } else if self.take_word("notin") {
            Operator::NotIn(self.values()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Operator::Exists
        } else {
            return Err(self.unexpected("in, notin, =, ==, !=, gt, lt"));
        };
        Ok(Requirement { key, operator })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.word();
        if key.is_empty() {
            return Err(self.unexpected("!, identifier, or 'end of string'"));
        }
        match format::qualified_name(&key).into_iter().next() {
            None => Ok(key),
            Some(why) => Err(SelectorError(format!("key: Invalid value: {key:?}: {why}"))),
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        let value = self.word();
        match format::label_value(&value).into_iter().next() {
            None => Ok(value),
            Some(why) => Err(SelectorError(format!(
                "values: Invalid value: {value:?}: {why}"
            ))),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let word = self.word();
        word.parse().map_err(|_| {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            SelectorError(format!("values[0]: Invalid value: {word:?}: {why}"))
        })
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.take("(") {
            return Err(self.unexpected("'('"));
        }
        let mut values = vec![self.value()?];
        while self.take(",") {
            values.push(self.value()?);
        }
        if self.take(")") {
            Ok(values)
        } else {
            Err(self.unexpected("',' or ')'"))
        }
    }

    fn word(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || ",()=!<>".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word.to_owned()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    /// Takes a word that is followed by something else.
    fn take_word(&mut self, word: &str) -> bool {
        let follows = |rest: &str| rest.starts_with(|c: char| c.is_whitespace() || c == '(');
        self.rest.strip_prefix(word).is_some_and(follows) && self.take(word)
    }

    fn unexpected(&self, expected: &str) -> SelectorError {
        SelectorError(format!("found '{}', expected: {expected}", self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_select() {
        let labels = Attributes::new([("app", "web"), ("example.com/tier", "a"), ("n", "4")], []);
        for (selector, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("! other", true),
            ("app=web", true),
            ("app == web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (db, web)", true),
            ("app in(db)", false),
            ("app notin (db)", true),
            ("other notin (db)", true),
            ("example.com/tier=a,app=web", true),
            ("example.com/tier=a,app=db", false),
            ("n>3", true),
            ("n<3", false),
            ("other>3", false),
            ("in=x", false),
            ("in", false),
            ("empty=", false),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&labels), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in [
            "=a", "a b", "a in", "a in b", "a in (b", "a=b c", "a>x", "-a=b", "a=-", "a,,b", "(a)",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }
}
