//! What `nft -j list` reads in the kernel, held against what we read and encode.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sealane_net::{Family, IpNet, Protocol};
use sealane_ruleset::Verdict;
use sealane_ruleset::services::{Bytes, Data, Field, Image, Map};
use serde_json::Value;

/// Fails when an element is on one side only, or otherwise.
#[track_caller]
pub fn is_what_was_meant(listed: &str, image: &Image, family: Family) {
    let (listed, meant) = (listed_elements(listed), meant_elements(image, family));
    let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| -> Vec<String> {
        these.difference(those).take(5).cloned().collect()
    };
    assert!(meant.len() > 100, "{meant:?}");
    assert_eq!(only(&listed, &meant), [""; 0], "only nft lists them");
    assert_eq!(only(&meant, &listed), [""; 0], "nft does not list them");
}

/// `eps 3 7: 10.244.1.5 8080` for each element.
fn meant_elements(image: &Image, family: Family) -> BTreeSet<String> {
    let each = image.iter().map(|element| {
        let spec = element.map.spec();
        let last = element.last.unwrap_or(element.key);
        let key = fields(spec.key, &element.key, &last, spec.interval, family);
        let data = match &element.data {
            Data::Nothing => String::new(),
            Data::Value(value) => fields(spec.data, value, value, false, family),
            Data::Verdict(Verdict::Goto(to)) => format!("goto {to}"),
            Data::Verdict(Verdict::Jump(to)) => format!("jump {to}"),
            Data::Verdict(other) => format!("{other:?}"),
        };
        format!("{} {key}: {data}", spec.name)
    });
    each.collect()
}

fn fields(all: &[Field], from: &Bytes, to: &Bytes, ranges: bool, family: Family) -> String {
    let mut at = 0;
    let words = all.iter().map(|field| {
        let start = at;
        at += field.bytes(family);
        let address = |bytes: &Bytes| bytes.address_at(start, family).unwrap();
        match field {
            Field::Address if ranges => format!("{}-{}", address(from), address(to)),
            Field::Address => address(from).to_string(),
            Field::Protocol => {
                let protocol = Protocol::of_number(from.as_slice()[start]);
                protocol.unwrap().lower_case().to_owned()
            }
            Field::Port => from.port_at(start).unwrap().to_string(),
            Field::Mark | Field::Verdict => from.mark_at(start).unwrap().to_string(),
            Field::Draw => format!("{}-{}", long(from), long(to)),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A key of eight bytes as nft reads it.
fn long(key: &Bytes) -> u64 {
    u64::from_be_bytes(key.as_slice().try_into().unwrap())
}

fn listed_elements(json: &str) -> BTreeSet<String> {
    let all: Value = serde_json::from_str(json).unwrap();
    let mut elements = BTreeSet::new();
    for object in all["nftables"].as_array().unwrap() {
        let object = match (&object["map"], &object["set"]) {
            (Value::Null, set) => set,
            (map, _) => map,
        };
        let Some(map) = object["name"].as_str().and_then(Map::named) else {
            continue;
        };
        for element in object["elem"].as_array().into_iter().flatten() {
            let is_map = !map.spec().data.is_empty();
            let (key, data) = match is_map {
                true => (&element[0], words(&element[1], false)),
                false => (element, String::new()),
            };
            let key = words(key, map.spec().interval);
            elements.insert(format!("{} {key}: {data}", map.spec().name));
        }
    }
    elements
}

fn words(value: &Value, ranges: bool) -> String {
    if let Some(inner) = value["elem"]["val"].as_object() {
        return words(&Value::Object(inner.clone()), ranges);
    }
    if let Some(parts) = value["concat"].as_array() {
        let words: Vec<String> = parts.iter().map(|part| word(part, ranges)).collect();
        return words.join(" ");
    }
    word(value, ranges)
}

fn word(value: &Value, ranges: bool) -> String {
    let range = |first: IpAddr, last: IpAddr| format!("{first}-{last}");
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => match text.parse::<IpAddr>() {
            Ok(address) if ranges => range(address, address),
            _ => text.clone(),
        },
        other => {
            let prefix = &other["prefix"];
            if let Some(address) = prefix["addr"].as_str() {
                let length = prefix["len"].as_u64().unwrap() as u8;
                let net = IpNet::new_assert(address.parse().unwrap(), length);
                return range(net.network(), net.broadcast());
            }
            if let [Value::String(first), Value::String(last)] =
                &other["range"].as_array().cloned().unwrap_or_default()[..]
            {
                return format!("{first}-{last}");
            }
            if let [Value::Number(first), Value::Number(last)] =
                &other["range"].as_array().cloned().unwrap_or_default()[..]
            {
                return format!("{first}-{last}");
            }
            for verdict in ["goto", "jump"] {
                if let Some(to) = other[verdict]["target"].as_str() {
                    return format!("{verdict} {to}");
                }
            }
            other.to_string()
        }
    }
}
