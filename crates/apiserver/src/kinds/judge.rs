//! What is asked of objects of any kind: a row of the table answers with its functions and data, a
//! custom kind with its schema.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CUSTOM_RESOURCE_DEFINITION, Kind, fill};
use crate::{
    check::{self, FieldPath, Findings},
    object::{Decoded, TypeError},
};

impl Kind {
    /// Checks the types of all fields, and takes out those that are unknown.
    ///
    /// # Errors
    ///
    /// The first field of a wrong type.
    pub fn take(&self, value: &Value) -> Result<Decoded, TypeError> {
        match &self.custom {
            Some(custom) => custom.take(value),
            None => (self.decode)(value),
        }
    }

    /// Fills in what was not said.
    pub fn fill_in(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => custom.complete(object),
            None => {
                (self.complete)(object);
                fill(self.defaults, object);
            }
        }
    }

    /// Finds what is wrong with an object, and with what it changes of `old`.
    pub fn judge(&self, new: &Value, old: Option<&Value>) -> Findings {
        let mut findings = Findings::default();
        check::check_metadata(self.names, new, &mut findings);
        if !self.is_extension() {
            check::check_finalizers(new, &mut findings);
        }
        check::run(self.rules, new, &mut findings);
        (self.validate)(new, &mut findings);
        if let Some(old) = old {
            check::check_metadata_update(new, old, &mut findings);
            self.keep_immutable(new, old, &mut findings);
            (self.validate_update)(new, old, &mut findings);
        }
        (self.examine)(new, old, &mut findings);
        if let Some(custom) = &self.custom {
            custom.validate(new, old, &mut findings);
        }
        findings
    }

    /// Whether it is of the part of Kubernetes that extends it, which is less strict.
    fn is_extension(&self) -> bool {
        self.custom.is_some() || self.group == CUSTOM_RESOURCE_DEFINITION.group
    }

    /// Fields of the row that are set stay as they are.
    fn keep_immutable(&self, new: &Value, old: &Value, findings: &mut Findings) {
        for path in self.immutable {
            let path_of = FieldPath::of(path);
            let (Some(was), is) = (path_of.get(old), path_of.get(new)) else {
                continue;
            };
            if Some(was) != is {
                findings.invalid(*path, is.unwrap_or(&Value::Null), "field is immutable");
            }
        }
    }

    /// How tables describe its columns.
    pub fn column_definitions(&self) -> Vec<Value> {
        if let Some(custom) = &self.custom {
            return custom.column_definitions().collect();
        }
        let definition = |column: &super::Column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": if column.name == "Name" { "name" } else { "" },
                "description": column.description,
                "priority": i32::from(column.wide),
            })
        };
        self.columns.iter().map(definition).collect()
    }

    /// What such a table shows of an object at the time `now`.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        if let Some(custom) = &self.custom {
            return custom.cells(object, now).collect();
        }
        let columns = self.columns.iter();
        columns
            .map(|column| column.cell.show(object, now))
            .collect()
    }
}
