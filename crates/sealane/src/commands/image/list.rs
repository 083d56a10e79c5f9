//! `sealane image list`

use std::process::ExitCode;

use sealane_image::Listing;

use super::{Place, size};
use crate::output::Format;

/// Show which images are here.
///
/// Exits with 1 when one of them is damaged; the others can be used all the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,

    /// Print names only.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

/// Runs the command.
///
/// # Errors
/// When the store cannot be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let listing = store.list()?;
    match args.output {
        Some(format) => format.print(&listing)?,
        None if args.quiet => {
            for image in &listing.images {
                println!("{}", image.reference.familiar());
            }
        }
        None => print!("{}", table(&listing, &store.in_use()?)),
    }
    for broken in &listing.broken {
        eprintln!(
            "error: image {} is damaged: {}; pull or import it again",
            broken.name, broken.reason
        );
    }
    Ok(if listing.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn table(
    listing: &Listing,
    in_use: &std::collections::BTreeSet<sealane_image::Reference>,
) -> String {
    if listing.images.is_empty() && listing.broken.is_empty() {
        return "There are no images here: `sealane image import` or `sealane image pull` brings some in.\n".to_owned();
    }
    let mut rows = vec![["NAME", "ID", "SIZE", "FROM", "AGE", "USED"].map(str::to_owned)];
    for image in &listing.images {
        rows.push([
            image.reference.familiar(),
            image.id.short().to_owned(),
            size::bytes(image.size_bytes),
            match image.origin {
                sealane_image::Origin::Pull => "pull".to_owned(),
                sealane_image::Origin::Import => "import".to_owned(),
            },
            size::age(&image.added),
            if in_use.contains(&image.reference) {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}
