//! Which image a container runs, and what is told about it.
//!
//! ```text
//!   name of the pod ──alias──> name ──┬─ built in: there without asking anybody
//!                                     └─ in the store? ── policy ──┬─ yes: its layers
//!                                                                  ├─ pull it, in a process of its own
//!                                                                  └─ no
//! ```
//!
//! The image as the pod names it is first looked up among the alias rules of
//! this node: behind a rule another image is run in its place, and the pod's
//! status and Events say so. Policies, reasons and messages are the kubelet's
//! (`pkg/kubelet/images/image_manager.go`).

mod from_store;
pub mod keep;
pub mod pull;
pub mod secrets;

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;
use sealane_image::{Reference, Store};
use sealane_objects::{ImageAlias, alias_of};
use sealane_runtime::{Image, ImageError, resolve_image};

/// Reason of a pull that failed.
pub const PULL_FAILED: &str = "ErrImagePull";
/// Reason of a pull from a registry that does not answer.
pub const UNAVAILABLE: &str = "RegistryUnavailable";
/// Reason of a wait for the next attempt to pull.
pub const BACK_OFF: &str = "ImagePullBackOff";
/// Reason of an image that is absent and must not be pulled.
pub const NEVER: &str = "ErrImageNeverPull";
/// Reason of a name that no image can have.
pub const INVALID: &str = "InvalidImageName";

/// The images of a node.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Which images stand in for others.
    pub aliases: Vec<ImageAlias>,
    /// Paths that containers of the host image must not see.
    pub hide: Vec<PathBuf>,
    /// Images that were pulled or imported; without it there are the built-in ones alone.
    pub store: Option<Store>,
}

/// An image that a container can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What it is for the runtime.
    pub image: Image,
    /// What it is for people: `imageID`.
    pub id: String,
    /// The rule by which it runs in place of the one that was asked for.
    pub alias: Option<ImageAlias>,
    /// Asks its containers to end, unless SIGTERM does.
    pub stop_signal: Option<i32>,
}

/// Where a container's image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Here(Box<Resolved>),
    /// In the store, perhaps, or in a registry.
    Elsewhere(Name),
}

/// An image that is not built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its full name.
    pub reference: Reference,
    /// The rule by which it runs in place of the one that was asked for.
    pub alias: Option<ImageAlias>,
}

/// An image that cannot be had, in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`, `RegistryUnavailable`.
    pub reason: &'static str,
    /// The reason in a sentence.
    pub message: String,
}

/// When an image is pulled although it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Before each start.
    Always,
    /// When it is not here.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl Policy {
    /// `imagePullPolicy`, which the API server fills in.
    pub fn of(container: &Container) -> Self {
        match container.image_pull_policy.as_deref() {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            _ => Self::IfNotPresent,
        }
    }
}

impl Images {
    /// The image that runs where `name` is asked for, as far as its name tells.
    ///
    /// # Errors
    /// When there can be none.
    pub fn locate(&self, name: &str) -> Result<Place, Refusal> {
        let rule = alias_of(&self.aliases, name);
        let (real, alias) = (rule.map_or(name, ImageAlias::image), rule.cloned());
        match resolve_image(real) {
            Ok(image) => Ok(Place::Here(Box::new(self.built_in(image, real, alias)))),
            Err(error @ ImageError::Tag { .. }) => Err(Refusal::pull(error)),
            Err(error @ ImageError::Unknown { .. }) if self.store.is_none() => {
                Err(Refusal::pull(error))
            }
            Err(_) => match real.parse() {
                Ok(reference) => Ok(Place::Elsewhere(Name { reference, alias })),
                Err(error) => Err(Refusal {
                    reason: INVALID,
                    message: format!(
                        "Failed to apply default image tag \"{name}\": couldn't parse image name \"{real}\": {error}"
                    ),
                }),
            },
        }
    }

    fn built_in(&self, mut image: Image, real: &str, alias: Option<ImageAlias>) -> Resolved {
        if let Image::Host { hide } = &mut image {
            hide.extend(self.hide.iter().cloned());
        }
        Resolved {
            image,
            id: format!("{real}@sealane:{}", env!("CARGO_PKG_VERSION")),
            alias,
            stop_signal: None,
        }
    }

    /// The image of the store, held for the pod whose folder this is; blocking.
    ///
    /// # Errors
    /// When the store cannot be read. A damaged image is absent: pulling it again mends it.
    pub fn find(&self, name: &Name, uid: &str, folder: &Path) -> Result<Option<Resolved>, Refusal> {
        use sealane_image::Error::Content;
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let found = match store.find(&name.reference) {
            Ok(Some(image)) => store.hold(uid, folder, &image).map(|()| Some(image)),
            other => other,
        };
        match found {
            Ok(image) => Ok(image.map(|image| from_store::resolved(image, name.alias.clone()))),
            Err(error @ Content { .. }) => {
                tracing::warn!("image {}: {error}; it is pulled again", name.reference);
                Ok(None)
            }
            Err(error) => Err(Refusal::pull(error)),
        }
    }
}

impl Refusal {
    /// A pull that failed.
    pub fn pull(message: impl ToString) -> Self {
        Self {
            reason: PULL_FAILED,
            message: message.to_string(),
        }
    }

    /// An image that is absent and must not be pulled.
    pub fn never(name: &str) -> Self {
        Self {
            reason: NEVER,
            message: format!("Container image \"{name}\" is not present with pull policy of Never"),
        }
    }

    /// Whether trying again may help, with a growing delay.
    pub fn backs_off(&self) -> bool {
        is_pull_failure(self.reason)
    }
}

/// Whether this is what a container waits with whose pull has failed, until it is told for a while.
pub fn is_pull_failure(reason: &str) -> bool {
    [PULL_FAILED, UNAVAILABLE].contains(&reason)
}

/// The Event `Pulled` of a container whose image was here.
pub fn present(name: &str, alias: Option<&ImageAlias>) -> String {
    let present = format!("Container image \"{name}\" already present on machine");
    match alias {
        None => present,
        Some(alias) => format!(
            "{present}: by the alias {} it is {}",
            alias.pattern(),
            alias.image()
        ),
    }
}

impl Resolved {
    /// The arguments of the echo image where it runs in place of another, given
    /// the words that were meant for that one: it says what it makes of them.
    pub fn stand_in(&self, container: &Container, words: Vec<String>) -> Option<Vec<String>> {
        let stands_in = self.alias.is_some() && self.image == Image::Echo;
        let name = container.image.as_deref().unwrap_or_default();
        stands_in.then(|| {
            let mut args = [
                "--in-place-of",
                name,
                "--declared",
                &declared(container),
                "--",
            ]
            .map(str::to_owned)
            .to_vec();
            args.extend(words);
            args
        })
    }

    /// Who its containers are when the pod does not say: the user's word, without its group.
    pub fn user(&self) -> &str {
        match &self.image {
            Image::Layers(image) => image.user.split(':').next().unwrap_or_default(),
            _ => "",
        }
    }
}

/// `80/TCP,53/UDP`
fn declared(container: &Container) -> String {
    let ports = container.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        format!("{}/{protocol}", port.container_port)
    });
    ports.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
