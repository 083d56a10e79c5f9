//! `sealane dns lookup`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use sealane_cluster::layout::Layout;
use sealane_cluster::record::Record;
use sealane_dns::lookup::{self, NodeResolver, Outcome, Wanted};
use sealane_kube::Access;
use sealane_message::Kind;
use sealane_net::ClusterDomain;
use sealane_trace::From;

use crate::output::Format;
use crate::role;
use crate::which::Which;

/// What the command ends with when the pod gets no record.
const NOTHING: u8 = 3;

/// Show what a pod gets for a name: its resolv.conf, each name that it asks for, and the object that answers.
///
/// It is computed from the objects of the API and the Corefile, by the functions that sealane dns
/// answers with; nothing is sent. Of names outside of the cluster it says who is asked. Exits with 3 when
/// the pod gets no record.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What is looked up, as a program in the pod would; with a dot at its end, as it is.
    #[arg(value_name = "NAME")]
    wanted: String,

    /// Type of record, such as SRV [default: addresses, A and AAAA].
    #[arg(value_name = "TYPE")]
    kind: Option<Kind>,

    /// The pod, such as default/a.
    #[arg(long, value_name = "POD")]
    from: String,

    /// Namespace of a pod that has none.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Corefile to answer by [default: that of ConfigMap kube-system/coredns, else the built-in one].
    #[arg(long, value_name = "FILE")]
    corefile: Option<PathBuf>,

    /// The cluster's domain [default: on the machine of the cluster, that cluster's; else cluster.local].
    #[arg(long, value_name = "DOMAIN")]
    cluster_domain: Option<ClusterDomain>,

    /// resolv.conf of the pod's node [default: on the machine of the cluster, that machine's; else not known].
    #[arg(long, value_name = "FILE")]
    resolv_conf: Option<PathBuf>,

    #[command(flatten)]
    which: Which,

    /// Print the result for programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

const HELP: &str = "\
Examples:
  sealane dns lookup backend-service --from default/a     a Service by its short name
  sealane dns lookup _http._tcp.web SRV --from default/a  its ports
  sealane dns lookup www.example.com --from shop/cart     who would be asked, after which search
  sealane dns lookup 10.96.0.1 --from default/a           the name of an address
  sealane dns lookup db-0.db --from default/a -o json";

/// Runs the command.
///
/// # Errors
/// When the cluster cannot be read, or there is no such pod.
pub fn run(args: &Args, log_level: Option<String>) -> anyhow::Result<ExitCode> {
    role::log("dns", log_level, "error")?;
    let From::Pod(from) = From::parse(&args.from, &args.namespace)? else {
        anyhow::bail!("--from {:?}: expected a pod, such as default/a", args.from);
    };
    let local = args.which.local()?;
    let node = match (&args.resolv_conf, &local) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(_)) => Some(sealane_cluster::supervisor::upstreams()),
        (None, None) => None,
    };
    let access = match &local {
        Some(layout) => Access::from_kubeconfig(layout.kubeconfig()),
        None => args.which.access.clone(),
    };
    let wanted = Wanted {
        corefile: args.corefile.as_deref().map(read).transpose()?,
        domain: domain(args, local.as_ref())?.to_string(),
        node: match node {
            Some(path) => Some(NodeResolver::parse(&read(&path)?)),
            None => None,
        },
    };
    let world = role::runtime()?.block_on(async {
        let client = sealane_kube::client(&access, "dns-lookup").await?;
        anyhow::Ok(lookup::observe(&client, wanted).await?)
    })?;
    let (name, kind) = reverse(args);
    let found = lookup::look_up(&world, &from, &name, kind).map_err(anyhow::Error::msg)?;
    match args.output {
        Some(format) => format.print(&found)?,
        None => print!("{}", lookup::render(&found)),
    }
    Ok(match found.result {
        Outcome::Records | Outcome::Forwarded => ExitCode::SUCCESS,
        Outcome::NoData | Outcome::NoName | Outcome::Failed => ExitCode::from(NOTHING),
    })
}

fn domain(args: &Args, local: Option<&Layout>) -> anyhow::Result<ClusterDomain> {
    let record = match (&args.cluster_domain, local) {
        (Some(domain), _) => return Ok(domain.clone()),
        (None, Some(layout)) => Record::read(&layout.cluster_file())?,
        (None, None) => None,
    };
    let domain = record.map(|record| record.plan.cluster_domain);
    Ok(domain.unwrap_or_default())
}

/// An address is looked up by its name, unless a type says otherwise.
fn reverse(args: &Args) -> (String, Option<Kind>) {
    match (args.wanted.parse(), args.kind) {
        (Ok(address), None | Some(Kind::PTR)) => {
            let name = sealane_message::Name::reverse(address);
            (name.to_string(), Some(Kind::PTR))
        }
        _ => (args.wanted.clone(), args.kind),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
