//! From an image of the store to what the runtime starts containers from: pure.

use std::path::PathBuf;

use sealane_image::Image as Stored;
use sealane_objects::ImageAlias;
use sealane_runtime::{Image, Layers};

use super::Resolved;

/// An image of the store, as containers run it.
pub(super) fn resolved(image: Stored, alias: Option<ImageAlias>) -> Resolved {
    let repository = image.reference.name();
    let of_name = |digest: &&String| digest.split('@').next() == Some(repository.as_str());
    let digest = image.repo_digests.iter().find(of_name);
    let digest = digest.or(image.repo_digests.first()).cloned();
    let config = image.config;
    Resolved {
        // What was imported has no digest of a repository, and is called by its own id.
        id: digest.unwrap_or_else(|| image.id.to_string()),
        stop_signal: signal(&config.stop_signal),
        alias,
        image: Image::Layers(Box::new(Layers {
            dirs: image.layers,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env.iter().map(|text| variable(text)).collect(),
            user: config.user,
            working_dir: Some(config.working_dir)
                .filter(|dir| dir.starts_with('/'))
                .map(PathBuf::from),
            volumes: config.volumes.into_iter().map(PathBuf::from).collect(),
        })),
    }
}

fn variable(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`; none where it means nothing.
fn signal(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let offset: i32 = match rest {
            "" => 0,
            rest => rest.strip_prefix('+')?.parse().ok()?,
        };
        return Some(libc::SIGRTMIN() + offset).filter(|number| *number <= libc::SIGRTMAX());
    }
    let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().ok()?;
    Some(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_any_spelling() {
        for (text, expected) in [
            ("SIGQUIT", Some(libc::SIGQUIT)),
            ("quit", Some(libc::SIGQUIT)),
            ("3", Some(libc::SIGQUIT)),
            ("SIGRTMIN+3", Some(libc::SIGRTMIN() + 3)),
            ("", None),
            ("SIGNOTHING", None),
            ("99", None),
        ] {
            assert_eq!(signal(text), expected, "{text}");
        }
    }
}
