//! Formats by name: `format.dns1123Label().validate(name)`.

use sealane_objects::format;

use super::{Fault, Row};
use crate::cel::value::{Outcome, Val};
use crate::time::{Moment, parse_date};
use crate::url::Url;

/// A format: its name, and what is wrong with a text.
#[derive(Debug)]
pub(in super::super) struct NamedFormat {
    pub name: &'static str,
    judge: fn(&str) -> Vec<String>,
}

static FORMATS: [NamedFormat; 13] = [
    NamedFormat {
        name: "dns1123Label",
        judge: format::dns_label,
    },
    NamedFormat {
        name: "dns1123Subdomain",
        judge: format::dns_subdomain,
    },
    NamedFormat {
        name: "dns1035Label",
        judge: format::dns_1035_label,
    },
    NamedFormat {
        name: "qualifiedName",
        judge: format::qualified_name,
    },
    NamedFormat {
        name: "dns1123LabelPrefix",
        judge: |text| format::dns_label(&prefix(text)),
    },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        judge: |text| format::dns_subdomain(&prefix(text)),
    },
    NamedFormat {
        name: "dns1035LabelPrefix",
        judge: |text| format::dns_1035_label(&prefix(text)),
    },
    NamedFormat {
        name: "labelValue",
        judge: format::label_value,
    },
    NamedFormat {
        name: "uri",
        judge: |text| said(Url::parse(text).is_some(), "must be a valid URI"),
    },
    NamedFormat {
        name: "uuid",
        judge: |text| said(is_uuid(text), "does not match the UUID format"),
    },
    NamedFormat {
        name: "byte",
        judge: |text| said(is_base64(text), "invalid base64"),
    },
    NamedFormat {
        name: "date",
        judge: |text| said(parse_date(text).is_some(), "invalid date"),
    },
    NamedFormat {
        name: "datetime",
        judge: |text| said(Moment::parse_lenient(text).is_some(), "invalid datetime"),
    },
];

macro_rules! named {
    ($name:literal, $at:literal) => {
        (concat!("format.", $name, "(): format"), |_, _| {
            Ok(Val::Format(&FORMATS[$at]))
        })
    };
}

pub(super) const ROWS: &[Row] = &[
    named!("dns1123Label", 0),
    named!("dns1123Subdomain", 1),
    named!("dns1035Label", 2),
    named!("qualifiedName", 3),
    named!("dns1123LabelPrefix", 4),
    named!("dns1123SubdomainPrefix", 5),
    named!("dns1035LabelPrefix", 6),
    named!("labelValue", 7),
    named!("uri", 8),
    named!("uuid", 9),
    named!("byte", 10),
    named!("date", 11),
    named!("datetime", 12),
    (
        "format.named(string): optional<format>",
        |_, args| match args {
            [Val::Text(name)] => {
                let found = FORMATS.iter().find(|format| *format.name == **name);
                Ok(found.map_or(Val::NONE, |format| Val::some(Val::Format(format))))
            }
            _ => Err(Fault::NoOverload),
        },
    ),
    (
        "format:.validate(string): optional<list<string>>",
        |_, args| validate(args),
    ),
];

fn validate<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let [Val::Format(format), Val::Text(text)] = args else {
        return Err(Fault::NoOverload);
    };
    let wrong = (format.judge)(text);
    Ok(match wrong.is_empty() {
        true => Val::NONE,
        false => Val::some(Val::list(wrong.into_iter().map(Val::text).collect())),
    })
}

/// What a generated name of this prefix could be.
fn prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) => format!("{rest}a"),
        None => text.to_owned(),
    }
}

fn said(right: bool, why: &str) -> Vec<String> {
    if right {
        Vec::new()
    } else {
        vec![why.to_owned()]
    }
}

fn is_uuid(text: &str) -> bool {
    crate::formats::judges("uuid", text)
}

fn is_base64(text: &str) -> bool {
    crate::formats::judges("byte", text)
}
