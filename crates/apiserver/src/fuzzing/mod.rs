//! Doors for fuzz targets: what reads outside bytes, and what must hold whatever they are.
//!
//! Not part of the interface. The targets are in `fuzz/`; its corpus and the inputs that once broke
//! something run again in the tests (`tests/api/corpus.rs`). Each door takes any bytes and panics when
//! something does not hold.

mod exchange;

use http::{HeaderMap, HeaderValue, header::ACCEPT};
use sealane_ownership::{self as ownership, Managers, Writer};
use sealane_store::Attributes;
use serde_json::{Value, json};

pub use exchange::Exchange;

use crate::{
    check::{self, Findings},
    kinds::{self, KINDS, Kind},
    object,
    owners::shape_of,
    patch::Patch,
    request::{Accept, Query},
    schema::Type,
    select::{FieldSelector, LabelSelector},
    webhooks,
};

/// What takes any bytes.
pub type Door = fn(&[u8]);

/// The doors without a server, by name.
pub const DOORS: &[(&str, Door)] = &[
    ("accept", accept),
    ("managed-fields", managed_fields),
    ("patches", patches),
    ("protobuf", protobuf),
    ("selectors", selectors),
    ("texts", texts),
    ("webhook", webhook),
];

/// Selectors: the text as a label selector and as a field selector.
pub fn selectors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let nothing = Attributes::default();
    if let Ok(selector) = LabelSelector::parse(text) {
        let matches = selector.matches(&nothing);
        let spaced = LabelSelector::parse(&format!(" {text} "));
        assert_eq!(
            spaced.as_ref(),
            Ok(&selector),
            "spaces around it mean nothing"
        );
        let twice = LabelSelector::parse(&format!("{text},{text}"));
        if let Ok(twice) = twice {
            assert_eq!(
                twice.matches(&nothing),
                matches,
                "twice the same is the same"
            );
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        selector.matches("namespace", "name", &nothing);
        let _ = selector.unknown_field(|_| false);
        assert!(!selector.and_name("a").matches("", "b", &nothing));
    }
}

/// Patches: the first line names the form, the second is the patch, the rest an object of kind Pod.
pub fn patches(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let form = match lines.next() {
        Some(b"json") => "application/json-patch+json",
        Some(b"merge") => "application/merge-patch+json",
        _ => "application/strategic-merge-patch+json",
    };
    let Ok(patch) = Patch::parse(form, lines.next().unwrap_or_default()) else {
        return;
    };
    let object = lines
        .next()
        .and_then(|object| object::parse_json(object).ok())
        .map(|input| input.value)
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({"metadata": {"name": "a"}}));
    let of = Type::of_kind("", "v1", "Pod");
    let Ok(once) = patch.apply(object, of) else {
        return;
    };
    can_be_read(&once);
    if form == "application/merge-patch+json" {
        let twice = patch.apply(once.clone(), of);
        assert_eq!(twice.as_ref(), Ok(&once), "a merge patch applied again");
    }
}

/// What an admission webhook answers: the first line, of an object that the rest is.
pub fn webhook(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let answer = lines.next().unwrap_or_default();
    let object = lines
        .next()
        .and_then(|object| object::parse_json(object).ok())
        .map_or_else(|| json!({"metadata": {"name": "a"}}), |input| input.value);
    match webhooks::answer("w.example.com", "1", answer, &object) {
        Err(cause) => assert!(!cause.is_empty()),
        Ok(verdict) => {
            assert!(verdict.refusal.is_none() || verdict.changed.is_none());
            if let Some(refusal) = &verdict.refusal {
                assert!((400..600).contains(&refusal.code.as_u16()), "an error");
            }
            verdict.changed.iter().for_each(can_be_read);
        }
    }
}

/// Whether the store would understand what it keeps.
fn can_be_read(object: &Value) {
    let again = serde_json::from_str::<Value>(&object.to_string());
    assert_eq!(
        again.as_ref().ok(),
        Some(object),
        "what is stored can be read"
    );
}

