//! OpenAPI v2: one document of everything, as JSON and as protobuf.

use serde_json::{Map, Value, json};

use crate::{
    Facts, Resource, custom,
    definitions::{self, KIND, Origin, REFERENCE},
    gnostic,
    operations::{self, Operation, Path},
    v3::{member, said},
};

const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];
const STREAM: &str = "application/json;stream=watch";

/// The document of all these resources, as JSON.
pub fn json(resources: &[Resource<'_>], facts: &dyn Facts) -> String {
    let mut out =
        String::from(r#"{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1"},"paths":{"#);
    let paths = resources.iter().flat_map(operations::of);
    for (index, of) in paths.enumerate() {
        member(&mut out, index, &of.path, &path(&of));
    }
    out.push_str(r#"},"definitions":{"#);
    let mut index = 0;
    definitions::each(resources, facts, |name, mut schema, origin| {
        convert(&mut schema, origin, name);
        member(&mut out, index, name, &schema);
        index += 1;
    });
    out.push_str("}}\n");
    out
}

/// The same as a message of gnostic, which Kubernetes' clients in Go ask for.
pub fn protobuf(resources: &[Resource<'_>], facts: &dyn Facts) -> Vec<u8> {
    let mut document = gnostic::Document::default();
    for of in resources.iter().flat_map(operations::of) {
        document.path(&of.path, &path(&of));
    }
    definitions::each(resources, facts, |name, mut schema, origin| {
        convert(&mut schema, origin, name);
        document.definition(name, &schema);
    });
    document.finish("Kubernetes", "v1")
}

fn path(path: &Path) -> Value {
    let mut item = Map::new();
    let parameters: Vec<Value> = path
        .parameters
        .iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "type": "string" }))
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
    let query = of
        .query
        .iter()
        .map(|(name, kind)| json!({ "name": name, "in": "query", "type": kind }));
    let mut parameters: Vec<Value> = query.collect();
    let [group, version, kind] = &of.kind;
    let mut shown = json!({
        "tags": [of.tag],
        "description": of.description,
        "operationId": of.id,
        "schemes": ["https"],
        "produces": produces(of),
        "responses": responses(of),
        "x-kubernetes-action": of.action,
        KIND: { "group": group, "version": version, "kind": kind },
    });
    if let Some((definition, content)) = &of.body {
        shown["consumes"] = json!(content);
        let mut body = json!({ "name": "body", "in": "body", "schema": schema(definition) });
        if of.method != "delete" {
            body["required"] = true.into();
        }
        parameters.insert(0, body);
    }
    if !parameters.is_empty() {
        shown["parameters"] = parameters.into();
    }
    shown
}

fn produces(of: &Operation) -> Vec<&str> {
    match (&of.answer, of.action) {
        (None, _) => vec!["*/*"],
        (Some(_), "list") => ANSWERS.into_iter().chain([STREAM]).collect(),
        (Some(_), _) => ANSWERS.to_vec(),
    }
}

fn responses(of: &Operation) -> Value {
    let mut responses = Map::new();
    for code in of.codes {
        let schema = match &of.answer {
            Some(definition) => schema(definition),
            None => json!({ "type": "string" }),
        };
        let said = said(*code);
        responses.insert(
            code.to_string(),
            json!({ "description": said, "schema": schema }),
        );
    }
    responses.insert("401".into(), json!({ "description": said(401) }));
    responses.into()
}

fn schema(definition: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{definition}") })
}

/// Gives a schema the form that it has in v2.
fn convert(schema: &mut Value, origin: Origin, definition: &str) {
    let last = definition.rsplit('.').next();
    let format = match (origin, last) {
        (Origin::Custom, _) => return custom::for_v2(schema),
        (Origin::Library, Some("IntOrString")) => Some("int-or-string"),
        (Origin::Library, Some("Quantity")) => None,
        (Origin::Library, _) => return,
    };
    if let Some(members) = schema.as_object_mut() {
        members.remove("x-kubernetes-int-or-string");
        members.insert("type".into(), "string".into());
        members.extend(format.map(|format| ("format".into(), format.into())));
    }
}
