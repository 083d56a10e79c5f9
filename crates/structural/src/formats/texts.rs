//! The formats of texts.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::TextFormat;
use super::numbers::{credit_card, isbn10, isbn13};
use crate::time::{Moment, parse_date, parse_duration};

macro_rules! formats {
    ($($name:literal => $judge:expr,)*) => {
        &[$(TextFormat { name: $name, judge: $judge },)*]
    };
}

pub(super) const ALL: &[TextFormat] = formats! {
    "bsonobjectid" => |text| text.len() == 24 && hexadecimal(text),
    "byte" => |text| STANDARD.decode(text).is_ok(),
    "cidr" => |text| text.contains('/') && text.parse::<ipnet::IpNet>().is_ok(),
    "creditcard" => credit_card,
    "date" => |text| parse_date(text).is_some(),
    "date-time" => |text| Moment::parse_lenient(text).is_some(),
    "duration" => |text| parse_duration(text).is_some(),
    "email" => email,
    "hexcolor" => hex_color,
    "hostname" => hostname,
    "ipv4" => |text| text.parse::<Ipv4Addr>().is_ok(),
    "ipv6" => |text| text.parse::<Ipv6Addr>().is_ok(),
    "isbn" => |text| isbn10(text) || isbn13(text),
    "isbn10" => isbn10,
    "isbn13" => isbn13,
    "k8s-long-name" => |text| sealane_objects::format::dns_subdomain(text).is_empty(),
    "k8s-short-name" => |text| sealane_objects::format::dns_label(text).is_empty(),
    "mac" => mac,
    "password" => |_| true,
    "rgbcolor" => rgb_color,
    "ssn" => social_security_number,
    "uri" => uri,
    "uuid" => |text| uuid(text, None, false),
    "uuid3" => |text| uuid(text, Some('3'), false),
    "uuid4" => |text| uuid(text, Some('4'), true),
    "uuid5" => |text| uuid(text, Some('5'), true),
};

fn hexadecimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|b| b.is_ascii_digit())
}

/// `a@b.c`, `<a@b.c>` or `Some Name <a@b.c>`.
fn email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(named) => match named.rsplit_once('<') {
            Some((name, address)) if !name.contains(['<', '>', '@', ',']) => address,
            _ => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let atom = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || local.split('.').all(atom)) && domain.split('.').all(atom)
}

/// A single label may have a dash only as its second letter; a name of several ends with a label
/// of letters. That is what upstream's expression says.
fn hostname(text: &str) -> bool {
    let letter = |c: char| {
        c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace()) || "$+<=>^`|~".contains(c)
    };
    if text.len() > 255 || text.split('.').any(|label| label.len() > 63) {
        return false;
    }
    let Some((labels, last)) = text.rsplit_once('.') else {
        let mut letters = text.chars();
        let starts = letters.next().is_some_and(letter);
        let rest = letters.as_str();
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        return starts && rest.chars().all(letter);
    };
    let label = |label: &str| {
        label.starts_with(letter)
            && label.ends_with(letter)
            && label.chars().all(|c| c == '-' || letter(c))
    };
    labels.split('.').all(label)
        && last.chars().count() >= 2
        && last.chars().all(char::is_alphabetic)
}

/// As Go's `net.ParseMAC`: 6, 8 or 20 bytes, by colons or dashes, or in fours by dots.
fn mac(text: &str) -> bool {
    let grouped = |by: char, size: usize| {
        let parts: Vec<&str> = text.split(by).collect();
        let right = parts
            .iter()
            .all(|part| part.len() == size && hexadecimal(part));
        right && [6, 8, 20].contains(&(parts.len() * size / 2))
    };
    grouped(':', 2) || grouped('-', 2) || grouped('.', 4)
}

fn hex_color(text: &str) -> bool {
    let color = text.strip_prefix('#').unwrap_or(text);
    (color.len() == 3 || color.len() == 6) && hexadecimal(color)
}

/// `rgb(255,255,255)`, with spaces around the numbers.
fn rgb_color(text: &str) -> bool {
    let inner = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'));
    let Some(inner) = inner else { return false };
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let number = |part: &&str| {
        let plain = part.len() == 1 || !part.starts_with('0');
        plain && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok()
    };
    parts.len() == 3 && parts.iter().all(number)
}

