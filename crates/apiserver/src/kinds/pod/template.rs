//! Pod templates: what controllers make pods of. A template is judged as the pod that it makes,
//! at its place in the object that holds it.

use serde_json::{Value, json};

use super::{complete, validate};
use crate::{
    check::{self, Findings},
    kinds::defaults::fill,
};

/// Fills in what a pod template leaves out.
pub fn complete_template(template: &mut Value) {
    complete::complete_spec(template);
    fill(complete::SPEC_DEFAULTS, template);
}

/// Finds what is wrong with the template at `field`.
pub fn validate_template(field: &str, template: &Value, findings: &mut Findings) {
    let metadata = &template["metadata"];
    let mut found = Findings::default();
    check::labels("labels", &metadata["labels"], &mut found);
    check::annotations("annotations", &metadata["annotations"], &mut found);
    check::run(validate::RULES, template, &mut found);
    validate::validate(template, &mut found);
    findings.take_under(field, found);
}

/// Finds what is wrong with a template whose pods are kept running by a `kind`.
pub fn validate_lasting(field: &str, template: &Value, kind: &str, findings: &mut Findings) {
    validate_template(field, template, findings);
    let spec = &template["spec"];
    let policies = ["OnFailure", "Never"].map(|policy| json!(policy));
    if policies.contains(&spec["restartPolicy"]) {
        let at = format!("{field}.spec.restartPolicy");
        findings.unsupported(at, &spec["restartPolicy"], &["Always"]);
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        findings.forbidden(format!("{field}.spec.activeDeadlineSeconds"), why);
    }
}
