//! Names of fields as expressions write them: what is no identifier is escaped.

/// The words of the language that a field's name may be; they are written `__WORD__`, or as they
/// are where only a field can stand.
const WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const ESCAPES: [(&str, &str); 4] = [
    ("__underscores__", "__"),
    ("__dot__", "."),
    ("__dash__", "-"),
    ("__slash__", "/"),
];

/// The field that an identifier names; `None` if no field's name is written so.
pub(super) fn unescape(identifier: &str) -> Option<String> {
    if !identifier.contains("__") {
        return Some(identifier.to_owned());
    }
    let word = identifier
        .strip_prefix("__")
        .and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word.filter(|word| WORDS.contains(word)) {
        return Some(word.to_owned());
    }
    let mut name = String::new();
    let mut rest = identifier;
    while let Some(at) = rest.find("__") {
        name.push_str(&rest[..at]);
        let (escape, letters) = ESCAPES
            .iter()
            .find(|(escape, _)| rest[at..].starts_with(escape))?;
        name.push_str(letters);
        rest = &rest[at + escape.len()..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_fields() {
        for (identifier, field) in [
            ("a_b", Some("a_b")),
            ("__namespace__", Some("namespace")),
            ("a__dash__b__dot__c__slash__d", Some("a-b.c/d")),
            ("a__underscores__b", Some("a__b")),
            ("namespace", Some("namespace")),
            ("a__b", None),
            ("__other__", None),
        ] {
            assert_eq!(unescape(identifier).as_deref(), field, "{identifier}");
        }
    }
}
