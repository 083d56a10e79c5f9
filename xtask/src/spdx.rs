//! SPDX licence expressions: can this be used under licences that we accept?
//!
//! ```text
//! expression = term { "OR" term }
//! term       = factor { "AND" factor }
//! factor     = "(" expression ")" | licence [ "WITH" exception ]
//! ```
//!
//! SPDX 2.3 annex D; the `/` of old manifests means `OR`.

/// Whether `expression` can be satisfied with licences for which `accepted` holds. `accepted` is given a licence, with
/// its exception if there is one: `Apache-2.0 WITH LLVM-exception`.
///
/// # Errors
/// What is wrong with an expression that cannot be read.
pub fn satisfiable(expression: &str, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let result = any_of(&mut words, accepted)?;
    match words.next() {
        None => Ok(result),
        Some(rest) => Err(format!("unexpected {rest:?}")),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = all_of(words, accepted)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= all_of(words, accepted)?;
    }
    Ok(result)
}

fn all_of(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut result = one(words, accepted)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, accepted)?;
    }
    Ok(result)
}

fn one(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    match words.next() {
        Some("(") => {
            let result = any_of(words, accepted)?;
            words
                .next_if_eq(&")")
                .map(|_| result)
                .ok_or_else(|| "missing )".to_owned())
        }
        None | Some(")" | "OR" | "AND" | "WITH") => Err("expected a licence".to_owned()),
        Some(licence) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().ok_or("expected an exception after WITH")?;
            Ok(accepted(&format!("{licence} WITH {exception}")) || accepted(licence))
        }
        Some(licence) => Ok(accepted(licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(expression: &str) -> Result<bool, String> {
        let accepted = ["MIT", "Apache-2.0", "Unicode-3.0"];
        satisfiable(expression, &|licence| accepted.contains(&licence))
    }

    #[test]
    fn expressions_and_what_they_come_to() {
        let cases = [
            ("MIT", true),
            ("GPL-2.0", false),
            ("MIT OR GPL-2.0", true),
            ("GPL-2.0/MIT", true),
            ("MIT AND GPL-2.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR GPL-2.0) AND LGPL-2.1", false),
            ("GPL-2.0 OR MIT AND Apache-2.0", true),
            // An exception only ever gives more rights.
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0 WITH Classpath-exception-2.0 OR MIT", true),
            ("GPL-3.0 WITH Classpath-exception-2.0", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(ok(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND", "MIT WITH"] {
            assert!(ok(expression).is_err(), "{expression:?}");
        }
    }
}
