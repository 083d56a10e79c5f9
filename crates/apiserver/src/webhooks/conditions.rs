//! `matchConditions`: what must be true of a request before a webhook is asked.

use sealane_structural::{Admission, Condition, Undecided};
use serde_json::Value;

use crate::check::{Findings, format};

/// The most conditions that a webhook may have.
const MOST: usize = 64;

/// The conditions of one webhook.
#[derive(Debug)]
pub struct Conditions(Vec<Named>);

#[derive(Debug)]
struct Named {
    name: String,
    condition: Result<Condition, String>,
}

impl Conditions {
    /// Compiles a stored list.
    pub fn of(list: &Value) -> Self {
        let all = list.as_array().into_iter().flatten();
        let named = all.map(|one| Named {
            name: text(&one["name"]).to_owned(),
            condition: Condition::compile(text(&one["expression"])),
        });
        Self(named.collect())
    }

    /// Whether all are true. One that is false decides, whatever cannot be decided beside it.
    ///
    /// # Errors
    ///
    /// Why it cannot be decided, in kube-apiserver's words.
    pub fn hold(&self, of: &Admission<'_>) -> Result<bool, String> {
        let mut budget = Condition::BUDGET;
        let (mut failed, mut undecided) = (None, Vec::new());
        for one in &self.0 {
            let condition = one.condition.as_ref();
            let said = condition.map_err(|why| format!("compilation error: {why}"));
            let said = match said.map(|condition| condition.holds(of, &mut budget)) {
                Ok(Err(over @ Undecided::OverBudget)) => return Err(over.to_string()),
                Ok(said) => said.map_err(|why| why.to_string()),
                Err(why) => Err(why),
            };
            match said {
                Ok(true) => {}
                Ok(false) => failed = failed.or(Some(&one.name)),
                Err(why) => undecided.push(why),
            }
        }
        if let Some(condition) = failed {
            tracing::debug!(condition, "a webhook does not want to see a request");
            return Ok(false);
        }
        match undecided.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

/// What is wrong with the list at `at`.
pub fn validate(at: &str, list: &Value, findings: &mut Findings) {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    if list.len() > MOST {
        let count = list.len();
        let message = format!("Too many: {count}: must have at most {MOST} items");
        findings.add(at, "FieldValueTooMany", message);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, one) in list.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let (name, expression) = (text(&one["name"]), text(&one["expression"]).trim());
        if expression.is_empty() {
            findings.required(format!("{at}.expression"), "");
        } else if let Err(why) = Condition::compile(expression) {
            findings.invalid(format!("{at}.expression"), &expression.into(), why);
        }
        if name.is_empty() {
            findings.required(format!("{at}.name"), "");
            continue;
        }
        for why in format::qualified_name(name) {
            findings.invalid(format!("{at}.name"), &one["name"], why);
        }
        if seen.contains(&name) {
            findings.duplicate(format!("{at}.name"), &one["name"]);
        }
        seen.push(name);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hold(expressions: &[&str]) -> Result<bool, String> {
        let list = expressions
            .iter()
            .map(|text| json!({"name": "c", "expression": text}));
        let (object, old_object) = (json!({"a": 1}), Value::Null);
        let request = json!({"operation": "CREATE"});
        let of = Admission {
            object: &object,
            old_object: &old_object,
            request: &request,
        };
        Conditions::of(&list.collect()).hold(&of)
    }

    #[test]
    fn what_is_false_decides() {
        assert_eq!(hold(&[]), Ok(true));
        assert_eq!(
            hold(&["object.a == 1", "request.operation != 'DELETE'"]),
            Ok(true)
        );
        assert_eq!(hold(&["object.b == 1", "object.a == 2"]), Ok(false));
        let one = "expression 'object.b == 1' resulted in error: no such key: b";
        assert_eq!(hold(&["object.b == 1", "true"]), Err(one.into()));
        let two = "expression '1/0 == 1' resulted in error: division by zero";
        assert_eq!(
            hold(&["object.b == 1", "1/0 == 1"]),
            Err(format!("[{one}, {two}]"))
        );
        assert!(
            hold(&["nobody"])
                .unwrap_err()
                .starts_with("compilation error: compilation failed: ")
        );
    }

    #[test]
    fn what_cannot_be_a_condition_is_said() {
        let found = |list: Value| {
            let mut findings = Findings::default();
            validate("m", &list, &mut findings);
            findings.to_string()
        };
        let good = json!({"name": "a/b", "expression": "true"});
        for (list, expected) in [
            (json!([good]), "[]"),
            (
                json!([{"expression": " "}]),
                "[m[0].expression: Required value, m[0].name: Required value]",
            ),
            (json!([good, good]), "m[1].name: Duplicate value: \"a/b\""),
            (
                json!([{"name": "a", "expression": "1"}]),
                "m[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
            ),
        ] {
            assert_eq!(found(list), expected);
        }
        let many = (0..65).map(|n| json!({"name": format!("n{n}"), "expression": "true"}));
        assert_eq!(
            found(many.collect()),
            "m: Too many: 65: must have at most 64 items"
        );
    }
}
