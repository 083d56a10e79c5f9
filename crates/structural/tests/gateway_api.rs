//! The Gateway API's own definitions and objects, judged as upstream says.
//!
//! They are not in this repository: `GATEWAY_API` names a clone of
//! <https://github.com/kubernetes-sigs/gateway-api>.
//!
//! ```sh
//! GATEWAY_API=DIR cargo test -p sealane-structural --test gateway_api -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sealane_structural::{Schema, definition};
use serde::Deserialize;
use serde_json::Value;

fn clone() -> PathBuf {
    let folder = std::env::var_os("GATEWAY_API");
    folder
        .expect("GATEWAY_API names a clone of kubernetes-sigs/gateway-api")
        .into()
}

/// The YAML files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The objects in a file.
fn objects(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let objects = documents.map(|document| Value::deserialize(document).unwrap());
    objects.filter(Value::is_object).collect()
}

/// The schemas of a channel, by version and kind.
type Schemas = BTreeMap<(String, String), Schema>;

fn schemas(channel: &str) -> Schemas {
    let mut schemas = Schemas::new();
    for file in files(&clone().join("config/crd").join(channel)) {
        for mut crd in objects(&file) {
            if crd["kind"] != "CustomResourceDefinition" {
                continue;
            }
            definition::complete(&mut crd);
            let start = Instant::now();
            let problems: Vec<String> = definition::check(&crd, None)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
            println!("{} checked in {:?}", file.display(), start.elapsed());
            let spec = &crd["spec"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            for version in spec["versions"].as_array().unwrap() {
                let api = format!("{}/{}", text(&spec["group"]), text(&version["name"]));
                let schema = Schema::load(&version["schema"]["openAPIV3Schema"]);
                schemas.insert((api, text(&spec["names"]["kind"])), schema);
            }
        }
    }
    schemas
}

/// What is wrong with an object; `None` if its kind is not of the Gateway API.
fn judge(schemas: &Schemas, object: &Value) -> Option<Vec<String>> {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let schema = schemas.get(&(text("apiVersion"), text("kind")))?;
    let mut object = object.clone();
    let mut wrong = schema.prune(&mut object);
    schema.default(&mut object);
    wrong.extend(
        schema
            .validate(&object, None)
            .iter()
            .map(ToString::to_string),
    );
    Some(wrong)
}

#[test]
#[ignore = "reads a clone of the Gateway API: GATEWAY_API=DIR"]
fn objects_are_judged_as_upstream_says() {
    let mut judged = 0;
    for channel in ["standard", "experimental"] {
        let schemas = schemas(channel);
        let folders: &[&str] = match channel {
            "standard" => &["standard"],
            _ => &["standard", "experimental"],
        };
        for folder in folders {
            for file in files(&clone().join("examples").join(folder)) {
                for object in objects(&file) {
                    if let Some(wrong) = judge(&schemas, &object) {
                        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
                        judged += 1;
                    }
                }
            }
            for file in files(&clone().join("hack/invalid-examples").join(folder)) {
                let wrong: Vec<String> = objects(&file)
                    .iter()
                    .filter_map(|object| judge(&schemas, object))
                    .flatten()
                    .collect();
                println!("{}: {wrong:?}", file.display());
                assert!(!wrong.is_empty(), "{} passes", file.display());
                judged += 1;
            }
        }
    }
    assert!(judged > 200, "{judged} objects");
}
