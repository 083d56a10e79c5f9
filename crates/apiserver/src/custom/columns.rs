//! The columns of a custom kind: `additionalPrinterColumns`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json_path::JsonPath;
use crate::kinds::since;

/// A column as a definition writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    name: String,
    r#type: String,
    json_path: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i32,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    definition: Value,
    kind: Box<str>,
    /// `None` if it cannot be read, which the rules of definitions do not allow.
    path: Option<JsonPath>,
}

/// The columns that are shown if a definition names none.
pub fn usual() -> Vec<Written> {
    vec![Written {
        name: "Age".into(),
        r#type: "date".into(),
        json_path: ".metadata.creationTimestamp".into(),
        format: String::new(),
        description: "Time since the object was made.".into(),
        priority: 0,
    }]
}

impl From<Written> for Column {
    fn from(written: Written) -> Self {
        let description = match written.description.as_str() {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                written.json_path
            ),
            said => said.to_owned(),
        };
        Self {
            definition: json!({
                "name": written.name,
                "type": written.r#type,
                "format": written.format,
                "description": description,
                "priority": written.priority,
            }),
            kind: written.r#type.into(),
            path: JsonPath::parse(&written.json_path).ok(),
        }
    }
}

impl Column {
    /// How a table describes it.
    pub fn definition(&self) -> &Value {
        &self.definition
    }

    /// What it shows of `object` at the time `now`; null if there is nothing to show.
    pub fn show(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.as_ref().map(|path| path.find(object));
        let Some(value) = found.and_then(|found| found.first().copied()) else {
            return Value::Null;
        };
        match (&*self.kind, value) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(_)) => value.clone(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => whole(number),
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(time)) => match time.parse::<Timestamp>() {
                Ok(_) => since(Some(time), now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

fn whole(number: &serde_json::Number) -> Value {
    let float = || number.as_f64().map(|float| float as i64);
    number.as_i64().or_else(float).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_by_type() {
        let object = json!({
            "text": "a", "whole": 3, "part": 2.5, "yes": true, "list": ["a", 1], "map": {"a": 1},
            "time": "2026-01-01T00:00:00Z", "null": null,
        });
        let now = "2026-01-01T00:00:45Z".parse().unwrap();
        for (kind, path, expected) in [
            ("string", ".text", json!("a")),
            ("string", ".whole", json!("3")),
            ("string", ".list", json!("[\"a\",1]")),
            ("string", ".map", json!("{\"a\":1}")),
            ("string", ".absent", json!(null)),
            ("string", ".null", json!(null)),
            ("integer", ".whole", json!(3)),
            ("integer", ".part", json!(2)),
            ("integer", ".text", json!(null)),
            ("number", ".part", json!(2.5)),
            ("boolean", ".yes", json!(true)),
            ("boolean", ".text", json!(null)),
            ("date", ".time", json!("45s")),
            ("date", ".text", json!("<invalid>")),
        ] {
            let column = Column::from(Written {
                r#type: kind.into(),
                json_path: path.into(),
                ..usual().remove(0)
            });
            assert_eq!(column.show(&object, now), expected, "{kind} {path}");
        }
    }
}
