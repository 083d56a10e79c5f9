//! A lookup as text.

use std::fmt::Write;

use super::{Asked, Lookup, Outcome, Step};

/// The whole text, for people.
#[must_use]
pub fn render(lookup: &Lookup) -> String {
    let mut text = String::new();
    let _infallible = write(lookup, &mut text);
    text
}

fn write(lookup: &Lookup, out: &mut String) -> std::fmt::Result {
    let Lookup {
        name,
        from,
        resolver,
        search,
        steps,
        one_round_trip,
        result,
    } = lookup;
    writeln!(out, "{name} from pod {from}: {}", result.words())?;
    writeln!(out)?;
    writeln!(out, "/etc/resolv.conf (dnsPolicy {})", resolver.policy)?;
    for server in &resolver.nameservers {
        writeln!(out, "  nameserver {server}")?;
    }
    if !resolver.searches.is_empty() {
        writeln!(out, "  search {}", resolver.searches.join(" "))?;
    }
    writeln!(out, "  options ndots:{}", resolver.ndots)?;
    for unknown in &resolver.unknown {
        writeln!(out, "  not known: {unknown} (give --resolv-conf)")?;
    }
    writeln!(out)?;
    writeln!(out, "{search}")?;
    for (step, number) in steps.iter().zip(1..) {
        write_step(step, number, out)?;
    }
    writeln!(out)?;
    let answer = if one_round_trip.yes { "yes" } else { "no" };
    writeln!(out, "one round trip: {answer}: {}", one_round_trip.why)
}

fn write_step(step: &Step, number: usize, out: &mut String) -> std::fmt::Result {
    writeln!(out, "  {number} {}", step.name)?;
    let mut rest = step.asked.as_slice();
    while let [first, others @ ..] = rest {
        // What is alike for both families is told once.
        let alike = |other: &&Asked| {
            other.outcome == first.outcome
                && other.because == first.because
                && first.records.is_empty()
                && other.records.is_empty()
        };
        let same = others.iter().take_while(alike).count();
        let kinds: Vec<&str> = rest[..=same]
            .iter()
            .map(|asked| asked.kind.as_str())
            .collect();
        let (kinds, outcome) = (kinds.join(" "), first.outcome.words());
        let plugin = match first.plugin {
            "" | "kubernetes" => String::new(),
            plugin => format!(" [{plugin}]"),
        };
        writeln!(out, "    {kinds:<6} {outcome}{plugin}: {}", first.because)?;
        for record in &first.records {
            writeln!(out, "             {record}")?;
        }
        rest = &others[same..];
    }
    Ok(())
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Self::Records => "found",
            Self::NoData => "nothing of this type (NOERROR)",
            Self::NoName => "no such name (NXDOMAIN)",
            Self::Forwarded => "asked elsewhere",
            Self::Failed => "no answer",
        }
    }
}
