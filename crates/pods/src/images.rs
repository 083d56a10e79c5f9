//! Which image a container runs, and what is told about it.
//!
//! The image as the pod names it is first looked up among the alias rules of
//! this node: behind a rule another image is run in its place, and the pod's
//! status and Events say so.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;
use sealane_objects::{ImageAlias, alias_of};
use sealane_runtime::{Image, ImageError, resolve_image};

/// The images of a node.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Which images stand in for others.
    pub aliases: Vec<ImageAlias>,
    /// Paths that containers of the host image must not see.
    pub hide: Vec<PathBuf>,
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
}

impl Images {
    /// The image that runs where `name` is asked for.
    ///
    /// # Errors
    /// When there is none; fit for `ErrImagePull`.
    pub fn resolve(&self, name: &str) -> Result<Resolved, ImageError> {
        let alias = alias_of(&self.aliases, name);
        let real = alias.map_or(name, ImageAlias::image);
        let mut image = resolve_image(real)?;
        if let Image::Host { hide } = &mut image {
            hide.extend(self.hide.iter().cloned());
        }
        Ok(Resolved {
            image,
            id: format!("{real}@sealane:{}", env!("CARGO_PKG_VERSION")),
            alias: alias.cloned(),
        })
    }
}

impl Resolved {
    /// The Event `Pulled` of a container that names its image so.
    pub fn pulled(&self, name: &str) -> String {
        let present = format!("Container image \"{name}\" already present on machine");
        match &self.alias {
            None => present,
            Some(alias) => format!(
                "{present}: by the alias {} it is {}",
                alias.pattern(),
                alias.image()
            ),
        }
    }

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
mod tests {
    use super::*;

    fn images(rules: &[&str]) -> Images {
        Images {
            aliases: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            hide: vec!["/hidden".into()],
        }
    }

    #[test]
    fn an_alias_is_told_and_what_has_none_is_itself() {
        let images = images(&["contoso/*=sealane.io/echo", "base=sealane.io/host"]);
        let found = images.resolve("contoso/web:2").unwrap();
        assert_eq!(found.image, Image::Echo);
        assert!(
            found.id.starts_with("sealane.io/echo@sealane:"),
            "{found:?}"
        );
        assert_eq!(
            found.pulled("contoso/web:2"),
            "Container image \"contoso/web:2\" already present on machine: \
             by the alias contoso/* it is sealane.io/echo"
        );
        let host = images.resolve("base").unwrap().image;
        let hide = vec!["/hidden".into()];
        assert_eq!(host, Image::Host { hide });
        let itself = images.resolve("sealane.io/echo").unwrap();
        assert_eq!(itself.alias, None);
        assert!(!itself.pulled("sealane.io/echo").contains("alias"));
        assert!(images.resolve("nginx").is_err());
    }

    #[test]
    fn the_echo_image_learns_what_it_stands_in_for() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "c", "image": "contoso/web",
            "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        }))
        .unwrap();
        let images = images(&["contoso/*=sealane.io/echo"]);
        let args = images
            .resolve("contoso/web")
            .unwrap()
            .stand_in(&container, vec!["serve".into()])
            .unwrap();
        assert_eq!(
            args.join(" "),
            "--in-place-of contoso/web --declared 80/TCP,53/UDP -- serve"
        );
        let itself = images.resolve("sealane.io/echo").unwrap();
        assert_eq!(itself.stand_in(&container, Vec::new()), None);
    }
}
