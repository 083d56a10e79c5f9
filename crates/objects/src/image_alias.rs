//! Which image stands in for another: `contoso/*=sealane.io/echo`.
//!
//! Manifests of tutorials and documents name images that do not exist, or that
//! nobody wants to fetch for trying out a network. A rule names a pattern of
//! images and the image that is run in their place.
//!
//! A pattern is compared with the image as it is written, with its default tag
//! (`nginx:latest`), and with its full name (`docker.io/library/nginx:latest`),
//! so that the reader of a manifest need not know what a registry makes of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A rule: images like this are replaced by that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAlias {
    pattern: String,
    image: String,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageAliasError {
    /// There are no two sides.
    #[error("expected PATTERN=IMAGE, such as 'contoso/*=sealane.io/echo'")]
    NoEquals,
    /// A pattern that no image can match.
    #[error("pattern {pattern:?}: {reason}")]
    Pattern {
        /// The left side.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An image that cannot be had.
    #[error("image {image:?}: {reason}")]
    Image {
        /// The right side.
        image: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl ImageAlias {
    /// The images that are replaced; `*` stands for any run of characters.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The image that is run.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Whether the rule is about this image, named as in a manifest.
    pub fn matches(&self, image: &str) -> bool {
        let tagged = with_tag(image);
        [image, &tagged, &full(&tagged)]
            .iter()
            .any(|name| glob(self.pattern.as_bytes(), name.as_bytes()))
    }

    /// Whether the rule takes whatever `other` would take.
    pub fn covers(&self, other: &Self) -> bool {
        // A star of `other` is a letter like any other here: only a star covers it.
        glob(self.pattern.as_bytes(), other.pattern.as_bytes())
    }
}

/// The first rule that is about this image.
pub fn alias_of<'a>(rules: &'a [ImageAlias], image: &str) -> Option<&'a ImageAlias> {
    rules.iter().find(|rule| rule.matches(image))
}

impl FromStr for ImageAlias {
    type Err = ImageAliasError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pattern, image) = text.split_once('=').ok_or(ImageAliasError::NoEquals)?;
        if let Some(reason) = fault(pattern) {
            let pattern = pattern.to_owned();
            return Err(ImageAliasError::Pattern { pattern, reason });
        }
        let star = image.contains('*').then_some("is one image and has no *");
        if let Some(reason) = fault(image).or(star) {
            let image = image.to_owned();
            return Err(ImageAliasError::Image { image, reason });
        }
        Ok(Self {
            pattern: pattern.to_owned(),
            image: image.to_owned(),
        })
    }
}

impl fmt::Display for ImageAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.image)
    }
}

impl Serialize for ImageAlias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageAlias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What no name of an image can have.
fn fault(name: &str) -> Option<&'static str> {
    let repository = name.split('@').next().unwrap_or_default();
    let repository = match repository.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => repository,
    };
    if name.is_empty() {
        Some("is empty")
    } else if name.contains('=') {
        Some("contains a second =")
    } else if !name.chars().all(|c| c.is_ascii_graphic()) {
        Some("contains white space or letters that images do not have")
    } else if repository.chars().any(|c| c.is_ascii_uppercase()) {
        Some("repository names are lower-case")
    } else {
        None
    }
}

fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.contains(':') || image.contains('@') {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

/// As Docker completes a name: a first part without a dot, a port, or being
/// `localhost`, is no registry.
fn full(image: &str) -> String {
    match image.split_once('/') {
        None => format!("docker.io/library/{image}"),
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
    }
}

/// Whether a pattern covers a whole text. Of several stars only the last one
/// that was met can be wrong, so there is no need to remember the others.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> ImageAlias {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_is_compared_with_each_way_to_write_an_image() {
        for (pattern, image, expected) in [
            ("contoso/*", "contoso/mybackend", true),
            ("contoso/*", "contoso/my/back:1.2", true),
            ("contoso/*", "docker.io/contoso/mybackend", false),
            ("docker.io/contoso/*", "contoso/mybackend", true),
            ("docker.io/*", "registry.example/contoso/mybackend", false),
            ("docker.io/*", "localhost:5000/a", false),
            ("nginx", "nginx", true),
            ("nginx", "nginx:1.25", false),
            ("nginx:*", "nginx", true),
            ("nginx:*", "nginx:1.25", true),
            ("nginx*", "nginx-unprivileged:1", true),
            ("docker.io/library/nginx:latest", "nginx", true),
            ("*", "anything/at:all", true),
            ("*/*:1.*", "a/b:1.2", true),
            ("*/*:1.*", "a/b:2.1", false),
            ("a*b*c", "axxbxbyc", true),
            ("a*b*c", "axxbxby", false),
            ("a@sha256:*", "a@sha256:00", true),
        ] {
            let rule = rule(&format!("{pattern}=sealane.io/echo"));
            assert_eq!(rule.matches(image), expected, "{pattern} {image}");
        }
    }

    #[test]
    fn the_first_rule_counts() {
        let rules = [rule("a/b=x"), rule("a/*=y"), rule("*=z")];
        for (image, expected) in [("a/b", "x"), ("a/c", "y"), ("b", "z")] {
            assert_eq!(
                alias_of(&rules, image).map(ImageAlias::image),
                Some(expected)
            );
        }
        assert_eq!(alias_of(&rules[..2], "b"), None);
    }

    #[test]
    fn a_rule_that_comes_too_late_is_seen() {
        for (first, second, expected) in [
            ("a/*=x", "a/b=y", true),
            ("a/b=x", "a/b=y", true),
            ("*=x", "a/*=y", true),
            ("a/b=x", "a/*=y", false),
            ("a/*=x", "*=y", false),
        ] {
            assert_eq!(
                rule(first).covers(&rule(second)),
                expected,
                "{first} {second}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("contoso/*", "expected PATTERN=IMAGE"),
            ("=sealane.io/echo", "pattern \"\": is empty"),
            ("a=", "image \"\": is empty"),
            ("a=b=c", "image \"b=c\": contains a second ="),
            ("a=b*", "image \"b*\": is one image and has no *"),
            ("a b=c", "contains white space"),
            ("a=B", "image \"B\": repository names are lower-case"),
        ] {
            let error = text.parse::<ImageAlias>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        rule("a=b:TAG");
    }

    #[test]
    fn a_rule_is_kept_as_it_is_typed() {
        let text = "contoso/*=sealane.io/echo";
        let kept = serde_json::to_string(&rule(text)).unwrap();
        assert_eq!(kept, format!("{text:?}"));
        assert_eq!(
            serde_json::from_str::<ImageAlias>(&kept).unwrap(),
            rule(text)
        );
        assert!(serde_json::from_str::<ImageAlias>("\"x\"").is_err());
    }
}
