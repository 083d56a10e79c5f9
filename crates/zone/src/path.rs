//! A name, cut into the labels that say what it is the name of.

use sealane_message::Name;

/// The labels of a name left of its zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'n> {
    wire: &'n [u8],
    starts: [u8; MAX_LABELS],
    pub(crate) count: usize,
}

/// `_port._protocol.service.namespace.svc` is the longest that there is.
pub(crate) const MAX_LABELS: usize = 5;

impl<'n> Path<'n> {
    /// The labels of `name` left of `zone`; none if it is not within.
    pub(crate) fn new(name: &'n Name, zone: &Name) -> Option<Self> {
        let wire = name.as_wire();
        let end = wire.len().checked_sub(zone.len())?;
        if &wire[end..] != zone.as_wire() {
            return None;
        }
        let mut path = Path {
            wire: &wire[..end],
            starts: [0; MAX_LABELS],
            count: 0,
        };
        let mut at = 0;
        while at < end {
            if let Some(start) = path.starts.get_mut(path.count) {
                *start = at as u8;
            }
            path.count += 1;
            at += 1 + usize::from(wire[at]);
        }
        (at == end).then_some(path)
    }

    /// Label `at`, the leftmost first; empty if it is not there.
    pub(crate) fn label(&self, at: usize) -> &'n [u8] {
        let Some(&start) = self.starts[..self.count.min(MAX_LABELS)].get(at) else {
            return &[];
        };
        let start = usize::from(start);
        let length = usize::from(self.wire[start]);
        &self.wire[start + 1..start + 1 + length]
    }

    pub(crate) fn is_apex(&self) -> bool {
        self.count == 0
    }

    /// All labels, the leftmost first; none if there are more than a name of ours has.
    pub(crate) fn labels_in_order(&self) -> Vec<&'n [u8]> {
        let count = match self.count {
            0..=MAX_LABELS => self.count,
            _ => 0,
        };
        (0..count).map(|at| self.label(at)).collect()
    }

    /// Whether it is `namespace.svc`.
    pub(crate) fn is_namespace(&self, namespace: &str) -> bool {
        self.count == 2
            && self.label(1) == b"svc"
            && self.label(0).eq_ignore_ascii_case(namespace.as_bytes())
    }

    /// The bytes of labels `from` up to `to`, with their lengths.
    pub(crate) fn labels(&self, from: usize, to: usize) -> &'n [u8] {
        &self.wire[usize::from(self.starts[from])..usize::from(self.starts[to])]
    }
}