/// Server-side apply: the first line is the managed fields of an object, the second what is applied
/// to it, the rest the object, of kind Pod.
pub fn managed_fields(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut json = || {
        let line = lines.next().unwrap_or_default();
        object::parse_json(line).map(|input| input.value)
    };
    let (entries, config, live) = (json(), json(), json());
    let managers = Managers::parse(&entries.unwrap_or_default()).unwrap_or_default();
    let again = Managers::parse(&managers.to_value()).expect("what is written can be read");
    assert_eq!(again.to_value(), managers.to_value(), "and says the same");
    let (Ok(config), Ok(live)) = (config, live) else {
        return;
    };
    let (shape, writer) = (
        shape_of(&kinds::POD),
        Writer {
            name: "fuzzer",
            api_version: "v1",
            subresource: "",
            now: "2026-01-01T00:00:00Z",
        },
    );
    if !live.is_object() || !config.is_object() {
        return;
    }
    let Ok(once) = ownership::apply(shape, &live, &config, managers, &writer, true) else {
        return;
    };
    let (object, managers) = (once.object, once.managers);
    let twice = ownership::apply(shape, &object, &config, managers.clone(), &writer, false);
    let twice = twice.expect("what was taken is not another's");
    assert_eq!(twice.managers.to_value(), managers.to_value());
    let managers = ownership::update(shape, Some(&object), &live, managers, &writer);
    Managers::parse(&managers.to_value()).expect("what is written can be read");
}

/// Bodies in protobuf.
pub fn protobuf(bytes: &[u8]) {
    if let Ok(input) = object::parse_protobuf(bytes) {
        take(input.value);
    }
}

/// Bodies in JSON and in YAML.
pub fn texts(bytes: &[u8]) {
    let plain = serde_json::from_slice::<Value>(bytes);
    let ours = object::parse_json(bytes);
    match (plain, ours) {
        (Ok(plain), Ok(ours)) => {
            assert_eq!(plain, ours.value, "JSON means what it means elsewhere");
            take(plain);
        }
        (Err(_), Err(_)) => {}
        (plain, ours) => panic!("JSON for one and not for the other: {plain:?}, {ours:?}"),
    }
    if let Ok(input) = object::parse_yaml(bytes) {
        take(input.value);
    }
}

/// The header that says which form of an answer is wanted.
pub fn accept(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, value);
    if let Ok(accept) = Accept::negotiate(&headers, &Query::parse(Some("includeObject=Object"))) {
        let said = accept.content_type();
        HeaderValue::from_str(&said).expect("a content type can be sent");
    }
}

/// Takes an object as a write of its kind does, up to the store.
fn take(value: Value) {
    for kind in KINDS.iter().copied() {
        if value["kind"] != kind.kind || value["apiVersion"] != kind.api_version() {
            continue;
        }
        let Ok(decoded) = (kind.decode)(&value) else {
            continue;
        };
        let again = (kind.decode)(&decoded.value).expect("what was decoded has the right types");
        assert_eq!(again.value, decoded.value, "decoding is done once");
        assert!(again.unknown.is_empty(), "unknown fields are dropped");
        complete(kind, kind.to_stored(decoded.value));
    }
}

fn complete(kind: &Kind, mut object: Value) {
    let old = object.clone();
    object::metadata_mut(&mut object);
    (kind.complete)(&mut object);
    kinds::fill(kind.defaults, &mut object);
    let mut findings = Findings::default();
    check::check_metadata(kind.names, &object, &mut findings);
    check::run(kind.rules, &object, &mut findings);
    (kind.validate)(&object, &mut findings);
    check::check_metadata_update(&object, &old, &mut findings);
    (kind.validate_update)(&object, &old, &mut findings);
    let _ = findings.to_string();
    object::describe(kind.fields, &object);

    let template = object::template(&object);
    let encoded = [&template.head[..], b"7", &template.tail].concat();
    let read: Value = serde_json::from_slice(&encoded).expect("what is stored can be read");
    object["metadata"]["resourceVersion"] = "7".into();
    assert_eq!(read, object, "what is stored is what was taken");
    kind.to_served(object);
}
