//! ControllerRevision: what a DaemonSet or StatefulSet was once, so that it can be so again.

use k8s_openapi::api::apps::v1 as apps;
use serde_json::Value;

use crate::{
    check::{Check, Rule},
    kinds::{
        Kind, PLAIN,
        column::{AGE, Cell, NAME, NONE, column, number},
        typed,
    },
};

pub static CONTROLLER_REVISION: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    decode: typed::<apps::ControllerRevision>,
    rules: &[
        Rule("data", Check::RequiredWith("data is mandatory")),
        Rule("revision", Check::NonNegative),
    ],
    immutable: &["data"],
    columns: &[
        NAME,
        column(
            "Controller",
            Cell::Of(|object, _| controller(object)),
            "What it is a revision of.",
        ),
        number("Revision", Cell::Number("revision"), "Its number."),
        AGE,
    ],
    ..PLAIN
};

/// `daemonset.apps/NAME`.
fn controller(object: &Value) -> Value {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let owner = owners
        .into_iter()
        .flatten()
        .find(|owner| owner["controller"] == Value::Bool(true));
    let Some(owner) = owner else {
        return NONE.into();
    };
    let word = |field: &str| owner[field].as_str().unwrap_or("");
    let kind = word("kind").to_lowercase();
    let group = match word("apiVersion").split_once('/') {
        Some((group, _)) => format!(".{group}"),
        None => String::new(),
    };
    format!("{kind}{group}/{}", word("name")).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_names_what_it_is_of() {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true});
        let revision = json!({"metadata": {"ownerReferences": [owner]}});
        assert_eq!(controller(&revision), "daemonset.apps/d");
        assert_eq!(controller(&json!({})), "<none>");
    }
}
