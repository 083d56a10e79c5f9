//! Label and field values that selectors ask for, kept beside the bytes so that no list or watch has to decode an
//! object.
//!
//! There are some ten of them for a pod, and there may be 100,000 pods. So they are one piece of
//! memory, and not a piece for each name and each value, which took three times as much:
//!
//! ```text
//! bytes of labels · labels · (length name length value)* · fields · (length name length value)*
//! ```
//!
//! All of it is text: a number is written in characters below 0x80, six bits in each, the lowest
//! first, and 0x40 says that more follow.

use std::fmt;

/// Labels and fields, each sorted by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Empty if there are none of either.
    packed: Box<str>,
}

const BITS: u32 = 6;
const MORE: u8 = 1 << BITS;

impl Attributes {
    /// Attributes from names and values in any order.
    pub fn new<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let labels: Vec<_> = labels.into_iter().collect();
        let fields: Vec<_> = fields.into_iter().collect();
        if labels.is_empty() && fields.is_empty() {
            return Self::default();
        }
        let (labels, fields) = (pack(labels), pack(fields));
        let mut packed = String::with_capacity(labels.len() + fields.len() + 4);
        put_number(&mut packed, labels.len());
        packed.push_str(&labels);
        packed.push_str(&fields);
        Self {
            packed: packed.into(),
        }
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        lookup(self.labels(), name)
    }

    /// The value of a field, by the name that field selectors use (`spec.nodeName`).
    pub fn field(&self, name: &str) -> Option<&str> {
        lookup(self.fields(), name)
    }

    /// Labels in order of their names.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        Pairs::of(self.halves().0)
    }

    /// Fields in order of their names.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        Pairs::of(self.halves().1)
    }

    fn halves(&self) -> (&str, &str) {
        let mut rest = &*self.packed;
        let labels = take_number(&mut rest);
        rest.split_at(labels)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("labels", &self.labels().collect::<Vec<_>>())
            .field("fields", &self.fields().collect::<Vec<_>>())
            .finish()
    }
}

fn pack(mut pairs: Vec<(&str, &str)>) -> String {
    pairs.sort_unstable();
    let mut packed = String::new();
    put_number(&mut packed, pairs.len());
    for text in pairs.into_iter().flat_map(|(name, value)| [name, value]) {
        put_number(&mut packed, text.len());
        packed.push_str(text);
    }
    packed
}

fn lookup<'a>(mut pairs: impl Iterator<Item = (&'a str, &'a str)>, name: &str) -> Option<&'a str> {
    let found = pairs.find(|(candidate, _)| *candidate >= name);
    found
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn put_number(packed: &mut String, mut number: usize) {
    loop {
        let low = (number % usize::from(MORE)) as u8;
        number >>= BITS;
        let more = if number > 0 { MORE } else { 0 };
        packed.push(char::from(low | more));
        if number == 0 {
            return;
        }
    }
}

/// 0 at the end.
fn take_number(rest: &mut &str) -> usize {
    let (mut number, mut shift) = (0, 0);
    while let Some(byte) = rest.bytes().next() {
        *rest = &rest[1..];
        number |= usize::from(byte % MORE) << shift;
        shift += BITS;
        if byte & MORE == 0 {
            break;
        }
    }
    number
}

fn take_text<'a>(rest: &mut &'a str) -> &'a str {
    let length = take_number(rest);
    let (text, left) = rest.split_at(length);
    *rest = left;
    text
}

/// Those that are left.
struct Pairs<'a> {
    count: usize,
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    fn of(mut rest: &'a str) -> Self {
        let count = take_number(&mut rest);
        Self { count, rest }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let name = take_text(&mut self.rest);
        Some((name, take_text(&mut self.rest)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_found_by_name_in_any_order() {
        let attributes = Attributes::new([("b", "2"), ("a", "1")], [("spec.nodeName", "n")]);
        assert_eq!(attributes.label("a"), Some("1"));
        assert_eq!(attributes.label("b"), Some("2"));
        assert_eq!(attributes.label("c"), None);
        assert_eq!(attributes.label("spec.nodeName"), None);
        assert_eq!(attributes.field("spec.nodeName"), Some("n"));
        assert_eq!(
            attributes.labels().collect::<Vec<_>>(),
            [("a", "1"), ("b", "2")]
        );
        let nothing = Attributes::default();
        assert_eq!(nothing, Attributes::new([], []));
        assert_eq!((nothing.labels().len(), nothing.fields().len()), (0, 0));
        assert_eq!(nothing.label(""), None);
        let long = "ü".repeat(100_000);
        let attributes = Attributes::new([], [("z", "after"), ("long", long.as_str())]);
        assert_eq!(attributes.field("long"), Some(&*long));
        assert_eq!(attributes.field("z"), Some("after"));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            labels in prop::collection::btree_map(".{0,9}", ".{0,70}", 0..4),
            fields in prop::collection::btree_map("[a-z.]{0,70}", "[a-z]{0,9}", 0..3),
        ) {
            fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
                map.iter().map(|(name, value)| (&**name, &**value)).collect()
            }
            let attributes = Attributes::new(pairs(&labels), pairs(&fields));
            prop_assert_eq!(attributes.labels().collect::<Vec<_>>(), pairs(&labels));
            prop_assert_eq!(attributes.fields().collect::<Vec<_>>(), pairs(&fields));
            prop_assert_eq!(attributes.labels().len(), labels.len());
            for (name, value) in &fields {
                prop_assert_eq!(attributes.field(name), Some(&**value));
            }
        }
    }
}
