//! Carries out the steps. One that fails does not keep the others from being tried.

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use sealane_net::names;
use sealane_netlink::Netlink;

use super::plan::Step;

/// Carries out one step; what is gone already is success.
///
/// # Errors
/// Names the object, and what refused to remove it.
pub async fn apply(kernel: &Netlink, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Loopback => kernel.set_sysctls(&[(names::LOCALNET_SYSCTL, "0")])?,
        Step::Table(table) => _ = kernel.delete_table(table.family, &table.name).await?,
        Step::Route(route) => _ = kernel.delete_route(route).await?,
        Step::Rule(rule) => _ = kernel.delete_rule(rule).await?,
        Step::Address(address) => {
            _ = kernel.delete_address(address.link, address.address).await?;
        }
        Step::Link(name) => _ = kernel.delete_link(name).await?,
        Step::File(path) => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            _ => {}
        },
        Step::Chains { program, text, .. } => restore(program, text)?,
        Step::Left(_) => {}
    }
    Ok(())
}

/// `-w`: other programs change these tables too, one after the other.
fn restore(program: &str, text: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["--noflush", "-w", "5"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that gives up early says why.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.trim());
    }
    Ok(())
}
