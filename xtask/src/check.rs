//! Everything that must hold before a change is taken, but for the tests.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::{layers, licences};

/// Steps that are cargo's: name, arguments, environment.
type Step = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const STEPS: &[Step] = &[
    ("formatting", &["fmt", "--all", "--check"], &[]),
    (
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    ),
    (
        "documentation",
        // Private items too: most of our documentation is inside the crates.
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--locked",
            "--quiet",
        ],
        // We document for those who work on it, so a page may link to what is private.
        &[(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        )],
    ),
];

pub fn run() -> anyhow::Result<()> {
    // The quick ones first: their faults are the ones that are made most often.
    timed("layers", layers::run)?;
    timed("licences", licences::run)?;
    for (name, arguments, environment) in STEPS {
        timed(name, || cargo(name, arguments, environment))?;
    }
    println!("check: all is well");
    Ok(())
}

fn timed(name: &str, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("==> {name}");
    let started = Instant::now();
    step()?;
    println!("    {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("run cargo {}", arguments.join(" ")))?;
    if !status.success() {
        bail!("{name}: `cargo {}` found faults", arguments.join(" "));
    }
    Ok(())
}
