//! The images that need no registry.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a container's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// This machine's own programs and settings under a private layer.
    Host {
        /// Further paths that the container must not see.
        #[serde(default)]
        hide: Vec<PathBuf>,
    },
    /// Nothing but our own program, as server and client.
    Echo,
    /// Unpacked layers, as an image store keeps them.
    Layers(Box<Layers>),
}

/// An image of unpacked layers, and how its containers run unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Directories of the layers in overlayfs form, lowest first.
    pub dirs: Vec<PathBuf>,
    /// The program and its first arguments.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Arguments of the entry point, or the command where there is none.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Environment, before the container's own.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// `USER`, `UID`, `USER:GROUP`, `UID:GID`; empty is root.
    #[serde(default)]
    pub user: String,
    /// Where the command starts.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Paths that stay writable under a read-only root.
    #[serde(default)]
    pub volumes: Vec<PathBuf>,
}

/// Why an image cannot be had; the text is fit for `ErrImagePull`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The name does not follow the grammar of image references.
    #[error("invalid image name {image:?}: {reason}")]
    Invalid {
        /// The name as given.
        image: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No built-in image has this name.
    #[error(
        "image {image:?} cannot be pulled: only the built-in images sealane.io/echo and sealane.io/host are available"
    )]
    Unknown {
        /// The name as given.
        image: String,
    },
    /// A built-in image does not exist under this tag or digest.
    #[error("image {image:?} not found: built-in images have the tag {tag:?} or no tag")]
    Tag {
        /// The name as given.
        image: String,
        /// The tag that exists.
        tag: &'static str,
    },
}

/// The built-in image of this name. `Host` comes without a `hide` list: add it.
///
/// # Errors
/// Each variant of [`ImageError`], with the reason that users are shown.
pub fn resolve_image(name: &str) -> Result<Image, ImageError> {
    let (repository, reference) = split(name)?;
    let image = match repository {
        "sealane.io/echo" => Image::Echo,
        "sealane.io/host" => Image::Host { hide: Vec::new() },
        _ => return Err(ImageError::Unknown { image: name.into() }),
    };
    match reference {
        None | Some(BUILT_IN_TAG) => Ok(image),
        Some(_) => Err(ImageError::Tag {
            image: name.into(),
            tag: BUILT_IN_TAG,
        }),
    }
}

/// Does beforehand what the first container of `sealane.io/host` would wait for:
/// reads this machine's settings once. Blocking, some 40 ms. What goes wrong is
/// left for that container to say.
pub fn warm_up() {
    let _ = crate::secrets::find();
}

const BUILT_IN_TAG: &str = "latest";

/// Repository, and tag or digest.
fn split(name: &str) -> Result<(&str, Option<&str>), ImageError> {
    let invalid = |reason| ImageError::Invalid {
        image: name.into(),
        reason,
    };
    if name.is_empty() {
        return Err(invalid("it is empty"));
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(invalid("it contains white space"));
    }
    let (repository, reference) = match name.split_once('@') {
        Some((repository, digest)) => (repository, Some(digest)),
        None => match name.rsplit_once(':') {
            // `registry:5000/image` has a port there, not a tag.
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        },
    };
    if reference == Some("") {
        return Err(invalid("the tag is empty"));
    }
    if repository.is_empty() || repository.starts_with('/') || repository.ends_with('/') {
        return Err(invalid("the repository is empty"));
    }
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(invalid("repository name must be lowercase"));
    }
    Ok((repository, reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_images_resolve_with_and_without_their_tag() {
        for name in ["sealane.io/echo", "sealane.io/echo:latest"] {
            assert_eq!(resolve_image(name), Ok(Image::Echo), "{name}");
        }
        assert_eq!(
            resolve_image("sealane.io/host"),
            Ok(Image::Host { hide: vec![] })
        );
    }

    #[test]
    fn other_names_are_refused_with_a_reason() {
        let cases = [
            (
                "sealane.io/echo:v2",
                "image \"sealane.io/echo:v2\" not found: built-in images have the tag \"latest\" or no tag",
            ),
            (
                "nginx:1.25",
                "image \"nginx:1.25\" cannot be pulled: only the built-in images sealane.io/echo and sealane.io/host are available",
            ),
            (
                "localhost:5000/a",
                "image \"localhost:5000/a\" cannot be pulled: only the built-in images sealane.io/echo and sealane.io/host are available",
            ),
            ("", "invalid image name \"\": it is empty"),
            ("a b", "invalid image name \"a b\": it contains white space"),
            ("nginx:", "invalid image name \"nginx:\": the tag is empty"),
            (
                "Nginx",
                "invalid image name \"Nginx\": repository name must be lowercase",
            ),
        ];
        for (name, text) in cases {
            let error = resolve_image(name).expect_err(name);
            assert_eq!(error.to_string(), text, "{name}");
        }
    }
}
