//! The versions: one is stored, each has a name and a schema.

use std::collections::BTreeSet;

use sealane_objects::format::dns_1035_label;
use serde_json::Value;

use super::{columns, selectable, subresources};
use crate::path::Path;
use crate::problem::Problem;
use crate::rules::{self, Around};

const LONGEST_WARNING: usize = 256;

pub(super) fn check(
    spec: &Value,
    before: Option<&Value>,
    at: &Path<'_>,
    problems: &mut Vec<Problem>,
) {
    let list = at.field("versions");
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            let place = list.index(index);
            let schema = place.field("schema");
            problems.push(Problem::required(schema.field("openAPIV3Schema"), ""));
        }
    }
    for (index, version) in versions.iter().enumerate() {
        let was_taken = before.is_some_and(|before| has_schema_of(before, version));
        check_one(version, was_taken, &list.index(index), problems);
    }
    let names: BTreeSet<&str> = versions
        .iter()
        .filter_map(|version| version["name"].as_str())
        .collect();
    if names.len() < versions.len() {
        problems.push(Problem::new(
            list,
            crate::ProblemKind::Invalid,
            None,
            "must contain unique version names",
        ));
    }
    if versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count()
        != 1
    {
        let detail = "must have exactly one version marked as storage version";
        problems.push(Problem::new(
            list,
            crate::ProblemKind::Invalid,
            None,
            detail,
        ));
    }
}

/// Whether a version of this name was there before with the same schema.
fn has_schema_of(before: &Value, version: &Value) -> bool {
    let mut versions = before["versions"].as_array().into_iter().flatten();
    versions.any(|old| old["name"] == version["name"] && old["schema"] == version["schema"])
}

fn check_one(version: &Value, was_taken: bool, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let name = version["name"].as_str().unwrap_or_default();
    let wrong = dns_1035_label(name);
    if !wrong.is_empty() {
        problems.push(Problem::invalid(at.field("name"), name, wrong.join(",")));
    }
    check_warning(version, &at.field("deprecationWarning"), problems);
    let schema_at = at.field("schema");
    let schema = &version["schema"]["openAPIV3Schema"];
    if schema.is_object() {
        let around = Around {
            status: !version["subresources"]["status"].is_null(),
            was_taken,
        };
        problems.extend(rules::check(
            schema,
            &schema_at.field("openAPIV3Schema"),
            around,
        ));
    }
    subresources::check(
        &version["subresources"],
        &at.field("subresources"),
        problems,
    );
    columns::check(
        &version["additionalPrinterColumns"],
        &at.field("additionalPrinterColumns"),
        problems,
    );
    selectable::check(version, schema, &at.field("selectableFields"), problems);
}

fn check_warning(version: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let Some(warning) = version["deprecationWarning"].as_str() else {
        return;
    };
    let mut say = |detail: String| problems.push(Problem::invalid(at, warning, detail));
    if version["deprecated"] != true {
        say("can only be set for deprecated versions".into());
    }
    if warning.len() > LONGEST_WARNING {
        say(format!("must be <= {LONGEST_WARNING} characters long"));
    }
    if warning.is_empty() {
        say("must not be an empty string".into());
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        say(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
}
