//! What is wrong with a CustomResourceDefinition, and what it has without saying so.
//!
//! As `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation` judges it, but that
//! conversion by a webhook is refused: nothing here would call it.

mod columns;
mod names;
mod selectable;
mod subresources;
mod versions;

use serde_json::{Value, json};

use crate::path::Path;
use crate::problem::Problem;

/// Fills in what a definition has without saying so: the names of one object and of a list, and
/// how versions are converted.
pub fn complete(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let mut fill = |name: &str, text: String| {
            let given = names.get(name).and_then(Value::as_str);
            if given.is_none_or(str::is_empty) && !kind.is_empty() {
                names.insert(name.into(), text.into());
            }
        };
        fill("singular", kind.to_lowercase());
        fill("listKind", format!("{kind}List"));
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".into(), json!({ "strategy": "None" }));
    }
}

/// Everything that is wrong with a definition; `old` is what it replaces.
pub fn check(definition: &Value, old: Option<&Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let spec = &definition["spec"];
    let at = Path::Root("spec");
    names::check_own_name(definition, &mut problems);
    names::check(spec, &at, &mut problems);
    versions::check(spec, old.map(|old| &old["spec"]), &at, &mut problems);
    check_conversion(&spec["conversion"], &at.field("conversion"), &mut problems);
    if spec["preserveUnknownFields"] == true {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        problems.push(Problem::invalid(
            at.field("preserveUnknownFields"),
            true,
            detail,
        ));
    }
    names::check_approval(definition, old, &mut problems);
    if let Some(old) = old {
        check_update(definition, old, &at, &mut problems);
    }
    problems
}

fn check_conversion(conversion: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    if conversion.is_null() {
        return;
    }
    let strategy = &conversion["strategy"];
    match strategy.as_str().unwrap_or_default() {
        "" => problems.push(Problem::required(at.field("strategy"), "")),
        "None" => {
            if !conversion["webhook"].is_null() {
                let detail = "should not be set when strategy is not set to Webhook";
                problems.push(Problem::forbidden(at.field("webhook"), detail));
            }
        }
        other => problems.push(Problem::not_supported(
            at.field("strategy"),
            other,
            ["None"],
        )),
    }
}

/// What stays as it is once objects may have been stored, and what is always the name.
fn check_update(definition: &Value, old: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let (spec, before) = (&definition["spec"], &old["spec"]);
    let names = at.field("names");
    let mut stays = |new: &Value, before: &Value, place: Path<'_>| {
        if new != before {
            problems.push(Problem::invalid(place, new.clone(), "field is immutable"));
        }
    };
    if is_established(old) {
        stays(&spec["scope"], &before["scope"], at.field("scope"));
        stays(
            &spec["names"]["kind"],
            &before["names"]["kind"],
            names.field("kind"),
        );
    }
    stays(&spec["group"], &before["group"], at.field("group"));
    stays(
        &spec["names"]["plural"],
        &before["names"]["plural"],
        names.field("plural"),
    );
    check_stored_versions(definition, old, problems);
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "Established" && one["status"] == "True")
}

/// A version that objects may be stored in stays until the status no longer names it.
fn check_stored_versions(definition: &Value, old: &Value, problems: &mut Vec<Problem>) {
    let stored = match &definition["status"]["storedVersions"] {
        Value::Null => &old["status"]["storedVersions"],
        stored => stored,
    };
    let stored = stored
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let versions = definition["spec"]["versions"].as_array();
    let status = Path::Root("status");
    let list = status.field("storedVersions");
    for (index, name) in stored.enumerate() {
        if !versions
            .into_iter()
            .flatten()
            .any(|version| version["name"] == name)
        {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            problems.push(Problem::invalid(list.index(index), name, detail));
        }
    }
}
