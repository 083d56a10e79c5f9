//! Edge: container images: their names, a content store, archives, registries and layers.
//!
//! ```text
//!   archive (OCI, Docker) ──┐                          ┌──► layers/…/fs, lowerdirs of a container's overlayfs
//!                           ├──► blobs, by digest ─────┤
//!   registry (OCI 1.1) ─────┘      verified            └──► config: program, environment, user
//! ```
//!
//! - [`Reference`] is a name, normalised as Kubernetes does it.
//! - [`Store`] keeps images on disk; any number of processes may use one. [`Store::find`] answers
//!   with an [`Image`] from which a container can run at once.
//! - [`Store::import`] reads archives of images, [`Store::pull`] asks registries.
//! - [`Store::collect`] and [`Store::prune`] remove what nobody uses.
//!
//! Everything blocks: images are handled by commands that end, not by daemons. What a pod's start
//! needs of it is [`Store::find`] and [`Store::hold`], a handful of small files.
//!
//! Bytes from outside are trusted in nothing: documents are bounded, digests checked, paths of
//! layers resolved by the kernel within the layer's own directory (`openat2`), sizes limited.

mod compression;
mod digest;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod model;
mod platform;
mod pull;
mod reference;
mod registry;
mod store;
mod tarball;
mod unpack;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::Error;
pub use import::{Failed, Imported, Source};
pub use model::Config;
pub use platform::Platform;
pub use pull::{Listener, Progress, Pull};
pub use reference::{DEFAULT_REGISTRY, Reference, ReferenceError};
pub use registry::{Keyring, KeyringError, PullError, Registries, Registry};
pub use store::{Broken, Collected, Image, Listing, Origin, Prune, Store, Thresholds};
