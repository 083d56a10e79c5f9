//! Pod.

mod complete;
mod container;
mod show;
mod template;
mod validate;
mod volumes;
mod warnings;

use k8s_openapi::api::core::v1 as core;

use super::{
    Admission, Deletion, Generation, Kind, NodeStream, PLAIN, ProxyTo, Subresource, Warnings,
    column::{AGE, Cell, NAME, column, wide},
    typed,
};
pub use template::{complete_template, validate_lasting, validate_template};
pub use warnings::{of_pod_spec, of_workload};

pub static POD: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    status: true,
    subresources: &[
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::Node(NodeStream::Log),
        Subresource::Node(NodeStream::Exec),
        Subresource::Node(NodeStream::Attach),
        Subresource::Node(NodeStream::PortForward),
        Subresource::Proxy(ProxyTo::Pod),
    ],
    decode: typed::<core::Pod>,
    defaults: complete::POD_DEFAULTS,
    complete: complete::complete,
    rules: validate::RULES,
    validate: validate::validate,
    validate_update: validate::validate_update,
    fields: &[
        ("spec.nodeName", "spec.nodeName"),
        ("spec.restartPolicy", "spec.restartPolicy"),
        ("spec.schedulerName", "spec.schedulerName"),
        ("spec.serviceAccountName", "spec.serviceAccountName"),
        ("spec.hostNetwork", "spec.hostNetwork"),
        ("status.phase", "status.phase"),
        ("status.podIP", "status.podIP"),
        ("status.nominatedNodeName", "status.nominatedNodeName"),
    ],
    columns: &[
        NAME,
        column(
            "Ready",
            Cell::Of(|pod, now| show::Shown::of(pod, now).ready.into()),
            "Containers that are ready, of all.",
        ),
        column(
            "Status",
            Cell::Of(|pod, now| show::Shown::of(pod, now).status.into()),
            "Phase, or what keeps it from the next.",
        ),
        column(
            "Restarts",
            Cell::Of(|pod, now| show::Shown::of(pod, now).restarts.into()),
            "How often containers were restarted.",
        ),
        AGE,
        wide("IP", Cell::Path("status.podIP"), "Address of the pod."),
        wide("Node", Cell::Path("spec.nodeName"), "Node that runs it."),
        wide(
            "Nominated Node",
            Cell::Path("status.nominatedNodeName"),
            "Node that makes room for it.",
        ),
        wide(
            "Readiness Gates",
            Cell::Of(|pod, _| show::readiness_gates(pod).into()),
            "Conditions that are true, of those that readiness asks for.",
        ),
    ],
    generation: Generation::Spec,
    warnings: Warnings::OnCreate(warnings::of_pod),
    returns_deleted: true,
    deletion: Deletion::Graceful,
    admission: Admission::Pod,
    ..PLAIN
};
