//! Custom resources: kinds that a CustomResourceDefinition describes.
//!
//! ```text
//!   CustomResourceDefinition written ──► keeper ── names ──► Definition ──► a Kind for each version
//!                                          │                                   │
//!                          status, RBAC ◄──┤                                   ▼
//!                                          └── deleted: its objects first   the kinds that are served
//! ```
//!
//! One task, [`keeper`], decides which definitions are served: it sees each change of one, judges
//! its names, puts its kinds where requests look for them, and only then says that it is established. What
//! is served from then on is what all kinds are served by; where a row of the table has functions, a
//! custom kind has a schema ([`kind::Custom`]).
//!
//! Objects are stored as one version and served as all: without conversion webhooks, which are
//! refused, versions differ in their `apiVersion` and in what their schemas know.

mod collecting;
mod columns;
mod definition;
mod empty;
mod json_path;
pub mod keeper;
mod kind;
mod names;
mod scale;
pub mod schema;
mod status;
mod texts;

pub use definition::Definition;
pub use kind::{Custom, kinds_of};
pub use scale::ScalePaths;
pub use status::wait_for_objects;

/// The finalizer by which a definition waits for its objects to go.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
