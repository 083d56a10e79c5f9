//! `sealane kubeconfig`

use std::path::PathBuf;
use std::process::ExitCode;

use sealane_cluster::layout::Layout;
use sealane_cluster::plan::ClusterName;

/// Print the path of a cluster's kubeconfig.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  export KUBECONFIG=$(sealane kubeconfig)")]
pub struct Args {
    /// Which cluster.
    #[arg(long, default_value_t, value_name = "NAME")]
    name: ClusterName,

    /// Directory of the cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When there is no such cluster.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let layout = Layout::find(&args.name, args.state_dir.as_deref())?;
    let path = layout.kubeconfig();
    let name = &args.name;
    anyhow::ensure!(
        path.exists(),
        "there is no cluster {name}: `sealane up --name {name}` makes it"
    );
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}
