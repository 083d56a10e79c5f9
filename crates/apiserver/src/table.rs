//! Tables: what kubectl prints, worked out here so that every client shows the same.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{answer::metadata_only, kinds::Kind, request::Include};

/// A `Table` of `objects`, as they are stored (`meta.k8s.io/v1`); without `definitions`, as the second and later
/// events of a watch have it, the columns are not described again.
pub fn table(
    kind: &Kind,
    include: Include,
    meta: Value,
    objects: &[Value],
    now: Timestamp,
    definitions: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| row(kind, include, object, now))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": if definitions { kind.column_definitions().into() } else { Value::Null },
        "rows": rows,
    })
}

/// One row of a table.
pub fn row(kind: &Kind, include: Include, object: &Value, now: Timestamp) -> Value {
    let mut row = json!({ "cells": kind.cells(object, now) });
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = metadata_only(object),
        Include::Object => row["object"] = kind.to_served(object.clone()),
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn a_table_has_a_cell_for_each_column() {
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        for kind in kinds::KINDS {
            let object =
                json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}});
            let table = table(kind, Include::None, json!({}), &[object], now, true);
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            assert_eq!(
                table["rows"][0]["cells"].as_array().unwrap().len(),
                columns,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_node_in_a_table() {
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let node = json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "nodeInfo": {"kubeletVersion": "v1"}},
        });
        let table = table(
            &kinds::NODE,
            Include::Metadata,
            json!({}),
            &[node],
            now,
            true,
        );
        let cells = &table["rows"][0]["cells"];
        let expected = [
            "n", "Ready", "<none>", "10s", "v1", "<none>", "<none>", "<none>", "<none>", "<none>",
        ];
        assert_eq!(*cells, json!(expected));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }
}
