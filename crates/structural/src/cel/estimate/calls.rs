//! Functions: what each costs beside its arguments, and how large what it gives is.

use super::size::{Size, scaled};
use super::{Estimator, Guess, LIST, PATTERN, TRAVERSAL, is_text};
use crate::cel::check;
use crate::cel::code::Code;
use crate::cel::library::Overload;
use crate::cel::types::Ty;
use crate::cel::value::Val;

/// The longest name of a format, and the longest pattern of one.
pub(super) const LONGEST_FORMAT: u64 = 64;
const LONGEST_FORMAT_PATTERN: f64 = 128.0;
/// To compare the bytes of two addresses, at most 16 each.
const ADDRESSES: u64 = 4;
/// To cut an address off where a range ends, and to compare how long ranges are.
const RANGES: u64 = 3;

/// What a function costs by itself, and how large what it gives is.
pub(super) struct Own {
    pub cost: u64,
    pub size: Size,
}

/// The same, of one whose result has a size of its own.
fn sized(cost: u64, size: Size) -> (u64, Option<Size>) {
    (cost, Some(size))
}

impl Estimator<'_> {
    pub(super) fn call(&mut self, candidates: &[&'static Overload], args: &[Code]) -> Guess {
        let guesses: Vec<Guess> = args.iter().map(|arg| self.guess(arg)).collect();
        let given = guesses
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(one.cost));
        let Some(first) = candidates.first() else {
            return Guess::made(Ty::Dyn, given, None);
        };
        if first.name == "dyn" {
            let size = guesses[0].size;
            return Guess::made(Ty::Dyn, given.saturating_add(1), size).with(guesses[0].members);
        }
        let types: Vec<Ty> = guesses.iter().map(|one| one.ty.clone()).collect();
        let mut results = candidates
            .iter()
            .filter_map(|one| check::taken(one, &types));
        let ty = results.next().unwrap_or(Ty::Dyn);
        let ty = if results.all(|other| other == ty) {
            ty
        } else {
            Ty::Dyn
        };
        let (own, size) = match first.member {
            true => self.member_function(&first.name, &guesses, args),
            false => function(&first.name, &guesses, args),
        };
        Guess::made(ty, given.saturating_add(own), size)
    }

    fn member_function(&self, name: &str, guesses: &[Guess], args: &[Code]) -> (u64, Option<Size>) {
        let [target, given @ ..] = guesses else {
            return (1, None);
        };
        let size = target.size();
        let traversed = |times: f64| scaled(size.max, times * TRAVERSAL);
        match (name, given) {
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", _) => {
                (self.compared(target), None)
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => sized(traversed(1.0), size),
            ("replace", [old, new, ..]) => {
                sized(traversed(2.0), replaced(size, old.size(), new.size()))
            }
            ("split", _) => {
                let most = number(args.get(2)).unwrap_or(size.max);
                sized(traversed(2.0), Size::up_to(most))
            }
            ("join", between) => {
                let between = between.first().map(Guess::size);
                let size = joined(size, self.member_size(target), between);
                sized(scaled(size.max, TRAVERSAL), size)
            }
            ("matches", [pattern]) => (searched(size, pattern), None),
            ("find" | "findAll", [pattern, ..]) => {
                sized(searched(size, pattern), Size::up_to(size.max))
            }
            ("contains", [part]) => (traversed(1.0).saturating_mul(part.traversal()), None),
            ("startsWith" | "endsWith", [part]) => (part.traversal(), None),
            ("format", _) => (traversed(1.0), None),
            ("containsIP", [other]) => (ADDRESSES.saturating_add(parsed(other)), None),
            ("containsCIDR", [other]) => {
                let compared = ADDRESSES + RANGES;
                (compared.saturating_add(parsed(other)), None)
            }
            ("validate", [text]) => (
                scaled(text.traversal(), LONGEST_FORMAT_PATTERN * PATTERN),
                None,
            ),
            ("slice", _) => {
                let from = number(args.get(1)).unwrap_or(0);
                let to = number(args.get(2)).unwrap_or(size.max);
                allocated(1.0, Size::exactly(to.wrapping_sub(from)))
            }
            ("reverse", _) => allocated(1.0, size),
            ("flatten", []) => allocated(1.0, size),
            ("flatten", _) => {
                #[expect(clippy::cast_precision_loss, reason = "as Kubernetes computes it")]
                let depth = number(args.get(1)).unwrap_or(u64::MAX) as f64;
                allocated(depth, size)
            }
            ("distinct", _) => allocated(2.0, size.times(size)),
            ("sort", _) => {
                let Own { cost, size } = sorted(&member_type(&target.ty), size);
                sized(cost, size)
            }
            _ => (1, None),
        }
    }

    /// Each member with another; and a text is gone through.
    fn compared(&self, target: &Guess) -> u64 {
        if !matches!(target.ty, Ty::List(_) | Ty::Map(..)) {
            return target.traversal();
        }
        let member = match is_text(&member_type(&target.ty)) {
            true => scaled(self.member_size(target).max, TRAVERSAL),
            false => 0,
        };
        let each = member.saturating_add(1);
        target.size().max.saturating_mul(each)
    }

    /// How large a member is, by the place of the list alone.
    fn member_size(&self, list: &Guess) -> Size {
        let size = match &list.place {
            super::Place::Nowhere => None,
            place => place.member(self.root).size(),
        };
        size.unwrap_or(Size::UNKNOWN)
    }
}

