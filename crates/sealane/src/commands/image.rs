//! `sealane image`

mod import;
mod list;
mod prune;
mod pull;
mod remove;
mod show;
mod size;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::ClusterName;
use sealane_image::{Image, Reference, Store};

use crate::role;

/// Bring in, show and remove container images.
///
/// Images are the machine's: all clusters with their state in the default place share one store,
/// /var/lib/sealane/images, which `sealane down` leaves alone. A cluster that was made with
/// --state-dir has images of its own, in that directory. No cluster has to run.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  docker save web:1 | sealane image import -     take over what was built with Docker
  sealane image import web.tar                   or an archive of it, or an OCI layout
  sealane image pull registry.local:5000/web:1   from a registry
  sealane image list                             what is here, and what pods use
  sealane image prune                            remove what was pulled and no pod uses";

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::Args),
    Pull(Box<pull::Args>),
    #[command(visible_alias = "ls")]
    List(list::Args),
    #[command(visible_alias = "inspect")]
    Show(show::Args),
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
    Prune(prune::Args),
}

/// Which store.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The cluster whose images are meant.
    #[arg(long, default_value_t, value_name = "NAME")]
    name: ClusterName,

    /// Directory of the cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Directory of the image store itself, whatever the cluster.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "state_dir"])]
    image_dir: Option<PathBuf>,
}

impl Place {
    fn store(&self) -> anyhow::Result<Store> {
        if let Some(dir) = &self.image_dir {
            return Ok(Store::open(
                std::path::absolute(dir).context("find the image directory")?,
            ));
        }
        let layout = Layout::find(&self.name, self.state_dir.as_deref())?;
        Ok(Store::open(layout.images()))
    }
}

/// Runs the command.
///
/// # Errors
/// What it fails with.
pub fn run(args: Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("image", log_level, "warn")?;
    match args.command {
        Command::Import(args) => import::run(args),
        Command::Pull(args) => pull::run(&args),
        Command::List(args) => list::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Remove(args) => remove::run(&args),
        Command::Prune(args) => prune::run(&args),
    }
}

/// The images that a text stands for: a name, or the beginning of an id.
fn named(store: &Store, text: &str) -> anyhow::Result<Vec<Image>> {
    if let Ok(reference) = text.parse::<Reference>()
        && let Some(image) = store.find(&reference)?
    {
        return Ok(vec![image]);
    }
    let listing = store.list()?;
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = hex.len() >= 4 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let found: Vec<Image> = listing
        .images
        .into_iter()
        .filter(|image| is_id && image.id.hex().starts_with(hex))
        .collect();
    let ids: std::collections::BTreeSet<_> = found.iter().map(|image| &image.id).collect();
    match ids.len() {
        0 => bail!("image {text:?} is not here: `sealane image list` shows what is"),
        1 => Ok(found),
        n => bail!("{text:?} is the beginning of the ids of {n} images: give more digits"),
    }
}
