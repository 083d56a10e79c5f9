//! OpenAPI v2 as protobuf, in the messages of gnostic (`openapiv2/OpenAPIv2.proto`), which
//! Kubernetes' clients in Go read.
//!
//! A message is a table of fields, and one function writes them all from JSON. There are only the
//! messages and fields that our documents use.

use serde_json::{Map, Value};

/// What a field holds.
enum Of {
    /// A text.
    Text,
    /// Texts.
    Texts,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// True or false.
    Bool,
    /// Any value, as YAML.
    Any,
    /// Any values.
    Anys,
    /// A message.
    One(&'static Message),
    /// Members of an object, each a pair of name and message.
    Named(&'static Message),
    /// A message around texts: the types of a schema.
    Types,
    /// A message around a message: the items of a schema.
    Items,
    /// A schema, or true or false: what further properties there may be.
    Further,
    /// Parameters, which have a message for each place they may be in.
    Parameters,
    /// Members of an object by status code.
    Responses,
}

/// The fields of a message by their names in JSON, and the number of its extensions.
struct Message {
    fields: &'static [(&'static str, u32, Of)],
    extensions: u32,
}

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Of::Text),
        ("format", 2, Of::Text),
        ("title", 3, Of::Text),
        ("description", 4, Of::Text),
        ("multipleOf", 6, Of::Double),
        ("maximum", 7, Of::Double),
        ("exclusiveMaximum", 8, Of::Bool),
        ("minimum", 9, Of::Double),
        ("exclusiveMinimum", 10, Of::Bool),
        ("maxLength", 11, Of::Int),
        ("minLength", 12, Of::Int),
        ("pattern", 13, Of::Text),
        ("maxItems", 14, Of::Int),
        ("minItems", 15, Of::Int),
        ("uniqueItems", 16, Of::Bool),
        ("maxProperties", 17, Of::Int),
        ("minProperties", 18, Of::Int),
        ("required", 19, Of::Texts),
        ("enum", 20, Of::Anys),
        ("additionalProperties", 21, Of::Further),
        ("type", 22, Of::Types),
        ("items", 23, Of::Items),
        ("properties", 25, Of::One(&PROPERTIES)),
        ("example", 30, Of::Any),
    ],
    extensions: 31,
};

/// Members by any name.
static PROPERTIES: Message = Message {
    fields: &[("", 1, Of::Named(&SCHEMA))],
    extensions: 0,
};

static PATH: Message = Message {
    fields: &[
        ("get", 2, Of::One(&OPERATION)),
        ("put", 3, Of::One(&OPERATION)),
        ("post", 4, Of::One(&OPERATION)),
        ("delete", 5, Of::One(&OPERATION)),
        ("patch", 8, Of::One(&OPERATION)),
        ("parameters", 9, Of::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Of::Texts),
        ("description", 3, Of::Text),
        ("operationId", 5, Of::Text),
        ("produces", 6, Of::Texts),
        ("consumes", 7, Of::Texts),
        ("parameters", 8, Of::Parameters),
        ("responses", 9, Of::Responses),
        ("schemes", 10, Of::Texts),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Of::Text),
        ("schema", 2, Of::One(&SCHEMA_ITEM)),
    ],
    extensions: 5,
};

/// A schema where a file could be, too.
static SCHEMA_ITEM: Message = Message {
    fields: &[("", 1, Of::One(&SCHEMA))],
    extensions: 0,
};

