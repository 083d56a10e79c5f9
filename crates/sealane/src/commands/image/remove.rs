//! `sealane image remove`

use std::process::ExitCode;

use anyhow::bail;
use sealane_image::Reference;

use super::{Place, named, size};

/// Remove images by name or id.
///
/// An image with another name keeps its content, and so does one that a pod uses. An image that a
/// pod uses is removed only with --force: the pod goes on, but would not start again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, or the beginnings of ids.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    /// Remove also what pods use.
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    place: Place,

    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
///
/// # Errors
/// When an image is not here or is in use; then nothing is removed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let damaged = store.list()?.broken;
    let in_use = store.in_use()?;
    let mut names: Vec<Reference> = Vec::new();
    for text in &args.images {
        let reference = text.parse::<Reference>();
        let is_damaged = |r: &&Reference| damaged.iter().any(|broken| broken.name == r.canonical());
        match reference.iter().find(is_damaged) {
            Some(reference) => names.push(reference.clone()),
            None => names.extend(named(&store, text)?.into_iter().flat_map(
                |image| match reference {
                    Ok(_) => vec![image.reference],
                    // An id means all names.
                    Err(_) => image.names,
                },
            )),
        }
    }
    if let Some(used) = names.iter().find(|name| in_use.contains(name))
        && !args.force
    {
        bail!(
            "remove image {}: a pod uses it; delete the pod, or use --force",
            used.familiar()
        );
    }
    let removed = store.remove(&names)?;
    let freed = store.sweep()?;
    if !args.quiet {
        for name in &removed {
            println!("removed {}", name.familiar());
        }
        match freed {
            Some(bytes) => println!("freed {}", size::bytes(bytes)),
            None => println!("what they consisted of goes when no image is being brought in"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
