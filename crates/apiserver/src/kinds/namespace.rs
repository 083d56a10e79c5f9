//! Namespace.

use k8s_openapi::api::core::v1 as core;
use serde_json::json;

use super::{
    Deletion, Kind, PLAIN, Subresource,
    column::{AGE, Cell, NAME, column},
    typed,
};
use crate::{check::NameRule, object};

pub static NAMESPACE: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    names: NameRule::Label,
    status: true,
    subresources: &[Subresource::Finalize],
    decode: typed::<core::Namespace>,
    complete: |namespace| {
        let name = object::name(namespace).to_owned();
        if !name.is_empty() {
            namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
        }
        if namespace["status"]["phase"].is_null() {
            namespace["status"]["phase"] = json!("Active");
        }
    },
    defaults: &[("spec", "{}"), ("spec.finalizers", "[\"kubernetes\"]")],
    fields: &[("status.phase", "status.phase")],
    columns: &[
        NAME,
        column(
            "Status",
            Cell::Path("status.phase"),
            "Active or Terminating.",
        ),
        AGE,
    ],
    deletion: Deletion::Contents,
    ..PLAIN
};
