//! Field selectors: `spec.nodeName=node-1,status.phase!=Running`.

use sealane_store::Attributes;

use super::SelectorError;

/// Fields and the values that they must have, or must not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads a selector; a backslash takes the meaning off the comma, equals sign or backslash
    /// behind it.
    ///
    /// # Errors
    ///
    /// A term without an operator.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        split(text)
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| Term::parse(&term))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The same, of one name only.
    pub fn and_name(mut self, name: &str) -> Self {
        let value = name.to_owned();
        self.0.push(Term {
            field: "metadata.name".into(),
            equal: true,
            value,
        });
        self
    }

    /// The value that a field must have to be selected, if there is one.
    pub fn only(&self, field: &str) -> Option<&str> {
        let mut terms = self.0.iter();
        let term = terms.find(|term| term.equal && term.field == field)?;
        Some(&term.value)
    }

    /// The first field that is not one of `known`.
    pub fn unknown_field(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.0
            .iter()
            .map(|term| term.field.as_str())
            .find(|field| !known(field))
    }

    /// Whether these are the values of an object with this name, namespace and attributes.
    pub fn matches(&self, namespace: &str, name: &str, attributes: &Attributes) -> bool {
        self.0.iter().all(|term| {
            let value = match term.field.as_str() {
                "metadata.name" => name,
                "metadata.namespace" => namespace,
                field => attributes.field(field).unwrap_or(""),
            };
            (value == term.value) == term.equal
        })
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, SelectorError> {
        let at = unescaped(text, '=').next().ok_or_else(|| {
            SelectorError(format!(
                "invalid selector: '{text}'; can't understand '{text}'"
            ))
        })?;
        let (left, right) = (&text[..at], &text[at + 1..]);
        let (field, equal) = match left.strip_suffix('!') {
            Some(field) => (field, false),
            None => (left, true),
        };
        let value = right.strip_prefix('=').unwrap_or(right);
        Ok(Self {
            field: field.trim().into(),
            equal,
            value: unescape(value),
        })
    }
}

/// The places of `wanted` that no backslash stands before.
fn unescaped(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    let mut escaped = false;
    text.char_indices().filter_map(move |(at, c)| {
        let plain = !escaped;
        escaped = plain && c == '\\';
        (plain && c == wanted).then_some(at)
    })
}

fn split(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut start = 0;
    for at in unescaped(text, ',').chain([text.len()]) {
        terms.push(text[start..at].to_owned());
        start = at + 1;
    }
    terms
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_select() {
        let attributes = Attributes::new([], [("spec.nodeName", "n1"), ("x", "a,b=c\\")]);
        for (selector, expected) in [
            ("", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName==n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=n2", false),
            ("spec.nodeName=n1,metadata.name=p", true),
            ("metadata.namespace!=default,spec.nodeName=n1", false),
            ("status.phase=", true),
            ("x=a\\,b\\=c\\\\", true),
        ] {
            let parsed = FieldSelector::parse(selector).unwrap();
            assert_eq!(
                parsed.matches("default", "p", &attributes),
                expected,
                "{selector}"
            );
        }
    }

    #[test]
    fn a_term_needs_an_operator() {
        assert!(FieldSelector::parse("spec.nodeName").is_err());
        let parsed = FieldSelector::parse("a=1,b=2").unwrap();
        assert_eq!(parsed.unknown_field(|field| field == "a"), Some("b"));
    }
}
