//! The elements of lists that have owners of their own.

use serde_json::{Map, Value};

use crate::{Element, Listing, Of, Shape};

/// The step that leads to `item` of a list of this shape.
///
/// # Errors
///
/// When nothing tells it apart from others.
pub(crate) fn element_of<'a, S: Shape<'a>>(
    list: Of<S>,
    listing: Listing,
    item: &Value,
) -> Result<Element, String> {
    match listing {
        Listing::Whole => Err("invalid indexing of non-associative list".into()),
        Listing::Values => by_value(item),
        Listing::Keys => by_key(list, item),
    }
}

fn by_value(item: &Value) -> Result<Element, String> {
    let why = match item {
        Value::Object(_) => "associative list without keys has an element that's a map type",
        Value::Array(_) => "not supported: associative list with lists as elements",
        Value::Null => "associative list without keys has an element that's an explicit null",
        item => return Ok(Element::value(item)),
    };
    Err(why.into())
}

fn by_key<'a, S: Shape<'a>>(list: Of<S>, item: &Value) -> Result<Element, String> {
    let Value::Object(fields) = item else {
        return Err(match item {
            Value::Null => "associative list with keys may not have a null element".into(),
            _ => "associative list with keys may not have non-map elements".into(),
        });
    };
    let Of::Known(shape) = list else {
        return Err("associative list without a type".into());
    };
    let names = shape.keys();
    let default_of = |name: &str| match shape.element() {
        Of::Known(element) => element.default_of(name),
        Of::Any | Of::Opaque => None,
    };
    let mut key = Map::new();
    for name in &names {
        let value = fields.get(*name).cloned().or_else(|| default_of(name));
        key.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    if key.is_empty() && !names.is_empty() {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't \
             have default values for any key fields)",
            quoted.join(" ")
        ));
    }
    Ok(Element::key(&key))
}

/// The elements of a list, each with its items: several where the list says it twice. In the
/// order of their first item; what cannot be told apart is left out.
pub(crate) fn grouped<'v, 'a, S: Shape<'a>>(
    list: Of<S>,
    listing: Listing,
    items: &'v [Value],
) -> Vec<(Element, Vec<&'v Value>)> {
    let mut groups: Vec<(Element, Vec<&Value>)> = Vec::with_capacity(items.len());
    let mut places = std::collections::BTreeMap::new();
    for item in items {
        let Ok(element) = element_of(list, listing, item) else {
            continue;
        };
        match places.get(&element) {
            Some(&at) => {
                let (_, same): &mut (Element, Vec<&Value>) = &mut groups[at];
                same.push(item);
            }
            None => {
                places.insert(element.clone(), groups.len());
                groups.push((element, vec![item]));
            }
        }
    }
    groups
}

/// The items of a value that should be a list; none of null.
pub(crate) fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Null => Some(&[]),
        Value::Array(items) => Some(items),
        _ => None,
    }
}
