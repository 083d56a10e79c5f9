//! Rules of others, as the programs list them that made them.
//!
//! The kernel's own form has no words for what iptables' extensions match, and
//! the programs that wrote them are there wherever rules are. Ours are left out.

use std::fs;
use std::process::{Command, Stdio};

use sealane_net::{Family, names};

use crate::firewall::{Table, Variant, merge, parse_iptables, parse_nft};
use crate::snapshot::Snapshot;

pub(super) fn read(snapshot: &mut Snapshot) {
    let nft = match nft() {
        Ok(tables) => tables,
        Err(why) => {
            snapshot.skip("rules of other firewalls in nftables", why);
            vec![]
        }
    };
    let mut iptables = Vec::new();
    for (family, prefix) in [(Family::V4, "ip"), (Family::V6, "ip6")] {
        if nft
            .iter()
            .any(|table| table.sees(family) && is_of_iptables(table))
        {
            let program = format!("{prefix}tables-nft-save");
            // What cannot be listed so is judged as nft lists it.
            let text = run(&program, &[]).unwrap_or_default();
            iptables.extend(parse_iptables(&text, Variant::Nft, family));
        }
        if has_legacy(prefix) {
            let program = format!("{prefix}tables-legacy-save");
            match run(&program, &[]) {
                Ok(text) => iptables.extend(parse_iptables(&text, Variant::Legacy, family)),
                Err(why) => snapshot.skip(format!("rules of {prefix}tables-legacy"), why),
            }
        }
    }
    let ours = |table: &Table| table.name.starts_with(names::NFT_TABLE);
    snapshot.firewall = merge(nft, iptables);
    snapshot.firewall.retain(|table| !ours(table));
}

fn nft() -> Result<Vec<Table>, String> {
    let json = run("nft", &["-j", "list", "ruleset"])?;
    let text = run("nft", &["-a", "list", "ruleset"])?;
    parse_nft(&json, &text).map_err(|error| format!("read what nft lists: {error}"))
}

fn is_of_iptables(table: &Table) -> bool {
    ["filter", "nat", "mangle", "raw", "security"].contains(&&*table.name)
}

/// Asking `iptables-legacy-save` would load its modules, so the kernel is asked what is loaded.
pub(crate) fn has_legacy(prefix: &str) -> bool {
    let path = format!("/proc/thread-self/net/{prefix}_tables_names");
    fs::read_to_string(path).is_ok_and(|names| !names.trim().is_empty())
}

/// Runs a program in the network namespace of this thread, with its output.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("run {program}: {error}; is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", args.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