static BODY: Message = Message {
    fields: &[
        ("name", 2, Of::Text),
        ("in", 3, Of::Text),
        ("required", 4, Of::Bool),
        ("schema", 5, Of::One(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY: Message = Message {
    fields: &[
        ("required", 1, Of::Bool),
        ("in", 2, Of::Text),
        ("name", 4, Of::Text),
        ("type", 6, Of::Text),
    ],
    extensions: 23,
};

static IN_PATH: Message = Message {
    fields: &[
        ("required", 1, Of::Bool),
        ("in", 2, Of::Text),
        ("name", 4, Of::Text),
        ("type", 5, Of::Text),
    ],
    extensions: 22,
};

/// A document that is being written.
#[derive(Default)]
pub struct Document {
    paths: Vec<u8>,
    definitions: Vec<u8>,
}

impl Document {
    /// Adds a path.
    pub fn path(&mut self, path: &str, item: &Value) {
        bytes(&mut self.paths, 2, &named(path, &encode(&PATH, item)));
    }

    /// Adds a definition.
    pub fn definition(&mut self, name: &str, schema: &Value) {
        bytes(
            &mut self.definitions,
            1,
            &named(name, &encode(&SCHEMA, schema)),
        );
    }

    /// The whole message.
    pub fn finish(self, title: &str, version: &str) -> Vec<u8> {
        let (mut out, mut info) = (Vec::new(), Vec::new());
        bytes(&mut info, 1, title.as_bytes());
        bytes(&mut info, 2, version.as_bytes());
        bytes(&mut out, 1, b"2.0");
        bytes(&mut out, 2, &info);
        bytes(&mut out, 8, &self.paths);
        bytes(&mut out, 9, &self.definitions);
        out
    }
}

fn encode(message: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, of) in message.fields {
        let found = if name.is_empty() {
            Some(value)
        } else {
            value.get(name)
        };
        if let Some(found) = found {
            field(&mut out, *number, of, found);
        }
    }
    let members = value.as_object().into_iter().flatten();
    for (name, value) in
        members.filter(|(name, _)| message.extensions > 0 && name.starts_with("x-"))
    {
        bytes(&mut out, message.extensions, &named(name, &any(value)));
    }
    out
}

fn field(out: &mut Vec<u8>, number: u32, of: &Of, value: &Value) {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    match of {
        Of::Text => text(out, number, value),
        Of::Texts => items.iter().for_each(|item| text(out, number, item)),
        Of::Int => {
            tag(out, number, 0);
            varint(out, value.as_u64().unwrap_or_default());
        }
        Of::Double => {
            tag(out, number, 1);
            out.extend(value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Of::Bool => {
            tag(out, number, 0);
            out.push(u8::from(value == true));
        }
        Of::Any => bytes(out, number, &any(value)),
        Of::Anys => items.iter().for_each(|item| bytes(out, number, &any(item))),
        Of::One(message) => bytes(out, number, &encode(message, value)),
        Of::Named(message) => each(value, |name, value| {
            bytes(out, number, &named(name, &encode(message, value)));
        }),
        Of::Types => {
            let mut types = Vec::new();
            text(&mut types, 1, value);
            bytes(out, number, &types);
        }
        Of::Items => {
            let mut items = Vec::new();
            bytes(&mut items, 1, &encode(&SCHEMA, value));
            bytes(out, number, &items);
        }
        Of::Further => {
            let mut further = Vec::new();
            match value {
                Value::Bool(_) => field(&mut further, 2, &Of::Bool, value),
                schema => bytes(&mut further, 1, &encode(&SCHEMA, schema)),
            }
            bytes(out, number, &further);
        }
        Of::Parameters => items
            .iter()
            .for_each(|item| bytes(out, number, &parameter(item))),
        Of::Responses => {
            let mut responses = Vec::new();
            each(value, |code, response| {
                let mut item = Vec::new();
                bytes(&mut item, 1, &encode(&RESPONSE, response));
                bytes(&mut responses, 1, &named(code, &item));
            });
            bytes(out, number, &responses);
        }
    }
}

/// A `ParametersItem`: a parameter, which is a body or not, which is of the query or the path.
fn parameter(value: &Value) -> Vec<u8> {
    let (mut item, mut parameter, mut other) = (Vec::new(), Vec::new(), Vec::new());
    match value["in"].as_str() {
        Some("body") => bytes(&mut parameter, 1, &encode(&BODY, value)),
        Some("path") => {
            bytes(&mut other, 4, &encode(&IN_PATH, value));
            bytes(&mut parameter, 2, &other);
        }
        _ => {
            bytes(&mut other, 3, &encode(&QUERY, value));
            bytes(&mut parameter, 2, &other);
        }
    }
    bytes(&mut item, 1, &parameter);
    item
}

/// A pair of a name and a message.
fn named(name: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + message.len() + 16);
    bytes(&mut out, 1, name.as_bytes());
    bytes(&mut out, 2, message);
    out
}

/// Any value: JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

fn each(value: &Value, mut each: impl FnMut(&str, &Value)) {
    let members = value.as_object().into_iter().flat_map(Map::iter);
    members.for_each(|(name, value)| each(name, value));
}

fn text(out: &mut Vec<u8>, number: u32, value: &Value) {
    bytes(out, number, value.as_str().unwrap_or_default().as_bytes());
}

fn bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    tag(out, number, 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, (number << 3 | wire).into());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
