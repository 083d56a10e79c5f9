//! Fields that `--field-selector` may name.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field_path;
use crate::node::Type;
use crate::path::Path;
use crate::problem::Problem;

const MOST: i64 = 8;

pub(super) fn check(version: &Value, schema: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let fields = version["selectableFields"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if fields.is_empty() || !schema.is_object() {
        return;
    }
    let root = crate::read::root(schema);
    let mut seen = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let place = at.index(index);
        let place = place.field("jsonPath");
        let path = field["jsonPath"].as_str().unwrap_or_default();
        if path.is_empty() {
            problems.push(Problem::required(place, ""));
            continue;
        }
        let found = match field_path::find(&root, path, false) {
            Ok(found) => found,
            Err(why) => {
                problems.push(Problem::invalid(
                    place,
                    path,
                    format!("is an invalid path: {why}"),
                ));
                continue;
            }
        };
        if found.first == "metadata" {
            let detail = "must not point to fields in metadata";
            problems.push(Problem::invalid(place, path, detail));
        }
        if !matches!(
            found.node.kind,
            Some(Type::String | Type::Boolean | Type::Integer)
        ) {
            let detail = "must point to a field of type string, boolean or integer. Enum string \
                          fields and strings with formats are allowed.";
            problems.push(Problem::invalid(place, path, detail));
        }
        if !seen.insert(found.path) {
            problems.push(Problem::duplicate(place, path));
        }
    }
    if i64::try_from(seen.len()).unwrap_or(i64::MAX) > MOST {
        problems.push(Problem::too_many(at, seen.len(), MOST));
    }
}
