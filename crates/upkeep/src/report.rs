//! Reports for people.

use std::fmt::Write;

use crate::finding::{Finding, Report, Severity};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// All nodes, a block for each; `colour` is for terminals.
pub fn render(reports: &[Report], colour: bool) -> String {
    let mut text = String::new();
    for report in reports {
        // Writing into a text does not fail.
        let _ = write_report(&mut text, report, colour);
    }
    text
}

fn write_report(text: &mut String, report: &Report, colour: bool) -> std::fmt::Result {
    let paint = |code: &str, words: &str| {
        if colour {
            format!("{code}{words}{PLAIN}")
        } else {
            words.to_owned()
        }
    };
    let count = |severity, word: &str| {
        let number = report
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .count();
        (number > 0).then(|| format!("{number} {word}{}", if number == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let verdict = match &counts[..] {
        [] => paint(GREEN, "nothing wrong found"),
        counts => counts.join(", "),
    };
    writeln!(text, "{}: {verdict}", paint(BOLD, &report.node))?;
    for finding in &report.findings {
        let Finding {
            severity,
            check,
            seen,
            why,
            next,
        } = finding;
        let word = match severity {
            Severity::Error => paint(RED, "ERROR  "),
            Severity::Warning => paint(YELLOW, "WARNING"),
        };
        writeln!(text, "  {word}  {check}: {seen}")?;
        writeln!(text, "           why  {why}")?;
        writeln!(text, "           do   {next}")?;
    }
    for skipped in &report.skipped {
        writeln!(text, "  not checked: {} ({})", skipped.what, skipped.why)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Skipped;

    #[test]
    fn reads_as_a_list_with_causes_and_steps() {
        let finding = Finding::error("forwarding", "net.ipv4.ip_forward is 0")
            .because("nothing is forwarded")
            .next("sysctl -w net.ipv4.ip_forward=1");
        let mut report = Report {
            node: "node-1".into(),
            findings: vec![finding],
            skipped: vec![Skipped {
                what: "rules".into(),
                why: "no nft".into(),
            }],
        };
        let expected = "\
node-1: 1 error
  ERROR    forwarding: net.ipv4.ip_forward is 0
           why  nothing is forwarded
           do   sysctl -w net.ipv4.ip_forward=1
  not checked: rules (no nft)
";
        assert_eq!(render(&[report.clone()], false), expected);
        assert!(render(&[report.clone()], true).contains("\x1b[31mERROR"));
        report.findings.clear();
        report.skipped.clear();
        assert_eq!(render(&[report], false), "node-1: nothing wrong found\n");
    }
}
