//! Managers as JSON: `metadata.managedFields`.

use serde_json::{Map, Value, json};

use crate::{FieldSet, Manager, Managers, Operation};

/// Entries that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EntriesError(String);

impl EntriesError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Managers {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    ///
    /// When an entry is none: of no operation, no version, or fields of an unknown type.
    pub fn parse(entries: &Value) -> Result<Self, EntriesError> {
        let mut managers = Self::default();
        let entries = match entries {
            Value::Null => return Ok(managers),
            Value::Array(entries) => entries,
            _ => return Err(EntriesError::new("managed fields are a list")),
        };
        for (at, entry) in entries.iter().enumerate() {
            managers.put(parse(entry, at)?);
        }
        Ok(managers)
    }

    /// As `metadata.managedFields`, in the order of kube-apiserver.
    pub fn to_value(&self) -> Value {
        let mut sorted: Vec<&Manager> = self.0.iter().collect();
        sorted.sort_by_key(|manager| {
            (
                manager.operation,
                &manager.time,
                &manager.name,
                &manager.api_version,
                &manager.subresource,
            )
        });
        sorted.into_iter().map(to_value).collect()
    }

    /// Whether a list of entries asks to forget all managers: an empty list, or an empty entry.
    pub fn is_reset(entries: &Value) -> bool {
        match entries.as_array().map(Vec::as_slice) {
            Some([]) => true,
            Some([Value::Object(entry)]) => entry.is_empty(),
            _ => false,
        }
    }
}

fn parse(entry: &Value, at: usize) -> Result<Manager, EntriesError> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let operation = match &*text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(EntriesError::new("operation must be `Apply` or `Update`")),
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        return Err(EntriesError::new("apiVersion must not be empty"));
    }
    match &*text("fieldsType") {
        "FieldsV1" => {}
        "" => {
            let why = format!("missing fieldsType in managed fields entry {at}");
            return Err(EntriesError(why));
        }
        other => {
            let why = format!("invalid fieldsType {other:?} in managed fields entry {at}");
            return Err(EntriesError(why));
        }
    }
    let fields = FieldSet::parse(&entry["fieldsV1"])
        .map_err(|cause| EntriesError(format!("error decoding set: {cause}")))?;
    Ok(Manager {
        name: text("manager"),
        operation,
        api_version,
        subresource: text("subresource"),
        time: entry["time"].as_str().map(str::to_owned),
        fields,
    })
}

fn to_value(manager: &Manager) -> Value {
    let operation = match manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
    put("apiVersion", json!(manager.api_version));
    put("fieldsType", json!("FieldsV1"));
    put("fieldsV1", manager.fields.to_fields_v1());
    put("operation", json!(operation));
    for (name, text) in [
        ("manager", Some(&manager.name)),
        ("subresource", Some(&manager.subresource)),
        ("time", manager.time.as_ref()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            put(name, json!(text));
        }
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written() {
        let entry = |manager: &str, operation: &str, time: &str| {
            json!({
                "manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}},
            })
        };
        let (a, b, c) = (
            entry("b", "Apply", "2026-01-02T00:00:00Z"),
            entry("c", "Update", "2026-01-01T00:00:00Z"),
            entry("a", "Update", "2026-01-02T00:00:00Z"),
        );
        let managers = Managers::parse(&json!([c, b, a])).unwrap();
        assert_eq!(managers.to_value(), json!([a, b, c]));
        assert_eq!(Managers::parse(&Value::Null).unwrap(), Managers::default());
        assert_eq!(Managers::default().to_value(), json!([]));
        // An applier is the same in all versions; the later entry counts.
        let mut other = a.clone();
        other["apiVersion"] = json!("v2");
        let managers = Managers::parse(&json!([a, other])).unwrap();
        assert_eq!(managers.to_value(), json!([other]));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let good = json!({
            "manager": "a", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        });
        for (field, value, why) in [
            (
                "operation",
                json!("Patch"),
                "operation must be `Apply` or `Update`",
            ),
            ("apiVersion", json!(""), "apiVersion must not be empty"),
            (
                "fieldsType",
                Value::Null,
                "missing fieldsType in managed fields entry 0",
            ),
            (
                "fieldsType",
                json!("V2"),
                r#"invalid fieldsType "V2" in managed fields entry 0"#,
            ),
            (
                "fieldsV1",
                json!({"a": {}}),
                "error decoding set: missing colon: a",
            ),
        ] {
            let mut entry = good.clone();
            entry[field] = value;
            let refused = Managers::parse(&json!([entry])).unwrap_err();
            assert_eq!(refused.to_string(), why);
        }
        assert!(Managers::parse(&json!({})).is_err());
    }

    #[test]
    fn an_empty_list_and_an_empty_entry_reset() {
        assert!(Managers::is_reset(&json!([])));
        assert!(Managers::is_reset(&json!([{}])));
        assert!(!Managers::is_reset(&Value::Null));
        assert!(!Managers::is_reset(&json!([{}, {}])));
        assert!(!Managers::is_reset(&json!([{"manager": "a"}])));
    }
}
