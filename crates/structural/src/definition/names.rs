//! What the objects are called: group, names, scope, and the definition's own name.

use sealane_objects::format::{dns_1035_label, dns_subdomain};
use serde_json::Value;

use crate::path::Path;
use crate::problem::Problem;

const APPROVED: &str = "api-approved.kubernetes.io";

/// The name is `PLURAL.GROUP`.
pub(super) fn check_own_name(definition: &Value, problems: &mut Vec<Problem>) {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let expected = format!(
        "{}.{}",
        text(&spec["names"]["plural"]),
        text(&spec["group"])
    );
    let name = text(&definition["metadata"]["name"]);
    if name != expected && !name.is_empty() {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        problems.push(Problem::invalid("metadata.name", name, detail));
    }
}

pub(super) fn check(spec: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    check_group(
        spec["group"].as_str().unwrap_or_default(),
        &at.field("group"),
        problems,
    );
    match spec["scope"].as_str().unwrap_or_default() {
        "" => problems.push(Problem::required(at.field("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => {
            let known = ["Cluster", "Namespaced"];
            problems.push(Problem::not_supported(at.field("scope"), other, known));
        }
    }
    check_names(&spec["names"], &at.field("names"), problems);
}

fn check_group(group: &str, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let wrong = dns_subdomain(group);
    if group.is_empty() {
        problems.push(Problem::required(at, ""));
    } else if !wrong.is_empty() {
        problems.push(Problem::invalid(at, group, wrong.join(",")));
    } else if !group.contains('.') {
        problems.push(Problem::invalid(
            at,
            group,
            "should be a domain with at least one dot",
        ));
    }
}

fn check_names(names: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let text = |name: &str| names[name].as_str().unwrap_or_default();
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(name).is_empty() {
            problems.push(Problem::required(at.field(name), ""));
        }
    }
    for name in ["plural", "singular"] {
        label(text(name), &at.field(name), problems);
    }
    for name in ["kind", "listKind"] {
        let given = text(name);
        let wrong = dns_1035_label(&given.to_ascii_lowercase());
        if !given.is_empty() && !wrong.is_empty() {
            let detail = format!(
                "may have mixed case, but should otherwise match: {}",
                wrong.join(",")
            );
            problems.push(Problem::invalid(at.field(name), given, detail));
        }
    }
    for list in ["shortNames", "categories"] {
        let place = at.field(list);
        let given = names[list].as_array().into_iter().flatten();
        for (index, name) in given.enumerate() {
            let name = name.as_str().unwrap_or_default();
            let wrong = dns_1035_label(name);
            if !wrong.is_empty() {
                problems.push(Problem::invalid(place.index(index), name, wrong.join(",")));
            }
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let detail = "kind and listKind may not be the same";
        problems.push(Problem::invalid(
            at.field("listKind"),
            text("listKind"),
            detail,
        ));
    }
}

fn label(name: &str, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let wrong = dns_1035_label(name);
    if !name.is_empty() && !wrong.is_empty() {
        problems.push(Problem::invalid(at, name, wrong.join(",")));
    }
}

/// Groups of the Kubernetes community carry a note that the API was looked at, or that it was
/// not: a URL, or `unapproved…`.
pub(super) fn check_approval(definition: &Value, old: Option<&Value>, problems: &mut Vec<Problem>) {
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let protected = ["k8s.io", "kubernetes.io"].into_iter().any(|domain| {
        group == domain
            || group
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    });
    let note = |definition: &Value| definition["metadata"]["annotations"][APPROVED].clone();
    let new = note(definition);
    if !protected || old.is_some_and(|old| note(old) == new) {
        return;
    }
    let at = format!("metadata.annotations[{APPROVED}]");
    let text = new.as_str().unwrap_or_default();
    let url = crate::url::Url::parse(text);
    if text.is_empty() {
        let detail = "protected groups must have approval annotation \"api-approved.kubernetes.io\", \
                      see https://github.com/kubernetes/enhancements/pull/1111";
        problems.push(Problem::required(at, detail));
    } else if !text.starts_with("unapproved")
        && !url.is_some_and(|url| !url.scheme.is_empty() && !url.authority.is_empty())
    {
        let detail = "protected groups must have approval annotation \"api-approved.kubernetes.io\" \
                      with either a URL or a reason starting with \"unapproved\", see \
                      https://github.com/kubernetes/enhancements/pull/1111";
        problems.push(Problem::invalid(at, text, detail));
    }
}
