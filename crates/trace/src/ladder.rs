//! The packet at each place as a speaker draws it: headers in boxes, one inside the other, so that it is
//! seen which are put on and which are taken off.
//!
//! ```text
//!  pod-a   eth0     │ Ethernet pod-a → cbr0    │ IP 10.244.1.2 → 10.96.0.17 │ TCP * → 80   │ data │
//!  node-1  Service                             │ IP 10.244.1.2 → 10.244.2.7 │ TCP * → 8080 │ data │
//!  node-1  route    │ Ethernet node-1 → node-2 │ IP 10.244.1.2 → 10.244.2.7 │ TCP * → 8080 │ data │
//! ```
//!
//! Where that is too wide, each header has a line of its own, the inner ones further right.

use crate::render::{Colour, Ink};
use crate::trace::{Place, Stage, Verdict};

/// The lines for stages that have a packet.
pub(crate) fn ladder(stages: &[Stage], colour: Colour, width: usize) -> Vec<String> {
    let rows: Vec<Row> = rows(stages);
    let columns = columns(&rows);
    let label = |part: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| part(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let labels = (label(|row| &row.place), label(|row| &row.title));
    let boxes: usize = columns.iter().map(|column| column + 3).sum();
    let marks = if rows.iter().any(|row| row.verdict.is_some()) {
        2
    } else {
        0
    };
    if marks + labels.0 + labels.1 + boxes + 6 > width {
        return rows.iter().flat_map(|row| row.nested(colour)).collect();
    }
    let wide = |row: &Row| row.boxes(labels, &columns, marks, colour);
    rows.iter().map(wide).collect()
}

struct Row {
    verdict: Option<Verdict>,
    place: String,
    title: String,
    /// From the inside out, each with whether it is another one than in the row before.
    headers: Vec<(String, bool)>,
}

fn rows(stages: &[Stage]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for stage in stages {
        let Some(packet) = &stage.packet else {
            continue;
        };
        let mut headers = packet.headers();
        headers.push("data".to_owned());
        headers.reverse();
        let before = rows.last();
        let is_new = |place: usize, header: &String| {
            // Only rewritten headers stand out: those of links come and go anyway.
            (1..3).contains(&place)
                && before.is_some_and(|row| row.headers.get(place).map(|(h, _)| h) != Some(header))
        };
        let headers = headers
            .into_iter()
            .enumerate()
            .map(|(place, header)| {
                let changed = is_new(place, &header);
                (header, changed)
            })
            .collect();
        rows.push(Row {
            verdict: stage.seen.as_ref().map(|seen| seen.verdict),
            place: short(&stage.place),
            title: stage.title.clone(),
            headers,
        });
    }
    rows
}

/// Without the namespace, as in the boxes above.
fn short(place: &Place) -> String {
    match place {
        Place::Pod(name) => name.name.to_string(),
        other => other.to_string(),
    }
}

fn columns(rows: &[Row]) -> Vec<usize> {
    let count = rows.iter().map(|row| row.headers.len()).max();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.headers.get(column));
        cells.map(|(header, _)| header.chars().count()).max()
    };
    let widths = (0..count.unwrap_or_default()).map(width);
    widths.map(Option::unwrap_or_default).collect()
}

impl Row {
    fn boxes(
        &self,
        labels: (usize, usize),
        columns: &[usize],
        marks: usize,
        colour: Colour,
    ) -> String {
        let mark = match marks {
            0 => String::new(),
            _ => format!("{} ", mark(self.verdict, colour)),
        };
        let mut text = format!(
            " {mark}{:first$}  {:second$}  ",
            self.place,
            self.title,
            first = labels.0,
            second = labels.1
        );
        for (column, width) in columns.iter().enumerate().rev() {
            match self.headers.get(column) {
                Some((header, changed)) => {
                    text.push_str("│ ");
                    text.push_str(&colour.changed(&format!("{header:width$}"), *changed));
                    text.push(' ');
                }
                None => text.push_str(&" ".repeat(width + 3)),
            }
        }
        text.push('│');
        text
    }

    fn nested(&self, colour: Colour) -> Vec<String> {
        let mark = match self.verdict {
            None => String::new(),
            verdict => format!("{} ", mark(verdict, colour)),
        };
        let mut lines = vec![format!(" {mark}{}  {}", self.place, self.title)];
        for (depth, (header, changed)) in self.headers.iter().rev().enumerate() {
            let indent = " ".repeat(3 + 2 * depth);
            lines.push(format!("{indent}│ {}", colour.changed(header, *changed)));
        }
        lines
    }
}

/// How a stage that was looked at is marked.
pub(crate) fn mark(verdict: Option<Verdict>, colour: Colour) -> String {
    match verdict {
        Some(Verdict::Confirmed) => colour.paint(Ink::Good, "✓"),
        Some(Verdict::Differs) => colour.paint(Ink::Bad, "≠"),
        Some(Verdict::NotSeen) => colour.paint(Ink::Faint, "?"),
        None => " ".to_owned(),
    }
}
