//! The programs themselves.

use std::io::Write;
use std::process::{Command, Stdio};

use sealane_iptables::Variant;
use sealane_net::Family;

use crate::LOCK_SECONDS;

/// Why iptables did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("run {program}: {why}; --proxy-mode iptables needs the package iptables on the node")]
    Absent {
        /// Its name.
        program: String,
        /// The system's words.
        why: String,
    },
    /// It refused.
    #[error("{program}: {why}")]
    Refused {
        /// Its name.
        program: String,
        /// Its own words, and the line that it means.
        why: String,
    },
}

/// `ip6tables-legacy-save` and its like.
fn program(family: Family, variant: Variant, verb: &str) -> String {
    let family = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let variant = match variant {
        Variant::Nft => "nft",
        Variant::Legacy => "legacy",
    };
    format!("{family}-{variant}-{verb}")
}

/// What is loaded, of all tables.
pub(crate) fn save(family: Family, variant: Variant) -> Result<String, Error> {
    run(&program(family, variant, "save"), &[], "")
}

/// Changes what the text names, and waits for the lock that all of iptables share.
pub(crate) fn restore(family: Family, variant: Variant, text: &str) -> Result<(), Error> {
    let program = program(family, variant, "restore");
    tracing::trace!("{program}:\n{text}");
    run(&program, &["--noflush", "-w", LOCK_SECONDS], text).map(drop)
}

fn run(program: &str, args: &[&str], input: &str) -> Result<String, Error> {
    let absent = |error: std::io::Error| Error::Absent {
        program: program.into(),
        why: error.to_string(),
    };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(absent)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that gives up early says why at its end. It prints nothing before it has read all.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(absent)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused {
        program: program.into(),
        why: with_line(&said, input),
    })
}

/// `line 7 failed` is of use to whoever sees line 7.
fn with_line(said: &str, input: &str) -> String {
    let mut words = said.split(|letter: char| !letter.is_ascii_alphanumeric());
    let number = words
        .by_ref()
        .skip_while(|word| !word.eq_ignore_ascii_case("line"))
        .nth(1)
        .and_then(|word| word.parse::<usize>().ok());
    match number.and_then(|number| input.lines().nth(number.checked_sub(1)?)) {
        Some(line) => format!("{said}: {line}"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_is_refused_is_shown() {
        let input = "*nat\n:A - [0:0]\n-A A -j NOWHERE\nCOMMIT\n";
        let said = "iptables-restore v1.8.9 (nf_tables): \nline 3: CHAIN_ADD failed";
        assert!(with_line(said, input).ends_with("failed: -A A -j NOWHERE"));
        assert_eq!(with_line("no luck", input), "no luck");
    }
}