/// `123-45-6789`, with dashes, spaces or nothing between.
fn social_security_number(text: &str) -> bool {
    let bare = text.replace(['-', ' '], "");
    let separators = text.len() - bare.len();
    let placed = |at: usize| text.as_bytes().get(at).is_some_and(|b| b"- ".contains(b));
    let right = match separators {
        0 => true,
        1 => placed(3) || placed(5),
        2 => placed(3) && placed(6),
        _ => false,
    };
    digits(&bare, 9) && right
}

/// As Go's `url.ParseRequestURI`: an absolute URI, or an absolute path.
fn uri(text: &str) -> bool {
    crate::url::Url::parse(text).is_some()
}

/// 32 hexadecimal digits, with dashes or without; digit 13 is the version, digit 17 the variant.
fn uuid(text: &str, version: Option<char>, variant: bool) -> bool {
    const DASHES: [usize; 4] = [8, 12, 16, 20];
    let mut seen = Vec::with_capacity(32);
    for c in text.chars() {
        match c {
            '-' if DASHES.contains(&seen.len()) => {}
            c if c.is_ascii_hexdigit() => seen.push(c.to_ascii_lowercase()),
            _ => return false,
        }
    }
    seen.len() == 32
        && !text.contains("--")
        && version.is_none_or(|version| seen[12] == version)
        && (!variant || "89ab".contains(seen[16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged_by_their_format() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "bsonobjectid",
                &["507f1f77bcf86cd799439011"],
                &["507f", "x"],
            ),
            ("byte", &["", "aGVsbG8="], &["a", "*"]),
            (
                "cidr",
                &["10.0.0.0/8", "fd00::/8"],
                &["10.0.0.0", "10.0.0.0/33"],
            ),
            (
                "creditcard",
                &["4111 1111 1111 1111", "378282246310005"],
                &["4111111111111112", "1"],
            ),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-1-1", "x"]),
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2024-01-01T00:00:00+01:00"],
                &["2024-01-01", "2024-01-01T25:00:00Z"],
            ),
            (
                "duration",
                &["1h30m", "22 ns", "-5s", "3 days"],
                &["", "1", "1x"],
            ),
            (
                "email",
                &["a@b.c", "A B <a.b@c>"],
                &["a", "a@", "@b", "a b@c"],
            ),
            ("hexcolor", &["#FFF", "a0b1c2"], &["#FF", "ggg"]),
            (
                "hostname",
                &["a", "example.com", "my-host.example.com"],
                &["", "a..com", "-a.com", "a.1"],
            ),
            ("ipv4", &["10.0.0.1"], &["10.0.0.256", "fd00::1"]),
            ("ipv6", &["fd00::1"], &["10.0.0.1", "x"]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044"]),
            ("k8s-long-name", &["a.b-c"], &["A", "a..b"]),
            ("k8s-short-name", &["a-b"], &["a.b", "A"]),
            (
                "mac",
                &["01:02:03:04:05:06", "0102.0304.0506"],
                &["01:02", "01:02:03:04:05:0g"],
            ),
            (
                "rgbcolor",
                &["rgb(255,0, 1)"],
                &["rgb(256,0,1)", "rgb(1,2)"],
            ),
            ("ssn", &["123-45-6789", "123456789"], &["12-345-6789", "1"]),
            (
                "uri",
                &["http://a/b", "/a", "urn:a"],
                &["a/b", "", "http://a b/"],
            ),
            (
                "uuid",
                &["123e4567-e89b-12d3-a456-426614174000"],
                &["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
            ),
            (
                "uuid4",
                &["123e4567-e89b-42d3-a456-426614174000"],
                &["123e4567-e89b-12d3-a456-426614174000"],
            ),
        ];
        for (name, right, wrong) in cases {
            let format = ALL.iter().find(|format| format.name == *name).unwrap();
            for text in *right {
                assert!((format.judge)(text), "{name} {text:?}");
            }
            for text in *wrong {
                assert!(!(format.judge)(text), "{name} {text:?}");
            }
        }
    }
}
