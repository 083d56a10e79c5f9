//! What is wrong with a schema.
//!
//! A schema of a definition is *structural*: each place has its type outside of `allOf`, `anyOf`,
//! `oneOf` and `not`, and these may only narrow what is declared outside. Only then can unknown
//! fields be told from known ones. On top of that come rules for single keywords, for lists
//! whose members are told apart, for defaults, and for the rules in CEL.
//!
//! The raw JSON is looked at, not the nodes: much of what is forbidden is not kept in them.

mod complete;
mod defaults;
mod expressions;
mod forms;
mod keywords;
mod lists;
mod structure;

use serde_json::Value;

use crate::path::Path;
use crate::problem::Problem;

/// What a schema may have, by what stands around it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Around {
    /// Whether the version has a `status` subresource.
    pub status: bool,
    /// Whether the version was there before with the same schema.
    pub was_taken: bool,
}

/// Everything that is wrong with the schema of an object.
pub(crate) fn check(raw: &Value, at: &Path<'_>, around: Around) -> Vec<Problem> {
    let mut problems = Vec::new();
    if around.status {
        keywords::check_root(raw, at, &mut problems);
    }
    if raw["nullable"] == true {
        let place = at.field("nullable");
        problems.push(Problem::forbidden(
            place,
            "nullable cannot be true at the root",
        ));
    }
    let mut structural = Vec::new();
    structure::check(raw, at, &mut structural);
    complete::check(raw, at, &mut structural);
    structural.sort_by_cached_key(Problem::to_string);
    let is_structural = structural.is_empty();
    problems.extend(structural);
    let mut of_keywords = Vec::new();
    keywords::check(raw, at, &mut of_keywords);
    let sound = is_structural && of_keywords.is_empty();
    problems.extend(of_keywords);
    if sound {
        let root = crate::read::root(raw);
        defaults::check(&root, raw, at, &mut problems);
        if problems.is_empty() {
            expressions::check(&root, raw, around.was_taken, at, &mut problems);
        }
    }
    problems
}

/// A keyword's text; empty if it is absent.
fn text<'a>(raw: &'a Value, keyword: &str) -> &'a str {
    raw[keyword].as_str().unwrap_or_default()
}

fn is_true(raw: &Value, keyword: &str) -> bool {
    raw[keyword] == true
}

/// The schemas in a list: `allOf`, `anyOf`, `oneOf`.
fn schemas<'a>(raw: &'a Value, keyword: &str) -> &'a [Value] {
    raw[keyword].as_array().map_or(&[], Vec::as_slice)
}

/// The schemas by name: `properties`.
fn members<'a>(raw: &'a Value, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    raw[keyword].as_object().into_iter().flatten()
}
