//! Which cluster a command is about.

use std::path::PathBuf;

use anyhow::Context;
use sealane_cluster::layout::Layout;
use sealane_cluster::plan::ClusterName;
use sealane_kube::Access;

/// A single-machine cluster by its name, or any cluster.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Which single-machine cluster [default: what --kubeconfig, $KUBECONFIG or ~/.kube/config
    /// says, else sealane].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kubeconfig", "context", "api_server"])]
    name: Option<ClusterName>,

    /// Directory of that cluster's state, where it is neither running nor in the default place.
    #[arg(long, value_name = "DIR", requires = "name")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    pub access: Access,
}

impl Which {
    /// A cluster of this machine: the one that is named, the one whose kubeconfig is asked for, or the
    /// default one where nothing else says which.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn local(&self) -> anyhow::Result<Option<Layout>> {
        if let Some(name) = &self.name {
            let layout = Layout::find(name, self.state_dir.as_deref())?;
            let there = layout.kubeconfig().exists();
            anyhow::ensure!(
                there,
                "there is no cluster {name}: `sealane up --name {name}` makes it"
            );
            return Ok(Some(layout));
        }
        let variable = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let asked = self.access.kubeconfig.clone().or(variable);
        let name = match asked.as_deref().map(|path| path.parent()) {
            // STATE/kubeconfig is beside what says how the cluster was made.
            Some(Some(state)) => {
                let name = state
                    .file_name()
                    .and_then(|name| name.to_str()?.parse().ok());
                name.unwrap_or_default()
            }
            _ => ClusterName::default(),
        };
        let layout = Layout::find(&name, None).context("look for a cluster on this machine")?;
        let is_it = match &asked {
            Some(path) => *path == layout.kubeconfig(),
            None => {
                self.access == Access::default()
                    && no_other_kubeconfig()
                    && layout.kubeconfig().exists()
            }
        };
        Ok(is_it.then_some(layout))
    }
}

fn no_other_kubeconfig() -> bool {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    !home.is_some_and(|path| path.exists())
}
