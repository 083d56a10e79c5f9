//! The form of rules: what they have to say, and how.

use serde_json::Value;

use super::{schemas, text};
use crate::field_path;
use crate::path::Path;
use crate::problem::Problem;

const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// The form of rules; what they say is [`super::expressions`]'s.
pub(super) fn rules(raw: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let list = at.field("x-kubernetes-validations");
    let fields = raw["x-kubernetes-validations"]
        .is_array()
        .then(|| crate::read::root(raw));
    for (index, rule) in schemas(raw, "x-kubernetes-validations").iter().enumerate() {
        let place = list.index(index);
        let (expression, message) = (text(rule, "rule"), text(rule, "message"));
        let has_lines = |text: &str| text.contains(['\n', '\r']);
        let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
        if expression.trim().is_empty() {
            problems.push(Problem::required(
                place.field("rule"),
                "rule is not specified",
            ));
        } else if blank(message) {
            problems.push(Problem::invalid(
                place.field("message"),
                message,
                "must be non-empty if specified",
            ));
        } else if has_lines(message.trim()) {
            problems.push(Problem::invalid(
                place.field("message"),
                message,
                "must not contain line breaks",
            ));
        } else if has_lines(expression.trim()) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            problems.push(Problem::required(place.field("message"), detail));
        }
        if blank(text(rule, "messageExpression")) {
            let detail = "messageExpression must be non-empty if specified";
            problems.push(Problem::required(place.field("messageExpression"), detail));
        }
        let reason = text(rule, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            problems.push(Problem::not_supported(
                place.field("reason"),
                reason,
                REASONS,
            ));
        }
        let field = text(rule, "fieldPath");
        let field_at = place.field("fieldPath");
        if blank(field) {
            problems.push(Problem::invalid(
                field_at,
                field,
                "must be non-empty if specified",
            ));
        }
        if has_lines(field) {
            problems.push(Problem::invalid(
                field_at,
                field,
                "must not contain line breaks",
            ));
        }
        let leads = |node| field_path::find(node, field, true).is_ok();
        if !field.is_empty() && !fields.as_ref().is_some_and(leads) {
            problems.push(Problem::invalid(field_at, field, "must be a valid path"));
        }
    }
}
