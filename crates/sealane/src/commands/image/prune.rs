//! `sealane image prune`

use std::process::ExitCode;
use std::time::Duration;

use sealane_image::{Prune, Thresholds};

use super::{Place, size};
use crate::output::Format;

/// Remove images that no pod uses, and the rests of broken pulls.
///
/// Without --all only images that were pulled, since those can be pulled again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Remove imported images too.
    #[arg(short, long)]
    all: bool,

    /// Remove something only when the disk is full, and only as much as makes it less full: the
    /// pulled images that have not been used for the longest time. Nodes do this by themselves.
    #[arg(long, conflicts_with = "all")]
    if_full: bool,

    /// The disk is full when this part of it is used.
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u8).range(0..=100), requires = "if_full")]
    high_threshold: u8,

    /// The disk is empty enough when no more than this is used.
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100), requires = "if_full")]
    low_threshold: u8,

    /// Images that were used in the last so many seconds stay.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120,
        requires = "if_full"
    )]
    min_age: u64,

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
  sealane image prune               what was pulled and no pod uses
  sealane image prune --all         what was imported too: all that no pod uses
  sealane image prune --if-full     what a node does when its disk is 85 % full";

/// Runs the command.
///
/// # Errors
/// When the store cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let store = args.place.store()?;
    let collected = match (args.if_full, args.all) {
        (true, _) => store.collect(&Thresholds {
            high_percent: args.high_threshold,
            low_percent: args.low_threshold.min(args.high_threshold),
            min_age: Duration::from_secs(args.min_age),
        })?,
        (false, true) => store.prune(Prune::All)?,
        (false, false) => store.prune(Prune::Pulled)?,
    };
    match args.output {
        Some(format) => format.print(&collected)?,
        None if args.quiet => {}
        None => {
            for name in &collected.removed {
                println!("removed {}", name.familiar());
            }
            println!("freed {}", size::bytes(collected.freed_bytes));
            if collected.postponed {
                println!(
                    "an image is being brought in; what is not needed goes with the next `sealane image prune`"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
