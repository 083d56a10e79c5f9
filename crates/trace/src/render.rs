//! A walk as text: the picture, what became of the packet, then stage by stage.

use std::fmt::Write;

use crate::packet::Packet;
use crate::picture::picture;
use crate::trace::{Death, Outcome, Stage, Trace};

/// Whether escape sequences colour the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal.
    Yes,
    /// Elsewhere.
    No,
}

/// How parts of the text stand out.
#[derive(Clone, Copy)]
enum Ink {
    Good,
    Bad,
    Title,
    Faint,
    Changed,
}

impl Colour {
    fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Good => "1;32",
            Ink::Bad => "1;31",
            Ink::Title => "1",
            Ink::Faint => "2",
            Ink::Changed => "33",
        };
        match self {
            Self::Yes => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::No => text.to_owned(),
        }
    }
}

/// The whole text, for people.
pub fn render(trace: &Trace, colour: Colour) -> String {
    let mut text = String::new();
    let arrives = matches!(trace.outcome, Outcome::Arrives { .. });
    let result = match &trace.outcome {
        Outcome::Arrives { at } => colour.paint(Ink::Good, &format!("arrives at {at}")),
        Outcome::Dies(death) => colour.paint(Ink::Bad, &format!("dies: {}", death.why)),
    };
    let _ = writeln!(text, "{} ──► {}: {result}\n", trace.from, trace.to);
    for row in picture(&trace.hops, arrives) {
        let _ = writeln!(text, "  {row}");
    }
    text.push('\n');
    put_stages(&mut text, &trace.there, colour);
    if let Outcome::Dies(death) = &trace.outcome {
        put_death(&mut text, death, colour);
    }
    if !trace.back.is_empty() {
        let _ = writeln!(text, "{}", colour.paint(Ink::Title, "the way back"));
        put_stages(&mut text, &trace.back, colour);
    }
    for note in &trace.notes {
        let _ = writeln!(
            text,
            "{}",
            colour.paint(Ink::Faint, &format!("note: {note}"))
        );
    }
    text
}

fn put_stages(text: &mut String, stages: &[Stage], colour: Colour) {
    let mut outer = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        put_stage(text, number + 1, stage, &outer, colour);
        if let Some(packet) = &stage.packet {
            outer = packet.outer_headers();
        }
    }
}

/// What a link has put around the packet before is in `outer`.
fn put_stage(text: &mut String, number: usize, stage: &Stage, outer: &[String], colour: Colour) {
    let title = format!("{number:2}  {}: {}", stage.place, stage.title);
    let _ = writeln!(text, "{}", colour.paint(Ink::Title, &title));
    for line in &stage.lines {
        let _ = writeln!(text, "      {:9} {}", line.label, line.text);
    }
    if let Some(packet) = &stage.packet {
        put_headers(text, outer, &packet.outer_headers());
    }
    match (&stage.before, &stage.packet) {
        (Some(before), Some(after)) => {
            put_packet(text, "before", before, colour);
            put_packet(text, "after", after, colour);
        }
        (_, Some(packet)) => put_packet(text, "packet", packet, colour),
        _ => {}
    }
}

/// Which headers are taken off here, and which put on.
fn put_headers(text: &mut String, before: &[String], after: &[String]) {
    if before == after {
        return;
    }
    for (label, headers) in [("takes off", before), ("puts on", after)] {
        if !headers.is_empty() {
            let _ = writeln!(text, "      {label:9} {}", headers.join(" │ "));
        }
    }
}

fn put_packet(text: &mut String, label: &str, packet: &Packet, colour: Colour) {
    let shown = format!("│ {packet} │");
    let shown = match label {
        "after" => colour.paint(Ink::Changed, &shown),
        _ => shown,
    };
    let _ = writeln!(text, "      {label:9} {shown}");
}

fn put_death(text: &mut String, death: &Death, colour: Colour) {
    let _ = writeln!(
        text,
        "    {}",
        colour.paint(Ink::Bad, &format!("╳ {}", death.why))
    );
    for detail in &death.details {
        let _ = writeln!(text, "      {detail}");
    }
    if let Some(object) = &death.object {
        let _ = writeln!(text, "      {:9} {object}", "at fault");
    }
    if let Some(next) = death.next.as_ref().filter(|next| !next.is_empty()) {
        let _ = writeln!(text, "      {:9} {next}", "next");
    }
}
