//! A walk as text: the picture, what became of the packet, then stage by stage.

use std::fmt::Write;

use crate::ladder::{ladder, mark};
use crate::packet::Packet;
use crate::picture::picture;
use crate::trace::{Death, Live, Outcome, Stage, Trace};

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
pub(crate) enum Ink {
    Good,
    Bad,
    Title,
    Faint,
    Changed,
}

impl Colour {
    pub(crate) fn changed(self, text: &str, changed: bool) -> String {
        match changed {
            true => self.paint(Ink::Changed, text),
            false => text.to_owned(),
        }
    }

    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
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

/// The whole text, for people, on a terminal of this width.
pub fn render(trace: &Trace, colour: Colour, width: usize) -> String {
    let mut text = String::new();
    let arrives = matches!(trace.outcome, Outcome::Arrives { .. });
    let result = match &trace.outcome {
        Outcome::Arrives { at } => colour.paint(Ink::Good, &format!("arrives at {at}")),
        Outcome::Dies(death) => colour.paint(Ink::Bad, &format!("dies: {}", death.why)),
    };
    let _ = writeln!(text, "{} ──► {}: {result}", trace.from, trace.to);
    if let Some(live) = &trace.live {
        put_live(&mut text, live, colour);
    }
    text.push('\n');
    for row in picture(&trace.hops, arrives, width.saturating_sub(2)) {
        let _ = writeln!(text, "  {row}");
    }
    text.push('\n');
    let drawn = text.len();
    put_ladder(&mut text, &trace.there, colour, width);
    if !trace.back.is_empty() {
        let _ = writeln!(text, " {}", colour.paint(Ink::Faint, "and the answer"));
        put_ladder(&mut text, &trace.back, colour, width);
    }
    if text.len() > drawn {
        text.push('\n');
    }
    put_stages(&mut text, &trace.there, colour);
    if let Outcome::Dies(death) = &trace.outcome {
        put_death(&mut text, death, colour);
    }
    if !trace.back.is_empty() {
        let _ = writeln!(text, "{}", colour.paint(Ink::Title, "the way back"));
        put_stages(&mut text, &trace.back, colour);
    }
    let blind = trace.live.iter().flat_map(|live| &live.blind);
    let blind = blind.map(|why| format!("not looked at: {why}"));
    for note in trace.notes.iter().cloned().chain(blind) {
        let _ = writeln!(
            text,
            "{}",
            colour.paint(Ink::Faint, &format!("note: {note}"))
        );
    }
    text
}

fn put_ladder(text: &mut String, stages: &[Stage], colour: Colour, width: usize) {
    for row in ladder(stages, colour, width) {
        let _ = writeln!(text, "{row}");
    }
}

/// What became of the packet that was sent, in a line or a few.
fn put_live(text: &mut String, live: &Live, colour: Colour) {
    let took = live
        .took_us
        .map(|us| format!(" after {:.2} ms", us as f64 / 1000.0));
    let took = took.unwrap_or_default();
    let result = match &live.outcome {
        Outcome::Arrives { .. } => colour.paint(Ink::Good, &format!("{}{took}", live.answer)),
        Outcome::Dies(_) => colour.paint(Ink::Bad, &format!("{}{took}", live.answer)),
    };
    let _ = writeln!(text, "live: {}: {result}", live.sent);
    let mut counts = vec![format!("{} stages confirmed", live.confirmed)];
    for (count, what) in [(live.differs, "differ"), (live.not_seen, "not seen")] {
        if count > 0 {
            counts.push(format!("{count} {what}"));
        }
    }
    let _ = writeln!(text, "      {}", counts.join(", "));
    if let Outcome::Dies(death) = &live.outcome {
        put_death(text, death, colour);
    }
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
    let verdict = stage.seen.as_ref().map(|seen| seen.verdict);
    let marked = verdict.map_or_else(String::new, |_| format!("  {}", mark(verdict, colour)));
    let _ = writeln!(text, "{}{marked}", colour.paint(Ink::Title, &title));
    for line in &stage.lines {
        let _ = writeln!(text, "      {:9} {}", line.label, line.text);
    }
    if let Some(packet) = &stage.packet {
        put_headers(text, outer, &packet.outer_headers());
    }
    if let (Some(before), Some(after)) = (&stage.before, &stage.packet) {
        for rewrite in rewrites(before, after) {
            let rewrite = colour.paint(Ink::Changed, &rewrite);
            let _ = writeln!(text, "      {:9} {rewrite}", "rewrites");
        }
    }
    for line in stage.seen.iter().flat_map(|seen| &seen.evidence) {
        let _ = writeln!(text, "      {:9} {line}", "live");
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

fn rewrites(before: &Packet, after: &Packet) -> Vec<String> {
    let ends = |packet: &Packet| {
        let source = (packet.source, packet.source_port.unwrap_or_default());
        [
            (source, "source"),
            ((packet.destination, packet.destination_port), "destination"),
        ]
    };
    let pairs = ends(before).into_iter().zip(ends(after));
    let changed = pairs.filter(|((before, _), (after, _))| before != after);
    let words = |(address, port): (std::net::IpAddr, u16)| match port {
        0 => address.to_string(),
        port => std::net::SocketAddr::new(address, port).to_string(),
    };
    let text = changed
        .map(|((before, what), (after, _))| format!("{what} {} → {}", words(before), words(after)));
    text.collect()
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
