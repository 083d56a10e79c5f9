//! `status` and `scale`.

use serde_json::Value;

use super::columns::simple_path;
use crate::path::Path;
use crate::problem::Problem;

pub(super) fn check(subresources: &Value, at: &Path<'_>, problems: &mut Vec<Problem>) {
    let scale = &subresources["scale"];
    if scale.is_null() {
        return;
    }
    let scale_at = at.field("scale");
    let paths = [
        ("specReplicasPath", &[".spec."][..], ".spec"),
        ("statusReplicasPath", &[".status."][..], ".status"),
        (
            "labelSelectorPath",
            &[".spec.", ".status."][..],
            "either .spec or .status",
        ),
    ];
    for (name, below, where_) in paths {
        let place = scale_at.field(name);
        let path = scale[name].as_str().unwrap_or_default();
        if path.is_empty() {
            if name != "labelSelectorPath" {
                problems.push(Problem::required(place, ""));
            }
        } else if simple_path(path, &place, problems)
            && !below.iter().any(|start| path.starts_with(start))
        {
            let detail = format!("should be a json path under {where_}");
            problems.push(Problem::invalid(place, path, detail));
        }
    }
}
