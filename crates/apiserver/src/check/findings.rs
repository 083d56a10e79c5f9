//! What validation found, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::{Value, json};

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The field, as `spec.containers[0].name`.
    pub field: String,
    reason: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All that is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field that must be given is absent or empty.
    pub fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.add(field, "FieldValueRequired", join("Required value", detail));
    }

    /// A value that cannot be.
    pub fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: impl AsRef<str>) {
        let message = join(&format!("Invalid value: {}", shown(value)), detail.as_ref());
        self.add(field, "FieldValueInvalid", message);
    }

    /// A value that is none of those that can be.
    pub fn unsupported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            shown(value),
            supported.join(", ")
        );
        self.add(field, "FieldValueNotSupported", message);
    }

    /// A value that is there twice.
    pub fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        let message = format!("Duplicate value: {}", shown(value));
        self.add(field, "FieldValueDuplicate", message);
    }

    /// A value that refers to something that is not there.
    pub fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.add(
            field,
            "FieldValueNotFound",
            format!("Not found: {}", shown(value)),
        );
    }

    /// A field that may not be set, or not be changed.
    pub fn forbidden(&mut self, field: impl Into<String>, detail: impl AsRef<str>) {
        self.add(
            field,
            "FieldValueForbidden",
            join("Forbidden", detail.as_ref()),
        );
    }

    /// A value that is longer than may be.
    pub fn too_long(&mut self, field: impl Into<String>, max_bytes: usize) {
        let message = format!("Too long: may not be more than {max_bytes} bytes");
        self.add(field, "FieldValueTooLong", message);
    }

    /// Takes over what was found in the part of an object that is at `field`.
    pub fn take_under(&mut self, field: &str, part: Self) {
        self.0.extend(part.0.into_iter().map(|finding| Finding {
            field: format!("{field}.{}", finding.field),
            ..finding
        }));
    }

    /// What somebody else found and put into words.
    pub fn add(&mut self, field: impl Into<String>, reason: &'static str, message: String) {
        self.0.push(Finding {
            field: field.into(),
            reason,
            message,
        });
    }

    /// The causes of a `Status`.
    pub fn causes(&self) -> Vec<Value> {
        let cause = |one: &Finding| json!({ "reason": one.reason, "message": one.message, "field": one.field });
        self.0.iter().map(cause).collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                let all: Vec<String> = many.iter().map(Finding::to_string).collect();
                write!(f, "[{}]", all.join(", "))
            }
        }
    }
}

fn join(message: &str, detail: &str) -> String {
    if detail.is_empty() {
        message.into()
    } else {
        format!("{message}: {detail}")
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_as_kubernetes_words_them() {
        let mut findings = Findings::default();
        findings.required("spec.containers", "");
        assert_eq!(findings.to_string(), "spec.containers: Required value");
        findings.unsupported("spec.restartPolicy", &json!("x"), &["Always", "Never"]);
        findings.invalid("metadata.name", &json!("X"), "must be lower case");
        assert_eq!(
            findings.to_string(),
            "[spec.containers: Required value, spec.restartPolicy: Unsupported value: \"x\": \
             supported values: \"Always\", \"Never\", metadata.name: Invalid value: \"X\": must \
             be lower case]"
        );
    }
}
