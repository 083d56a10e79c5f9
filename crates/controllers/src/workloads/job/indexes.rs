//! Sets of indexes, as text `1,3-5,7`.

use std::fmt;

/// Ranges, both ends included, that rise and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(u32, u32)>);

impl Indexes {
    /// What is no index is left out.
    pub fn parse(text: &str) -> Self {
        let ranges = text.split(',').filter_map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            Some((low.parse().ok()?, high.parse().ok()?))
        });
        Self::of(ranges.collect())
    }

    fn of(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.retain(|(low, high)| low <= high);
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    /// These, and further ones.
    pub fn with(&self, more: impl IntoIterator<Item = u32>) -> Self {
        let more = more.into_iter().map(|index| (index, index));
        Self::of(self.0.iter().copied().chain(more).collect())
    }

    pub fn contains(&self, index: u32) -> bool {
        let at = self.0.partition_point(|(_, high)| *high < index);
        self.0.get(at).is_some_and(|(low, _)| *low <= index)
    }

    pub fn count(&self) -> u32 {
        self.0.iter().map(|(low, high)| high - low + 1).sum()
    }

    /// How many there are in both.
    pub fn shared(&self, other: &Self) -> u32 {
        let pairs = self
            .0
            .iter()
            .flat_map(|a| other.0.iter().map(move |b| (a, b)));
        let overlap = |(a, b): (&(u32, u32), &(u32, u32))| {
            let (low, high) = (a.0.max(b.0), a.1.min(b.1));
            (high + 1).saturating_sub(low)
        };
        pairs.map(overlap).sum()
    }

    /// Those from here on are none.
    pub fn below(&self, limit: u32) -> Self {
        let kept = self.0.iter().filter(|(low, _)| *low < limit);
        let cut = kept.map(|(low, high)| (*low, (*high).min(limit.saturating_sub(1))));
        Self(cut.collect())
    }
}

/// Two in a row are written one by one, as Kubernetes does.
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (low, high)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match high - low {
                0 => write!(f, "{low}")?,
                1 => write!(f, "{low},{high}")?,
                _ => write!(f, "{low}-{high}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_grow_and_are_written_shortly() {
        for (text, more, expected, count) in [
            ("", vec![], "", 0),
            ("", vec![3], "3", 1),
            ("3", vec![4], "3,4", 2),
            ("3,4", vec![2], "2-4", 3),
            ("0,2-4,9", vec![1, 9, 7], "0-4,7,9", 7),
            ("x,5-3,1", vec![], "1", 1),
        ] {
            let set = Indexes::parse(text).with(more);
            assert_eq!((&*set.to_string(), set.count()), (expected, count));
            assert_eq!(Indexes::parse(expected), set);
        }
        let set = Indexes::parse("0,2-4,9");
        let there: Vec<u32> = (0..12).filter(|index| set.contains(*index)).collect();
        assert_eq!(there, [0, 2, 3, 4, 9]);
        assert_eq!(set.shared(&Indexes::parse("1-3,9-20")), 3);
        assert_eq!(set.below(4).to_string(), "0,2,3");
    }
}
