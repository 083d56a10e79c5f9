//! How many pods may be missing, or too many, while they are replaced: a number or a percentage.

use serde_json::Value;

use crate::check::Findings;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' \
    (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The number, or that of the percentage; 0 if it is neither.
pub fn amount(value: &Value) -> i64 {
    percent(value).or(value.as_i64()).unwrap_or(0)
}

fn percent(value: &Value) -> Option<i64> {
    let digits = value.as_str()?.strip_suffix('%')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// Finds what is wrong with such a number at `field`.
pub fn validate(field: &str, value: &Value, findings: &mut Findings) {
    if value.is_string() && percent(value).is_none() {
        findings.invalid(field, value, PERCENT);
    }
    if value.as_i64().is_some_and(|number| number < 0) {
        findings.invalid(field, value, "must be greater than or equal to 0");
    }
}

/// Finds a percentage at `field` that is more than all.
pub fn at_most_all(field: &str, value: &Value, findings: &mut Findings) {
    if percent(value).is_some_and(|percent| percent > 100) {
        findings.invalid(field, value, "must not be greater than 100%");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_percentages() {
        let found = |value: Value| {
            let mut findings = Findings::default();
            validate("x", &value, &mut findings);
            at_most_all("x", &value, &mut findings);
            (findings.is_empty(), amount(&value))
        };
        assert_eq!(found(json!(3)), (true, 3));
        assert_eq!(found(json!("25%")), (true, 25));
        assert_eq!(found(json!("0%")), (true, 0));
        assert_eq!(found(json!(-1)), (false, -1));
        assert_eq!(found(json!("25")), (false, 0));
        assert_eq!(found(json!("+5%")), (false, 0));
        assert_eq!(found(json!("101%")), (false, 101));
    }
}
