//! Which crate may depend on which.
//!
//! ```text
//! words      what things are                          depend on words
//! decisions  objects in, tables out                   … words, decisions
//! programs   tables in, kernel programs out           … words, decisions, programs
//! edges      IO only                                  … words, programs, edges; never decisions
//! tasks      daemons that compose the above           … all of the above, tasks
//! binary     arguments and dispatch                   … everything
//! ```
//!
//! Words, decisions and programs are pure: whatever they link, directly or
//! not, does no IO, has no clock and makes no random choice. That is why they
//! can be tested as tables, and it is lost by one careless dependency.

use std::fmt::Write;

use anyhow::bail;

use crate::workspace::{Package, Workspace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Words,
    Decisions,
    Programs,
    Edges,
    Tasks,
    Binary,
    /// Tests, benches and chores: they depend on what they like, and nothing depends on them.
    Tools,
}

/// Where each of our crates belongs. A new crate is added here.
const CRATES: &[(&str, Layer)] = &[
    ("sealane-net", Layer::Words),
    ("sealane-objects", Layer::Words),
    ("sealane-spdy", Layer::Words),
    ("sealane-message", Layer::Words),
    ("sealane-ipam", Layer::Decisions),
    ("sealane-route", Layer::Decisions),
    ("sealane-service", Layer::Decisions),
    ("sealane-scheduling", Layer::Decisions),
    ("sealane-autoscaling", Layer::Decisions),
    ("sealane-quota", Layer::Decisions),
    ("sealane-cloud", Layer::Decisions),
    ("sealane-zone", Layer::Decisions),
    ("sealane-corefile", Layer::Decisions),
    ("sealane-openapi", Layer::Decisions),
    ("sealane-structural", Layer::Decisions),
    ("sealane-ownership", Layer::Decisions),
    ("sealane-cron", Layer::Decisions),
    ("sealane-ruleset", Layer::Programs),
    ("sealane-iptables", Layer::Programs),
    ("sealane-netlink", Layer::Edges),
    ("sealane-xtables", Layer::Edges),
    ("sealane-kube", Layer::Edges),
    ("sealane-ec2", Layer::Edges),
    ("sealane-store", Layer::Edges),
    ("sealane-image", Layer::Edges),
    ("sealane-introspect", Layer::Tasks),
    ("sealane-echo", Layer::Tasks),
    ("sealane-role", Layer::Tasks),
    ("sealane-runtime", Layer::Tasks),
    ("sealane-cni", Layer::Tasks),
    ("sealane-apiserver", Layer::Tasks),
    ("sealane-controllers", Layer::Tasks),
    ("sealane-pods", Layer::Tasks),
    ("sealane-agent", Layer::Tasks),
    ("sealane-forward", Layer::Tasks),
    ("sealane-dns", Layer::Tasks),
    ("sealane-upkeep", Layer::Tasks),
    ("sealane-trace", Layer::Tasks),
    ("sealane-cluster", Layer::Tasks),
    ("sealane", Layer::Binary),
    ("sealane-testkit", Layer::Tools),
    ("xtask", Layer::Tools),
];

/// What no pure crate may reach: system calls, runtimes, clocks, randomness, logs.
const IMPURE: &[&str] = &[
    "async-std",
    "clap",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "jiff",
    "k8s-openapi",
    "kube",
    "libc",
    "mio",
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-sys",
    "nix",
    "rand",
    "redb",
    "rtnetlink",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
    "uuid",
];

impl Layer {
    fn is_pure(self) -> bool {
        matches!(self, Self::Words | Self::Decisions | Self::Programs)
    }

    fn may_use(self, other: Self) -> bool {
        use Layer::{Binary, Decisions, Edges, Programs, Tasks, Tools, Words};
        match self {
            Words => other == Words,
            Decisions => matches!(other, Words | Decisions),
            Programs => matches!(other, Words | Decisions | Programs),
            Edges => matches!(other, Words | Programs | Edges),
            Tasks => !matches!(other, Binary | Tools),
            Binary => other != Tools,
            Tools => true,
        }
    }
}

