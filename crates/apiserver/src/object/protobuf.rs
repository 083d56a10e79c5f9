//! Bodies in protobuf, which newer kubectl sends when it creates things.
//!
//! Kubernetes wraps the message: four bytes of magic, then `runtime.Unknown` with version, kind
//! and the message itself. Go's types decide what is absent: the zero of a plain field means
//! nothing, that of a pointer means itself (see [`crate::schema`]). Answers are always JSON,
//! which every client takes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::input::{Input, InputError};
use crate::schema::{Field, Many, Type};

const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; Kubernetes' types are far flatter.
const DEPTH_MAX: usize = 64;

/// Reads a wrapped message.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_protobuf(body: &[u8]) -> Result<Input, InputError> {
    let wrapped = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| wrong("the magic bytes are missing"))?;
    let (mut meta, mut raw) = (&[][..], &[][..]);
    for part in parts(wrapped) {
        match part? {
            (1, Raw::Bytes(bytes)) => meta = bytes,
            (2, Raw::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    for part in parts(meta) {
        match part? {
            (1, Raw::Bytes(bytes)) => api_version = text(bytes)?,
            (2, Raw::Bytes(bytes)) => kind = text(bytes)?,
            _ => {}
        }
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    // Options may be sent under any group's name.
    let of = match kind.as_str() {
        "DeleteOptions" => Type::find("meta.v1.DeleteOptions"),
        kind => Type::of_kind(group, version, kind),
    };
    let of = of.ok_or_else(|| wrong(&format!("no kind {kind:?} is known in {api_version:?}")))?;
    let mut object = message(of, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Input {
        value: Value::Object(object),
        duplicates: Vec::new(),
    })
}

fn wrong(why: &str) -> InputError {
    InputError::new(format!("protobuf: {why}"))
}

fn message(of: &Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, InputError> {
    if depth > DEPTH_MAX {
        return Err(wrong("too many messages within each other"));
    }
    let mut object = Map::new();
    for part in parts(bytes) {
        let (number, raw) = part?;
        let Some(field) = of.numbered(number) else {
            continue;
        };
        put(&mut object, field, raw, depth).map_err(|InputError(why)| {
            InputError::new(format!("{why} ({}.{})", of.name, field.name))
        })?;
    }
    Ok(object)
}

fn put(
    object: &mut Map<String, Value>,
    field: &Field,
    raw: Raw<'_>,
    depth: usize,
) -> Result<(), InputError> {
    let name = field.name.to_owned();
    match field.many {
        Many::One if field.inline => {
            if let (Some(inner), Raw::Bytes(bytes)) = (Type::find(field.value), raw) {
                object.extend(message(inner, bytes, depth + 1)?);
            }
        }
        Many::One => {
            let value = value(field.value, raw, depth)?;
            if field.pointer || !is_zero(&value) {
                object.insert(name, value);
            }
        }
        Many::Map => {
            let Raw::Bytes(entry) = raw else {
                return Err(wrong("expected an entry of a map"));
            };
            let (mut key, mut found) = (String::new(), None);
            for part in parts(entry) {
                match part? {
                    (1, Raw::Bytes(bytes)) => key = text(bytes)?,
                    (2, raw) => found = Some(value(field.value, raw, depth)?),
                    _ => {}
                }
            }
            let found = match found {
                Some(found) => found,
                None => value(field.value, Raw::Bytes(&[]), depth)?,
            };
            object.entry(name).or_insert_with(|| json!({}))[key] = found;
        }
        Many::List | Many::By(_) | Many::Set => {
            let mut values = Vec::new();
            match (field.value, raw) {
                ("int", Raw::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        values.push(value("int", Raw::Number(varint(&mut packed)?), depth)?);
                    }
                }
                (_, raw) => values.push(value(field.value, raw, depth)?),
            }
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut()
                .into_iter()
                .for_each(|list| list.append(&mut values));
        }
    }
    Ok(())
}

/// What Go's JSON leaves out of a field that is no pointer.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn value(of: &str, raw: Raw<'_>, depth: usize) -> Result<Value, InputError> {
    match (of, raw) {
        ("text", Raw::Bytes(bytes)) => Ok(text(bytes)?.into()),
        ("bytes", Raw::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
        ("bool", Raw::Number(number)) => Ok((number != 0).into()),
        // Negative numbers are sign-extended to 64 bits.
        ("int", Raw::Number(number)) => Ok(number.cast_signed().into()),
        ("double", Raw::Fixed(bits)) => Ok(json!(f64::from_bits(bits))),
        ("api.resource.Quantity", Raw::Bytes(bytes)) => {
            let mut quantity = json!("0");
            for part in parts(bytes) {
                if let (1, Raw::Bytes(bytes)) = part? {
                    quantity = text(bytes)?.into();
                }
            }
            Ok(quantity)
        }
        ("meta.v1.Time" | "meta.v1.MicroTime", Raw::Bytes(bytes)) => time(of, bytes),
        ("util.intstr.IntOrString", Raw::Bytes(bytes)) => int_or_string(bytes),
        (
            "runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON",
            Raw::Bytes(bytes),
        ) => json_within(bytes),
        (
            "apiextensions.v1.JSONSchemaPropsOrArray"
            | "apiextensions.v1.JSONSchemaPropsOrBool"
            | "apiextensions.v1.JSONSchemaPropsOrStringArray",
            Raw::Bytes(bytes),
        ) => either(of, bytes, depth),
        (of, Raw::Bytes(bytes)) => {
            let of = Type::find(of).ok_or_else(|| wrong("unknown type"))?;
            message(of, bytes, depth + 1).map(Value::Object)
        }
        _ => Err(wrong("the wire type does not fit")),
    }
}

/// A message whose only field is JSON.
fn json_within(bytes: &[u8]) -> Result<Value, InputError> {
    let mut json = Value::Null;
    for part in parts(bytes) {
        if let (1, Raw::Bytes(bytes)) = part? {
            json = serde_json::from_slice(bytes).map_err(|cause| wrong(&cause.to_string()))?;
        }
    }
    Ok(json)
}

/// A schema or something else in its place: in JSON it is what it is, without the field's name.
fn either(of: &str, bytes: &[u8], depth: usize) -> Result<Value, InputError> {
    let of = Type::find(of).ok_or_else(|| wrong("unknown type"))?;
    let mut found = message(of, bytes, depth + 1)?;
    let other = of.fields.iter().find(|field| field.name != "schema");
    let other = other.map(|field| (field, found.remove(field.name)));
    Ok(match (found.remove("schema"), other) {
        (Some(schema), _) => schema,
        (None, Some((_, Some(value)))) => value,
        (None, Some((field, None))) if field.many == Many::One => false.into(),
        (None, _) => json!([]),
    })
}

fn time(of: &str, bytes: &[u8]) -> Result<Value, InputError> {
    let (mut seconds, mut nanos) = (None, 0);
    for part in parts(bytes) {
        match part? {
            (1, Raw::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Raw::Number(number)) => nanos = i32::try_from(number).unwrap_or(0),
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Ok(Value::Null);
    };
    let time = Timestamp::new(seconds, nanos).map_err(|cause| wrong(&cause.to_string()))?;
    let format = if of == "meta.v1.Time" {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S%.6fZ"
    };
    Ok(time.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, InputError> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    for part in parts(bytes) {
        match part? {
            (1, Raw::Number(kind)) => is_text = kind == 1,
            (2, Raw::Number(value)) => number = value.cast_signed(),
            (3, Raw::Bytes(bytes)) => words = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

fn text(bytes: &[u8]) -> Result<String, InputError> {
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("a text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// A value as it is on the wire.
enum Raw<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message: their numbers and raw values.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Result<(u32, Raw<'_>), InputError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = part(&mut rest);
        if part.is_err() {
            rest = &[];
        }
        Some(part)
    })
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<(u32, Raw<'a>), InputError> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| wrong("a field number is too large"))?;
    let raw = match tag & 7 {
        0 => Raw::Number(varint(rest)?),
        1 => Raw::Fixed(u64::from_le_bytes(
            take(rest, 8)?.try_into().unwrap_or_default(),
        )),
        2 => {
            let length =
                usize::try_from(varint(rest)?).map_err(|_| wrong("a length is too large"))?;
            Raw::Bytes(take(rest, length)?)
        }
        5 => {
            let bytes = take(rest, 4)?.try_into().unwrap_or_default();
            Raw::Fixed(u32::from_le_bytes(bytes).into())
        }
        _ => return Err(wrong("unknown wire type")),
    };
    Ok((number, raw))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], InputError> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or_else(|| wrong("the message is cut short"))?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, InputError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(wrong("a number is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a field with a length.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        [&field, bytes].concat()
    }

    fn wrap(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [
            MAGIC,
            &field(1, &meta),
            &field(2, raw),
            &field(3, b""),
            &field(4, b""),
        ]
        .concat()
    }

    /// What `kubectl create namespace foo` sends.
    #[test]
    fn a_namespace_as_kubectl_sends_it() {
        let body = b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03foo\x12\0\x1a\0\"\0*\0\
                     2\08\0B\0\x12\0\x1a\x02\n\0\x1a\0\"\0";
        let expected =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}});
        assert_eq!(parse_protobuf(body).unwrap().value, expected);
    }

    #[test]
    fn maps_bytes_lists_and_inlined_fields() {
        let entry = [field(1, b"k"), field(2, b"\0\xff")].concat();
        let secret = [field(2, &entry), field(3, b"Opaque")].concat();
        assert_eq!(
            parse_protobuf(&wrap("v1", "Secret", &secret))
                .unwrap()
                .value,
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "AP8="}})
        );
        // spec.volumes[0] = {name: v, hostPath: {path: /x}}; terminationGracePeriodSeconds = 0
        let source = field(1, &field(1, b"/x"));
        let volume = [field(1, b"v"), field(2, &source)].concat();
        let spec = [field(1, &volume), vec![4 << 3, 0]].concat();
        let pod = parse_protobuf(&wrap("v1", "Pod", &field(2, &spec)))
            .unwrap()
            .value;
        assert_eq!(
            pod["spec"],
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}], "terminationGracePeriodSeconds": 0})
        );
        // spec.ports[0] = {port: 80, targetPort: "http"}
        let target = [vec![1 << 3, 1], field(3, b"http")].concat();
        let port = [vec![3 << 3, 80], field(4, &target)].concat();
        let service = parse_protobuf(&wrap("v1", "Service", &field(2, &field(1, &port))))
            .unwrap()
            .value;
        assert_eq!(
            service["spec"]["ports"],
            json!([{"port": 80, "targetPort": "http"}])
        );
    }

    #[test]
    fn json_within_messages_is_json() {
        // metadata.managedFields[0] = {manager: "m", fieldsV1: {"f:data":{}}}
        let fields = field(7, &field(1, br#"{"f:data":{}}"#));
        let entry = [field(1, b"m"), fields].concat();
        let entries = [
            vec![17 << 3 & 0x7f | 2 | 0x80, 1],
            vec![entry.len() as u8],
            entry,
        ]
        .concat();
        let map = parse_protobuf(&wrap("v1", "ConfigMap", &field(1, &entries))).unwrap();
        assert_eq!(
            map.value["metadata"]["managedFields"],
            json!([{"manager": "m", "fieldsV1": {"f:data": {}}}])
        );
        let read = |of: &str, bytes: &[u8]| value(of, Raw::Bytes(bytes), 0).unwrap();
        let schema = field(1, &field(5, b"string"));
        for (of, bytes, expected) in [
            ("JSON", field(1, b"[1]"), json!([1])),
            (
                "JSONSchemaPropsOrArray",
                schema.clone(),
                json!({"type": "string"}),
            ),
            ("JSONSchemaPropsOrBool", vec![8, 1], json!(true)),
            ("JSONSchemaPropsOrBool", vec![], json!(false)),
            (
                "JSONSchemaPropsOrBool",
                [vec![8, 1], field(2, &field(5, b"x"))].concat(),
                json!({"type": "x"}),
            ),
            ("JSONSchemaPropsOrStringArray", field(2, b"a"), json!(["a"])),
        ] {
            assert_eq!(
                read(&format!("apiextensions.v1.{of}"), &bytes),
                expected,
                "{of}"
            );
        }
    }

    #[test]
    fn damaged_messages_are_refused() {
        let good = wrap("v1", "Namespace", &field(1, &field(1, b"foo")));
        for cut in 1..good.len() {
            // Some cuts fall between fields, and leave a shorter message; none may panic.
            let _ = parse_protobuf(&good[..cut]);
        }
        for bad in [
            &b"{}"[..],
            &wrap("v1", "Nonsense", b""),
            &wrap("v1", "Namespace", b"\x0a\x7f"),
            &wrap(
                "v1",
                "Namespace",
                &[
                    0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
                ],
            ),
            &wrap("v1", "Namespace", &field(1, &field(1, b"\xff"))),
        ] {
            assert!(parse_protobuf(bad).is_err(), "{bad:?}");
        }
    }
}
