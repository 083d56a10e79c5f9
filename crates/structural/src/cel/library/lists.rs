//! Lists: Kubernetes' library, and cel-go's in its third version.

use std::cmp::Ordering;

use super::{Cost, Fault, Row};
use crate::cel::equality::{compare, contains, equal};
use crate::cel::value::{Outcome, Val};

pub(super) const ROWS: &[Row] = &[
    ("list<O>.isSorted(): bool", is_sorted),
    ("list<int>.sum(): int", |_, args| sum(args, Val::Int(0))),
    ("list<uint>.sum(): uint", |_, args| sum(args, Val::Uint(0))),
    ("list<double>.sum(): double", |_, args| {
        sum(args, Val::Double(0.0))
    }),
    ("list<duration>.sum(): duration", |_, args| {
        sum(args, Val::Duration(0))
    }),
    ("list<O>.min(): O", |_, args| {
        extreme(args, "min", Ordering::Less)
    }),
    ("list<O>.max(): O", |_, args| {
        extreme(args, "max", Ordering::Greater)
    }),
    ("list<A>.indexOf(A): int", |_, args| index_of(args, false)),
    ("list<A>.lastIndexOf(A): int", |_, args| {
        index_of(args, true)
    }),
    ("list<A>.slice(int, int): list<A>", slice),
    ("list<A>.flatten(): list<dyn>", |cost, args| {
        flatten(cost, args, 1)
    }),
    ("list<A>.flatten(int): list<dyn>", |cost, args| {
        match args[1] {
            Val::Int(depth) if depth >= 0 => flatten(cost, args, depth),
            _ => Err(Fault::error("level must be non-negative")),
        }
    }),
    ("list<O>.sort(): list<O>", sort),
    ("list<A>.distinct(): list<A>", distinct),
    ("list<A>.reverse(): list<A>", |_, args| {
        let mut items = args[0].items()?;
        items.reverse();
        Ok(Val::list(items))
    }),
    ("list<A>.first(): optional<A>", |_, args| {
        edge(args, |items| items.first().cloned())
    }),
    ("list<A>.last(): optional<A>", |_, args| {
        edge(args, |items| items.last().cloned())
    }),
    ("lists.range(int): list<int>", |cost, args| match args {
        [Val::Int(count)] => {
            cost.charge(u64::try_from(*count).unwrap_or_default())?;
            Ok(Val::list((0..*count).map(Val::Int).collect()))
        }
        _ => Err(Fault::NoOverload),
    }),
    ("type(A): type", |_, args| {
        Ok(Val::Type(args[0].type_name()))
    }),
    ("dyn(A): dyn", |_, args| Ok(args[0].clone())),
];

fn ordered(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, Fault> {
    compare(a, b).ok_or(Fault::NoOverload)
}

fn is_sorted<'a>(_: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    for pair in args[0].items()?.windows(2) {
        if ordered(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Val::Bool(false));
        }
    }
    Ok(Val::Bool(true))
}

fn sum<'a>(args: &[Val<'a>], zero: Val<'a>) -> Outcome<'a> {
    let overflow = || Fault::error("integer overflow");
    let mut items = args[0].items()?.into_iter();
    let first = items.next().unwrap_or(zero);
    items.try_fold(first, |sum, item| match (sum, item) {
        (Val::Int(a), Val::Int(b)) => a.checked_add(b).map(Val::Int).ok_or_else(overflow),
        (Val::Uint(a), Val::Uint(b)) => a.checked_add(b).map(Val::Uint).ok_or_else(overflow),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::Duration(a), Val::Duration(b)) => {
            a.checked_add(b).map(Val::Duration).ok_or_else(overflow)
        }
        _ => Err(Fault::NoOverload),
    })
}

fn extreme<'a>(args: &[Val<'a>], name: &str, wanted: Ordering) -> Outcome<'a> {
    let mut items = args[0].items()?.into_iter();
    let empty = || Fault::error(format!("{name} called on empty list"));
    let first = items.next().ok_or_else(empty)?;
    items.try_fold(first, |best, item| {
        Ok(if ordered(&item, &best)? == wanted {
            item
        } else {
            best
        })
    })
}

fn index_of<'a>(args: &[Val<'a>], last: bool) -> Outcome<'a> {
    let items = args[0].items()?;
    let mut found = -1;
    for (at, item) in (0i64..).zip(&items) {
        if equal(item, &args[1])? {
            found = at;
            if !last {
                break;
            }
        }
    }
    Ok(Val::Int(found))
}

fn slice<'a>(_: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let [list, Val::Int(from), Val::Int(to)] = args else {
        return Err(Fault::NoOverload);
    };
    let items = list.items()?;
    let refused = |why: &str| Fault::error(format!("cannot slice({from}, {to}), {why}"));
    if *from < 0 || *to < 0 {
        return Err(refused("negative indexes not supported"));
    }
    if from > to {
        return Err(refused(
            "start index must be less than or equal to end index",
        ));
    }
    let range = usize::try_from(*from).ok().zip(usize::try_from(*to).ok());
    let part = range.and_then(|(from, to)| items.get(from..to));
    let part = part.ok_or_else(|| refused(&format!("list is length {}", items.len())))?;
    Ok(Val::list(part.to_vec()))
}

fn flatten<'a>(cost: &mut Cost, args: &[Val<'a>], depth: i64) -> Outcome<'a> {
    let mut flat = Vec::new();
    let mut open = vec![(args[0].items()?.into_iter(), depth)];
    while let Some((items, depth)) = open.last_mut() {
        cost.charge(1)?;
        match items.next() {
            None => drop(open.pop()),
            Some(item) if item.is_list() && *depth > 0 => {
                let depth = *depth - 1;
                open.push((item.items()?.into_iter(), depth));
            }
            Some(item) => flat.push(item),
        }
    }
    Ok(Val::list(flat))
}

fn sort<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let mut items = args[0].items()?;
    cost.charge(items.len() as u64 * u64::from(items.len().max(1).ilog2()))?;
    for pair in items.windows(2) {
        ordered(&pair[0], &pair[1])?;
    }
    items.sort_by(|a, b| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Val::list(items))
}

fn distinct<'a>(cost: &mut Cost, args: &[Val<'a>]) -> Outcome<'a> {
    let mut seen = Vec::new();
    for item in args[0].items()? {
        cost.charge(seen.len() as u64)?;
        if !contains(&seen, &item)? {
            seen.push(item);
        }
    }
    Ok(Val::list(seen))
}

fn edge<'a>(args: &[Val<'a>], pick: impl Fn(&[Val<'a>]) -> Option<Val<'a>>) -> Outcome<'a> {
    Ok(pick(&args[0].items()?).map_or(Val::NONE, Val::some))
}