fn layer(name: &str) -> Option<Layer> {
    CRATES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, layer)| *layer)
}

pub fn run() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let faults = faults(&workspace);
    if faults.is_empty() {
        println!(
            "layers: {} crates keep to the table",
            workspace.members.len()
        );
        return Ok(());
    }
    let mut text = String::new();
    for fault in &faults {
        write!(text, "\n  {fault}")?;
    }
    bail!("layers (the table is in xtask/src/layers.rs):{text}");
}

fn faults(workspace: &Workspace) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, package) in workspace.members() {
        match layer(&package.name) {
            Some(layer) => {
                faults.extend(forbidden_neighbours(workspace, package, layer));
                faults.extend(impurity(workspace, id, package, layer));
            }
            None => faults.push(format!(
                "{}: has no layer; add it to the table",
                package.name
            )),
        }
    }
    faults
}

fn forbidden_neighbours(workspace: &Workspace, package: &Package, own: Layer) -> Vec<String> {
    let ours = package
        .links
        .iter()
        .filter(|id| workspace.members.contains(*id));
    let names = ours
        .filter_map(|id| workspace.packages.get(id))
        .map(|other| &other.name);
    let forbidden = |name: &&String| layer(name).is_some_and(|other| !own.may_use(other));
    let fault = |name: &String| {
        let other = layer(name);
        format!(
            "{} is one of the {own:?} and may not use {name}, of the {other:?}",
            package.name
        )
    };
    names.filter(forbidden).map(fault).collect()
}

fn impurity(workspace: &Workspace, id: &str, package: &Package, own: Layer) -> Option<String> {
    let impure = |other: &Package| IMPURE.contains(&other.name.as_str());
    let way = workspace.way(id, impure).filter(|_| own.is_pure())?;
    Some(format!(
        "{} is pure and may not reach {}: {}",
        package.name,
        way.last()?,
        way.join(" -> ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::workspace;

    fn faults_of(crates: &[(&str, &[&str])]) -> Vec<String> {
        faults(&workspace(crates))
    }

    #[test]
    fn the_order_of_the_layers_is_kept() {
        let good: &[(&str, &[&str])] = &[
            ("sealane-net", &["serde"]),
            ("sealane-route", &["sealane-net"]),
            ("sealane-ruleset", &["sealane-net"]),
            (
                "sealane-netlink",
                &["sealane-net", "sealane-ruleset", "tokio"],
            ),
            ("sealane-agent", &["sealane-netlink", "sealane-route"]),
            ("sealane", &["sealane-agent"]),
            ("sealane-testkit", &["sealane"]),
            ("serde", &[]),
            ("tokio", &[]),
        ];
        assert_eq!(faults_of(good), Vec::<String>::new());
    }

    #[test]
    fn an_edge_that_uses_a_decision_is_named() {
        let faults = faults_of(&[
            ("sealane-netlink", &["sealane-ipam"]),
            ("sealane-ipam", &[]),
        ]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0]
                .starts_with("sealane-netlink is one of the Edges and may not use sealane-ipam")
        );
    }

    #[test]
    fn a_pure_crate_that_reaches_io_is_named_with_the_way() {
        let faults = faults_of(&[
            ("sealane-route", &["innocent"]),
            ("innocent", &["tokio"]),
            ("tokio", &["libc"]),
            ("libc", &[]),
        ]);
        assert_eq!(
            faults,
            ["sealane-route is pure and may not reach tokio: sealane-route -> innocent -> tokio"]
        );
    }

    #[test]
    fn a_crate_without_a_layer_is_named() {
        assert_eq!(
            faults_of(&[("sealane-new", &[])]),
            ["sealane-new: has no layer; add it to the table"]
        );
    }

    #[test]
    fn nothing_depends_on_tools() {
        for (_, layer) in CRATES {
            assert_eq!(
                layer.may_use(Layer::Tools),
                *layer == Layer::Tools,
                "{layer:?}"
            );
        }
    }
}
