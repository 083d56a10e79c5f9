//! That everything we link, build or test with may be used under licences that we accept.
//!
//! We ship under Apache-2.0 and mix with nothing that asks for more than to be
//! named: no GPL, LGPL, AGPL, SSPL. MPL-2.0 is acceptable (it binds the files
//! it is in) but nothing needs it yet, so it is not in the list.

use anyhow::bail;

use crate::spdx::satisfiable;
use crate::workspace::{Package, Workspace};

const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub fn run() -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let faults: Vec<_> = workspace.packages.values().filter_map(fault).collect();
    if faults.is_empty() {
        println!(
            "licences: {} crates may all be used",
            workspace.packages.len()
        );
        return Ok(());
    }
    bail!(
        "licences (those that we accept are listed in xtask/src/licences.rs):\n  {}",
        faults.join("\n  ")
    );
}

fn fault(package: &Package) -> Option<String> {
    let Package {
        name,
        version,
        license,
        ..
    } = package;
    let Some(expression) = license else {
        return Some(format!("{name} {version}: names no licence"));
    };
    match satisfiable(expression, &|licence| ACCEPTED.contains(&licence)) {
        Ok(true) => None,
        Ok(false) => Some(format!("{name} {version}: {expression} is not acceptable")),
        Err(reason) => Some(format!(
            "{name} {version}: {expression:?} cannot be read: {reason}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licensed(license: Option<&str>) -> Package {
        Package {
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            ..Package::default()
        }
    }

    #[test]
    fn faults_name_the_crate_and_its_expression() {
        let cases = [
            (Some("MIT OR Apache-2.0"), None),
            (
                Some("GPL-3.0-only"),
                Some("x 1.0.0: GPL-3.0-only is not acceptable"),
            ),
            (
                Some("MIT AND LGPL-2.1"),
                Some("x 1.0.0: MIT AND LGPL-2.1 is not acceptable"),
            ),
            (None, Some("x 1.0.0: names no licence")),
        ];
        for (license, expected) in cases {
            assert_eq!(fault(&licensed(license)).as_deref(), expected);
        }
    }
}
