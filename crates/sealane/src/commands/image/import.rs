//! `sealane image import`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use sealane_image::{Imported, Reference, Source};

use super::{Place, size};
use crate::output::Format;

/// Take over images from archives: what `docker save`, `podman save` or `skopeo copy` wrote.
///
/// An archive is a tar, plain or compressed with gzip or zstd, of an OCI layout or in Docker's
/// form, or the directory of an OCI layout. Of an image for several platforms this machine's is
/// taken. Each image succeeds or fails by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Archives, or `-` for the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the image is called here, instead of the name in the archive.
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<Reference>,

    #[command(flatten)]
    place: Place,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print nothing but errors.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  docker save web:1 db:2 | sealane image import -
  sealane image import web.tar.zst
  sealane image import ./layout --tag contoso/web:1";

/// Runs the command.
///
/// # Errors
/// When a file holds no images. Single images that fail are reported, and the exit code is 1.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let mut all = Imported::default();
    for file in &args.files {
        let source = match file.as_path() {
            dash if dash == Path::new("-") => Source::Stream(Box::new(std::io::stdin())),
            path => Source::Path(path.to_owned()),
        };
        let mut imported = store
            .import(source, &args.tags)
            .with_context(|| format!("import {}", file.display()))?;
        all.images.append(&mut imported.images);
        all.failed.append(&mut imported.failed);
    }
    match args.output {
        Some(format) => format.print(&all.images)?,
        None if args.quiet => {}
        None => {
            for image in &all.images {
                let name = image.reference.familiar();
                println!(
                    "imported {name}  {}  {}",
                    image.id.short(),
                    size::bytes(image.size_bytes)
                );
            }
        }
    }
    for failed in &all.failed {
        eprintln!("error: import {}: {}", failed.name, failed.error);
    }
    store.settle()?;
    Ok(if all.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