fn function(name: &str, guesses: &[Guess], args: &[Code]) -> (u64, Option<Size>) {
    let [first, ..] = guesses else {
        return (1, None);
    };
    let size = first.size();
    match (name, guesses) {
        ("url", _) => sized(first.traversal(), size),
        (
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver",
            _,
        ) => (first.traversal(), None),
        ("ip.isCanonical", _) => (scaled(size.max, 2.0 * TRAVERSAL), None),
        ("bytes", _) if first.ty == Ty::Text => {
            let longest = size.max.saturating_mul(4);
            sized(
                first.traversal(),
                Size {
                    max: longest,
                    ..size
                },
            )
        }
        ("string", _) if first.ty == Ty::Bytes => {
            let fewest = size.min / 4;
            sized(
                first.traversal(),
                Size {
                    min: fewest,
                    ..size
                },
            )
        }
        ("bytes" | "string", _) if first.ty == Ty::Dyn => (first.traversal().max(1), None),
        ("strings.quote", _) => {
            let longest = size.max.saturating_mul(2).saturating_add(2);
            sized(
                first.traversal(),
                Size {
                    min: size.min.saturating_add(2),
                    max: longest,
                },
            )
        }
        ("sets.contains" | "sets.intersects", [one, other]) => {
            (one.size().times(other.size()).max.saturating_add(1), None)
        }
        ("sets.equivalent", [one, other]) => {
            let both = one.size().times(other.size()).max;
            (scaled(both, 2.0).saturating_add(1), None)
        }
        ("lists.range", _) => {
            let length = number(args.first()).unwrap_or(u64::MAX);
            allocated(1.0, Size::exactly(length))
        }
        _ => (1, None),
    }
}

/// A list is sorted, or others by it: each member with each.
pub(super) fn sorted(member: &Ty, size: Size) -> Own {
    let factor = if is_text(member) {
        2.0 + TRAVERSAL
    } else {
        2.0
    };
    let size = size.times(size);
    let (cost, _) = allocated(factor, size);
    Own { cost, size }
}

/// A list is made.
fn allocated(factor: f64, size: Size) -> (u64, Option<Size>) {
    sized(scaled(size.max, factor).saturating_add(LIST + 1), size)
}

fn member_type(list: &Ty) -> Ty {
    match list {
        Ty::List(item) => item.as_ref().clone(),
        // Kubernetes looks at the first type that it is made of.
        Ty::Map(key, _) => key.as_ref().clone(),
        _ => Ty::Dyn,
    }
}

/// A whole number that is written out.
fn number(code: Option<&Code>) -> Option<u64> {
    match code? {
        Code::Const(Val::Int(number)) => Some(number.cast_unsigned()),
        _ => None,
    }
}

/// A pattern is tried at each letter; an empty text is looked at, too.
fn searched(text: Size, pattern: &Guess) -> u64 {
    let letters = scaled(text.max.saturating_add(1), TRAVERSAL);
    letters.saturating_mul(scaled(pattern.size().max, PATTERN))
}

/// What is given as a text is read first.
fn parsed(other: &Guess) -> u64 {
    match other.ty {
        Ty::Text | Ty::Dyn => other.traversal(),
        _ => 0,
    }
}

/// All members, and what is between them.
fn joined(members: Size, member: Size, between: Option<Size>) -> Size {
    let all = members.times(member);
    let gaps = Size {
        min: members.min.saturating_sub(1),
        max: members.max.saturating_sub(1),
    };
    between.map_or(all, |between| all.plus(between.times(gaps)))
}

/// A text in which as many as possible of the shortest parts become the longest others, and the other way round.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    let longest = match old.min {
        0 => text
            .max
            .saturating_add(1)
            .saturating_mul(new.max)
            .saturating_add(text.max),
        shortest if new.max <= shortest => text.max,
        shortest => text.max.div_ceil(shortest).saturating_mul(new.max),
    };
    let shortest = match old.max {
        0 => text
            .min
            .saturating_add(1)
            .saturating_mul(new.min)
            .saturating_add(text.min),
        longest if longest <= new.min => text.min,
        longest => text.min.div_ceil(longest).saturating_mul(new.min),
    };
    Size {
        min: shortest,
        max: longest,
    }
}
