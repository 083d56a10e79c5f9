//! Decisions: OpenAPI documents of the kinds that an API server serves: version 3, one document for
//! each group version, and version 2, one document of all, as JSON and as protobuf.
//!
//! ```text
//!   source of k8s-openapi ── build/ ──► packages of schemas, deflated, in the binary
//!                                             │
//!   Resource, Part (what is served) ──► definitions ◄── Facts (how fields merge)
//!            │                                │
//!            └──► operations ──► paths ──► v3 ┴ v2 ──► gnostic (protobuf)
//! ```
//!
//! Clients read them for `kubectl explain`, for checks before a request, for the merge keys of patches
//! and to generate code. A document is written when it is asked for, one definition after the other: all of
//! them at once would be a tree of many megabytes, and most servers are never asked.
//!
//! Schemas of Kubernetes' own kinds come from the library, `k8s-openapi`, whose source the build script
//! reads; those of custom kinds, and how lists and maps merge, the caller tells ([`Facts`]).

mod custom;
mod definitions;
mod gnostic;
mod library;
mod operations;
mod v2;
mod v3;

use serde_json::Value;

pub use v2::{json as v2_json, protobuf as v2_protobuf};
pub use v3::document as v3_document;

/// A resource that is served.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind, as `Pod`.
    pub kind: &'a str,
    /// Kind of its lists, as `PodList`.
    pub list_kind: String,
    /// Plural name, which paths have.
    pub plural: &'a str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What may be done: `get`, `list`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: &'a [&'a str],
    /// Content types of patches.
    pub patches: Vec<&'a str>,
    /// Where its schema is.
    pub schema: Schema,
    /// Its subresources.
    pub parts: Vec<Part<'a>>,
}

/// Where the schema of a kind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// In the library.
    Library,
    /// The caller has it: [`Facts::schema`].
    Own,
}

/// A subresource.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Its name in paths.
    pub name: &'a str,
    /// Group, version and kind of what is sent to it and comes back.
    pub kind: [&'a str; 3],
    /// What may be done with it.
    pub verbs: &'a [&'a str],
    /// What is carried.
    pub carries: Carries<'a>,
}

/// What a subresource carries.
#[derive(Clone, Copy, Debug)]
pub enum Carries<'a> {
    /// Objects of its kind.
    Objects,
    /// A stream, with these parameters and their types (`string`, `integer`, `boolean`).
    Stream(&'a [(&'a str, &'a str)]),
}

/// What the caller knows beyond the library.
pub trait Facts {
    /// Extensions (`x-kubernetes-list-type`, …) of a definition of the library, or of one of its fields.
    fn extensions(&self, definition: &str, field: Option<&str>) -> Vec<(&'static str, Value)>;

    /// The schema of a kind that the library does not have: the `openAPIV3Schema` of its
    /// CustomResourceDefinition, or one like it. Null allows everything.
    fn schema(&self, resource: &Resource<'_>) -> Value;
}

/// Nothing more is known.
impl Facts for () {
    fn extensions(&self, _: &str, _: Option<&str>) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn schema(&self, _: &Resource<'_>) -> Value {
        Value::Null
    }
}
