//! For which machines an image is, and which of several fits this one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Descriptor, Index};

/// Operating system, processor, and its variant, in Go's words: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `v7`, where it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Of this machine.
    pub fn here() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well an image for `offered` runs here; the higher the better.
    fn fit(&self, offered: &Self) -> Option<u32> {
        if (&offered.os, &offered.architecture) != (&self.os, &self.architecture) {
            return None;
        }
        match (
            level(self.variant.as_deref()),
            level(offered.variant.as_deref()),
        ) {
            // An unstated variant is the architecture's base.
            (_, None) => Some(1),
            (None, Some(wanted)) => (wanted <= 1).then_some(2),
            (Some(have), Some(wanted)) => (wanted <= have).then_some(2 + wanted),
        }
    }

    /// What of an index is for this platform: the best fit, of equals the first.
    pub fn choose<'a>(&self, index: &'a Index) -> Option<&'a Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for descriptor in &index.manifests {
            let Some(fit) = descriptor.platform.as_ref().and_then(|p| self.fit(p)) else {
                continue;
            };
            if best.is_none_or(|(other, _)| fit > other) {
                best = Some((fit, descriptor));
            }
        }
        // An index around one image often states no platform.
        let single = match index.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        };
        best.map(|(_, descriptor)| descriptor).or(single)
    }
}

/// `v8` is 8.
fn level(variant: Option<&str>) -> Option<u32> {
    variant?.strip_prefix('v')?.parse().ok()
}

/// The platforms of an index, for a message.
pub(crate) fn offered(index: &Index) -> String {
    let mut names: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        // Attestations are listed as images for an unknown platform.
        .filter(|platform| platform.os != "unknown")
        .map(Platform::to_string)
        .collect();
    names.dedup();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        }
    }

    fn index(platforms: &[&str]) -> Index {
        let descriptor = |text: &&str| Descriptor {
            media_type: String::new(),
            digest: Digest::of(text.as_bytes()),
            size: 1,
            platform: (!text.is_empty()).then(|| platform(text)),
            annotations: Default::default(),
        };
        Index {
            manifests: platforms.iter().map(descriptor).collect(),
            ..Index::default()
        }
    }

    #[test]
    fn the_best_fit_is_chosen() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            (
                "linux/amd64",
                &["linux/arm64", "linux/amd64"],
                Some("linux/amd64"),
            ),
            (
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64"],
                Some("linux/amd64"),
            ),
            ("linux/amd64", &["linux/amd64/v1"], Some("linux/amd64/v1")),
            ("linux/amd64", &["windows/amd64", "linux/arm64"], None),
            ("linux/arm64/v8", &["linux/arm64"], Some("linux/arm64")),
            (
                "linux/arm64/v8",
                &["linux/arm64", "linux/arm64/v8"],
                Some("linux/arm64/v8"),
            ),
            (
                "linux/arm/v7",
                &["linux/arm/v6", "linux/arm/v7", "linux/arm/v8"],
                Some("linux/arm/v7"),
            ),
            (
                "linux/arm/v7",
                &["linux/arm/v5", "linux/arm/v6"],
                Some("linux/arm/v6"),
            ),
            ("linux/amd64", &[""], Some("")),
            ("linux/amd64", &["", ""], None),
            (
                "linux/amd64",
                &["unknown/unknown", "linux/amd64"],
                Some("linux/amd64"),
            ),
        ];
        for (here, offered, chosen) in cases {
            let index = index(offered);
            let found = platform(here).choose(&index).map(|d| &d.digest);
            let wanted = chosen.map(|text| Digest::of(text.as_bytes()));
            assert_eq!(found, wanted.as_ref(), "{here} of {offered:?}");
        }
    }
}
