//! What is there of ours, and of kube-proxy's. Runs on a thread in the node's network namespace.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sealane_net::Route;
use sealane_netlink::{Address, Link, Netlink, Rule};
use sealane_ruleset::Loaded;

use crate::firewall::Variant;
use crate::observe::{has_legacy, run};
use crate::snapshot::AgentSettings;

/// By the first one a DNS server finds the one that runs (`sealane dns`).
const DNS_SOCKETS: [&str; 2] = ["dns.sock", "dns.debug.sock"];

/// What was found, of whomever.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All links.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The routes of the main table and of ours.
    pub routes: Vec<Route>,
    /// Rules of policy routing that carry our number.
    pub rules: Vec<Rule>,
    /// Tables of nftables.
    pub tables: Vec<Loaded>,
    /// What iptables lists.
    pub iptables: Vec<Listing>,
    /// Our configuration for the container runtime.
    pub conflist: Option<PathBuf>,
    /// Our plugin.
    pub plugin: Option<PathBuf>,
    /// Sockets of an agent, and of a DNS server, that do not run.
    pub sockets: Vec<PathBuf>,
    /// A DNS server of ours runs: what it needs stays.
    pub dns_runs: bool,
}

/// What one of the programs called iptables-save prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// `ip` or `ip6`.
    pub prefix: &'static str,
    /// Which of the two.
    pub variant: Variant,
    /// The listing.
    pub text: String,
}

/// Reads the node.
///
/// # Errors
/// When the kernel does not answer.
pub async fn observe(kernel: &Netlink, settings: &AgentSettings) -> anyhow::Result<Found> {
    let there = |path: PathBuf| path.symlink_metadata().is_ok().then_some(path);
    let run_dir = |name: &str| there(settings.run_dir.join(name));
    let dns_runs = UnixStream::connect(settings.run_dir.join(DNS_SOCKETS[0])).is_ok();
    Ok(Found {
        links: kernel.links().await?,
        addresses: kernel.addresses().await?,
        routes: kernel.routes().await?,
        rules: kernel.rules().await?,
        tables: kernel.tables().await?,
        iptables: listings(),
        conflist: there(settings.cni_conf_dir.join("10-sealane.conflist")),
        plugin: there(settings.cni_bin_dir.join("sealane")).filter(|path| !is_this_program(path)),
        sockets: ["agent.sock", "agent.debug.sock"]
            .into_iter()
            .chain(
                if dns_runs { &[][..] } else { &DNS_SOCKETS }
                    .iter()
                    .copied(),
            )
            .filter_map(run_dir)
            .collect(),
        dns_runs,
    })
}

/// Whoever has put the program itself there wants to keep it.
fn is_this_program(path: &Path) -> bool {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    own.ok() == std::fs::canonicalize(path).ok()
}

fn listings() -> Vec<Listing> {
    let mut all = Vec::new();
    for prefix in ["ip", "ip6"] {
        let mut add = |variant, program: &str| {
            // Without the program there are no rules of it that one could remove.
            if let Ok(text) = run(&format!("{prefix}tables-{program}-save"), &[]) {
                all.push(Listing {
                    prefix,
                    variant,
                    text,
                });
            }
        };
        add(Variant::Nft, "nft");
        if has_legacy(prefix) {
            add(Variant::Legacy, "legacy");
        }
    }
    all
}
