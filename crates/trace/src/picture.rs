//! The picture above the text: the places that the packet passes, as a speaker would draw them.
//!
//! ```text
//!    pod-a                node-1               node-2               web-1
//!  ┌────────────┐       ┌────────────┐       ┌────────────┐       ┌────────────┐
//!  │ 10.244.1.2 ├───────┤ 172.29.0.2 ├───────┤ 172.29.0.3 ├───────┤ 10.244.2.7 │
//!  └────────────┘       └────────────┘       └────────────┘       └────────────┘
//! ```

use crate::trace::{Hop, HopKind};

const WIRE: usize = 5;

/// The lines of the picture; a packet that dies does so behind the last box. Where boxes have no room beside
/// each other, the places are listed.
pub(crate) fn picture(hops: &[Hop], arrives: bool, width: usize) -> Vec<String> {
    let rows = boxes(hops, arrives);
    let is_wide = |row: &String| row.chars().count() > width;
    if !rows.iter().any(is_wide) {
        return rows;
    }
    let mut rows: Vec<String> = hops
        .iter()
        .enumerate()
        .map(|(index, hop)| {
            let wire = if index == 0 { "   " } else { "└─ " };
            format!(
                "{}{wire}{}  {}",
                "   ".repeat(index.saturating_sub(1)),
                hop.name,
                hop.address
            )
        })
        .collect();
    if let Some(last) = rows.last_mut().filter(|_| !arrives) {
        last.push_str("  ╳");
    }
    rows
}

fn boxes(hops: &[Hop], arrives: bool) -> Vec<String> {
    if hops.is_empty() {
        return Vec::new();
    }
    let width = |hop: &Hop| {
        hop.address
            .chars()
            .count()
            .max(hop.name.chars().count())
            .max(4)
    };
    let mut rows = [const { String::new() }; 4];
    let last = hops.len().saturating_sub(1);
    for (index, hop) in hops.iter().enumerate() {
        let inner = width(hop);
        let edge = "─".repeat(inner + 2);
        let (open, close) = match hop.kind {
            HopKind::Outside => (["╭", "╰"], ["╮", "╯"]),
            HopKind::Pod | HopKind::Node => (["┌", "└"], ["┐", "┘"]),
        };
        let (left, right) = (
            if index == 0 { "│" } else { "┤" },
            if index == last && arrives {
                "│"
            } else {
                "├"
            },
        );
        let (gap, wire) = match (index == last, arrives) {
            (false, _) => (" ".repeat(WIRE), "─".repeat(WIRE)),
            (true, true) => (String::new(), String::new()),
            (true, false) => (String::new(), "───╳".to_owned()),
        };
        rows[0].push_str(&format!("  {:inner$}  {gap}", hop.name));
        rows[1].push_str(&format!("{}{edge}{}{gap}", open[0], close[0]));
        rows[2].push_str(&format!("{left} {:inner$} {right}{wire}", hop.address));
        rows[3].push_str(&format!("{}{edge}{}{gap}", open[1], close[1]));
    }
    rows.iter().map(|row| row.trim_end().to_owned()).collect()
}
