//! How values stand to each other: order, equality, membership, and lists put together.

use std::cmp::Ordering;

use super::value::{Fault, Key, Outcome, Text, Val};
use crate::node::List;

/// How two values of an order stand to each other.
pub(super) fn compare(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    use Val::{Bool, Bytes, Double, Duration, Int, Text, Timestamp, Uint};
    match (a, b) {
        (Bool(a), Bool(b)) => Some(a.cmp(b)),
        (Int(a), Int(b)) | (Duration(a), Duration(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Text(a), Text(b)) => Some(a.cmp(b)),
        (Bytes(a), Bytes(b)) => Some(a.cmp(b)),
        (Timestamp(a), Timestamp(b)) => Some(a.cmp(b)),
        (Val::Quantity(a), Val::Quantity(b)) => Some(a.milli.cmp(&b.milli)),
        (Val::Semver(a), Val::Semver(b)) => Some(a.cmp(b)),
        (Double(_), Int(_) | Uint(_) | Double(_)) | (Int(_) | Uint(_), Double(_)) => {
            as_double(a)?.partial_cmp(&as_double(b)?)
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of different types compare as doubles"
)]
fn as_double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(value) => Some(*value as f64),
        Val::Uint(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

/// Whether two values are the same. Lists whose members are told apart have no order.
pub(super) fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    match (a, b) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Type(a), Val::Type(b)) => Ok(a == b),
        (Val::Url(a), Val::Url(b)) => Ok(a.text() == b.text()),
        (Val::Ip(a), Val::Ip(b)) => Ok(a == b),
        (Val::Cidr(a), Val::Cidr(b)) => Ok(a == b),
        (Val::Format(a), Val::Format(b)) => Ok(a.name == b.name),
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => Ok(a.is_none() && b.is_none()),
        },
        (Val::Given(a, _), Val::Given(b, _)) if std::ptr::eq(*a, *b) => Ok(true),
        (a, b) if a.is_list() && b.is_list() => equal_lists(a, b),
        (a, b) if a.is_map() && b.is_map() => equal_maps(a, b),
        (Val::Given(a, _), Val::Given(b, _)) => Ok(a == b),
        (a, b) => Ok(compare(a, b) == Some(Ordering::Equal)),
    }
}

/// How the members of a list are told apart.
pub(super) fn list_form<'v>(value: &Val<'v>) -> &'v List {
    match value {
        Val::Given(_, node) => &node.list,
        _ => &List::Atomic,
    }
}

fn equal_lists(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    if a.size() != b.size() {
        return Ok(false);
    }
    let (ours, theirs) = (a.items()?, b.items()?);
    if *list_form(a) == List::Atomic && *list_form(b) == List::Atomic {
        for (one, other) in ours.iter().zip(&theirs) {
            if !equal(one, other)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for one in &ours {
        if !contains(&theirs, one)? {
            return Ok(false);
        }
    }
    for other in &theirs {
        if !contains(&ours, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn contains(items: &[Val<'_>], value: &Val<'_>) -> Result<bool, Fault> {
    for item in items {
        if equal(item, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_maps(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Fault> {
    if a.size() != b.size() {
        return Ok(false);
    }
    // What no schema describes is compared as it stands.
    if let (Val::Given(a, node), Val::Given(b, _)) = (a, b)
        && node.properties.is_empty()
        && !node.is_resource()
        && node.additional.is_none()
    {
        return Ok(a == b);
    }
    for key in a.keys().unwrap_or_default() {
        let key = Key::of(&key)?;
        match (a.member(&key), b.member(&key)) {
            (Some(one), Some(other)) => {
                if !equal(&one?, &other?)? {
                    return Ok(false);
                }
            }
            (None, None) => {
                // What no schema describes is compared as it stands, if both have it.
                let raw = |value: &Val<'_>| match (value, &key) {
                    (Val::Given(value, _), Key::Text(name)) => value.get(&**name).cloned(),
                    _ => None,
                };
                if let (one, Some(other)) = (raw(a), raw(b))
                    && one != Some(other)
                {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The one list after the other; of a set or map, what is told apart is there once.
pub(super) fn joined<'a>(a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
    let mut items = a.items()?;
    let others = b.items()?;
    match list_form(a) {
        List::Atomic => items.extend(others),
        List::Set => {
            for other in others {
                if !contains(&items, &other)? {
                    items.push(other);
                }
            }
        }
        List::Map(keys) => {
            for other in others {
                match position(&items, &other, keys)? {
                    Some(at) => items[at] = other,
                    None => items.push(other),
                }
            }
        }
    }
    Ok(Val::list(items))
}

fn position(
    items: &[Val<'_>],
    wanted: &Val<'_>,
    keys: &[Box<str>],
) -> Result<Option<usize>, Fault> {
    for (at, item) in items.iter().enumerate() {
        let mut same = true;
        for key in keys {
            let key = Key::Text(Text::Given(key));
            same &= match (item.member(&key), wanted.member(&key)) {
                (Some(one), Some(other)) => equal(&one?, &other?)?,
                (one, other) => one.is_none() && other.is_none(),
            };
        }
        if same {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
