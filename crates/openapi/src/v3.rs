//! OpenAPI v3: one document for each group version.

use serde_json::{Map, Value, json};

use crate::{
    Facts, Resource,
    definitions::{self, KIND, Origin, REFERENCE},
    operations::{self, Operation, Path},
};

const SCHEMAS: &str = "#/components/schemas/";
const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];
const STREAM: &str = "application/json;stream=watch";

/// The document of these resources, which are of one group version.
pub fn document(resources: &[Resource<'_>], facts: &dyn Facts) -> String {
    let mut out = String::from(
        r#"{"openapi":"3.0.0","info":{"title":"Kubernetes","version":"v1"},"paths":{"#,
    );
    let paths = resources.iter().flat_map(operations::of);
    for (index, of) in paths.enumerate() {
        member(&mut out, index, &of.path, &path(&of));
    }
    out.push_str(r#"},"components":{"schemas":{"#);
    let mut index = 0;
    definitions::each(resources, facts, |name, mut schema, origin| {
        convert(&mut schema, origin, name);
        member(&mut out, index, name, &schema);
        index += 1;
    });
    out.push_str("}}}\n");
    out
}

/// Writes a member of an object, with the comma before it.
pub fn member(out: &mut String, index: usize, name: &str, value: &Value) {
    let comma = if index == 0 { "" } else { "," };
    out.push_str(&format!("{comma}{}:{value}", Value::from(name)));
}

fn path(path: &Path) -> Value {
    let mut item = Map::new();
    let parameters: Vec<Value> = path
        .parameters
        .iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    for one in &path.operations {
        item.insert(one.method.into(), operation(one));
    }
    item.into()
}

fn operation(of: &Operation) -> Value {
    let query: Vec<Value> = of
        .query
        .iter()
        .map(|(name, kind)| json!({ "name": name, "in": "query", "schema": { "type": kind } }))
        .collect();
    let [group, version, kind] = &of.kind;
    let mut shown = json!({
        "tags": [of.tag],
        "description": of.description,
        "operationId": of.id,
        "responses": responses(of),
        "x-kubernetes-action": of.action,
        KIND: { "group": group, "version": version, "kind": kind },
    });
    if !query.is_empty() {
        shown["parameters"] = query.into();
    }
    if let Some((definition, content)) = &of.body {
        let content = content.iter().map(|one| (one.clone(), schema(definition)));
        let content: Map<String, Value> = content.collect();
        shown["requestBody"] = json!({ "content": content });
        if of.method != "delete" {
            shown["requestBody"]["required"] = true.into();
        }
    }
    shown
}

fn responses(of: &Operation) -> Value {
    let mut responses = Map::new();
    for code in of.codes {
        let content: Map<String, Value> = match &of.answer {
            Some(definition) => {
                let stream = (of.action == "list").then_some(STREAM);
                let types = ANSWERS.into_iter().chain(stream);
                types
                    .map(|one| (one.to_owned(), schema(definition)))
                    .collect()
            }
            None => Map::from_iter([("*/*".to_owned(), json!({ "schema": { "type": "string" } }))]),
        };
        let said = said(*code);
        responses.insert(
            code.to_string(),
            json!({ "description": said, "content": content }),
        );
    }
    responses.insert("401".into(), json!({ "description": said(401) }));
    responses.into()
}

/// What a status code means.
pub fn said(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "OK",
    }
}

fn schema(definition: &str) -> Value {
    json!({ "schema": { "$ref": format!("{SCHEMAS}{definition}") } })
}

/// Gives a schema the form that it has in v3.
fn convert(schema: &mut Value, origin: Origin, definition: &str) {
    if origin == Origin::Library {
        match definition.rsplit('.').next() {
            Some("IntOrString") => alternatives(schema, ["integer", "string"], "int-or-string"),
            Some("Quantity") => alternatives(schema, ["string", "number"], ""),
            _ => {}
        }
    }
    refer(schema);
}

/// A definition whose values are of one of two types.
fn alternatives(schema: &mut Value, types: [&str; 2], format: &str) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    members.remove("x-kubernetes-int-or-string");
    members.insert(
        "oneOf".into(),
        json!(types.map(|one| json!({ "type": one }))),
    );
    if !format.is_empty() {
        members.insert("format".into(), format.into());
    }
}

/// References get their prefix; beside one nothing may stand, so what does is put around it.
fn refer(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(refer);
            let name = members.get("$ref").and_then(Value::as_str);
            let Some(name) = name.and_then(|name| name.strip_prefix(REFERENCE)) else {
                return;
            };
            let reference = Value::from(format!("{SCHEMAS}{name}"));
            members.remove("$ref");
            if members.is_empty() {
                members.insert("$ref".into(), reference);
            } else {
                members.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        _ => {}
    }
}
