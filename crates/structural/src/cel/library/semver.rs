//! Versions: `1.2.3-rc.1+build`, as <https://semver.org> 2.0.0 orders them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Fault, Row, run};
use crate::cel::value::{Outcome, Val};

/// A version; what was built is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Semver {
    numbers: [u64; 3],
    before: Vec<Part>,
}

/// A part of what comes before a release; numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = |version: &Self| version.before.is_empty();
        let numbers = self.numbers.cmp(&other.numbers);
        numbers
            .then(release(self).cmp(&release(other)))
            .then_with(|| self.before.cmp(&other.before))
    }
}

pub(super) const ROWS: &[Row] = &[
    ("semver(string): semver", run!(Text(a) => version(a, false))),
    (
        "semver(string, bool): semver",
        run!(Text(a), Bool(lenient) => version(a, *lenient)),
    ),
    (
        "isSemver(string): bool",
        run!(Text(a) => Ok(Val::Bool(Semver::parse(a, false).is_some()))),
    ),
    (
        "isSemver(string, bool): bool",
        run!(Text(a), Bool(lenient) => Ok(Val::Bool(Semver::parse(a, *lenient).is_some()))),
    ),
    (
        "semver.isGreaterThan(semver): bool",
        run!(Semver(a), Semver(b) => Ok(Val::Bool(a > b))),
    ),
    (
        "semver.isLessThan(semver): bool",
        run!(Semver(a), Semver(b) => Ok(Val::Bool(a < b))),
    ),
    (
        "semver.compareTo(semver): int",
        run!(Semver(a), Semver(b) => Ok(Val::Int(a.cmp(b) as i64))),
    ),
    ("semver.major(): int", run!(Semver(a) => number(a, 0))),
    ("semver.minor(): int", run!(Semver(a) => number(a, 1))),
    ("semver.patch(): int", run!(Semver(a) => number(a, 2))),
];

fn version<'a>(text: &str, lenient: bool) -> Outcome<'a> {
    let version = Semver::parse(text, lenient);
    let version = version.ok_or_else(|| Fault::error(format!("invalid semver {text:?}")))?;
    Ok(Val::Semver(Arc::new(version)))
}

fn number<'a>(version: &Semver, at: usize) -> Outcome<'a> {
    let number = i64::try_from(version.numbers[at]);
    number
        .map(Val::Int)
        .map_err(|_| Fault::error("integer overflow"))
}

impl Semver {
    /// Reads a version; a lenient reader takes `v1.2` and leading zeros.
    fn parse(text: &str, lenient: bool) -> Option<Self> {
        let text = match lenient {
            true => text.strip_prefix('v').unwrap_or(text),
            false => text,
        };
        let (text, build) = text
            .split_once('+')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let (numbers, before) = text
            .split_once('-')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let mut given: Vec<u64> = Vec::new();
        for part in numbers.split('.') {
            let plain = lenient || part.len() == 1 || !part.starts_with('0');
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            given.push(part.parse().ok().filter(|_| plain && digits)?);
        }
        if given.len() > 3 || (given.len() < 3 && !lenient) {
            return None;
        }
        given.resize(3, 0);
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !build.is_none_or(|build| build.split('.').all(word)) {
            return None;
        }
        let part = |part: &str| {
            let number = part.bytes().all(|b| b.is_ascii_digit());
            match part {
                part if !word(part) => None,
                part if number && part.len() > 1 && part.starts_with('0') => None,
                part if number => part.parse().ok().map(Part::Number),
                part => Some(Part::Word(part.into())),
            }
        };
        let before: Option<Vec<Part>> = before.map_or(Some(Vec::new()), |before| {
            before.split('.').map(part).collect()
        });
        Some(Self {
            numbers: [given[0], given[1], given[2]],
            before: before?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        let order = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        for pair in order.windows(2) {
            let version = |text| Semver::parse(text, false).unwrap();
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for wrong in [
            "", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3.4",
        ] {
            assert_eq!(Semver::parse(wrong, false), None, "{wrong}");
        }
        assert_eq!(Semver::parse("v01.2", true), Semver::parse("1.2.0", false));
    }
}
