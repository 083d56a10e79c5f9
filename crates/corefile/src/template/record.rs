//! A record as text, as in zone files (RFC 1035 §5.1): `NAME [TTL] [CLASS] TYPE DATA`.

use sealane_message::{Class, Data, Kind, Name, Soa, text_data};

/// What miekg/dns, which `CoreDNS` reads records with, takes for a TTL that is not given.
const DEFAULT_TTL: u32 = 3600;

/// A record that was written as text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRecord {
    /// Of which name it is.
    pub owner: Name,
    /// Seconds that it may be kept.
    pub ttl: u32,
    content: Content,
}

impl Eq for TextRecord {}

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few, and not for long")]
enum Content {
    Data(Data<'static>),
    Wire(Kind, Vec<u8>),
}

impl TextRecord {
    /// What it says.
    #[must_use]
    pub fn data(&self) -> Data<'_> {
        match &self.content {
            Content::Data(data) => data.clone(),
            Content::Wire(kind, wire) => Data::Other(*kind, wire),
        }
    }
}

/// Reads one.
pub(crate) fn record(text: &str) -> Result<TextRecord, String> {
    let fault = |problem: String| format!("record {text:?}: {problem}");
    let mut words = words(text).map_err(fault)?.into_iter();
    let first = words.next().ok_or_else(|| fault("is empty".into()))?;
    let owner = first
        .text
        .parse()
        .map_err(|error| fault(format!("{error}")))?;
    let mut ttl = DEFAULT_TTL;
    let kind = loop {
        let word = words
            .next()
            .ok_or_else(|| fault("has no type: expected NAME TTL IN TYPE DATA".into()))?;
        if let Ok(seconds) = word.text.parse() {
            ttl = seconds;
        } else if word.text.parse::<Class>().is_err() {
            break word.text.parse::<Kind>().map_err(fault)?;
        }
    };
    let rest: Vec<Word> = words.collect();
    let content = content(kind, &rest).map_err(|problem| fault(format!("{kind}: {problem}")))?;
    Ok(TextRecord {
        owner,
        ttl,
        content,
    })
}

fn content(kind: Kind, words: &[Word]) -> Result<Content, String> {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    if let ["\\#", length, hex @ ..] = texts.as_slice() {
        return Ok(Content::Wire(kind, generic(length, &hex.concat())?));
    }
    let data = match (kind, texts.as_slice()) {
        (Kind::A, [address]) => Data::A(number(address)?),
        (Kind::AAAA, [address]) => Data::Aaaa(number(address)?),
        (Kind::CNAME, [target]) => Data::Cname(name(target)?),
        (Kind::NS, [server]) => Data::Ns(name(server)?),
        (Kind::PTR, [target]) => Data::Ptr(name(target)?),
        (Kind::MX, [preference, exchange]) => Data::Mx {
            preference: number(preference)?,
            exchange: name(exchange)?,
        },
        (Kind::SRV, [priority, weight, port, target]) => Data::Srv {
            priority: number(priority)?,
            weight: number(weight)?,
            port: number(port)?,
            target: name(target)?,
        },
        (Kind::SOA, [primary, mailbox, serial, refresh, retry, expire, minimum]) => {
            Data::Soa(Soa {
                primary: name(primary)?,
                mailbox: name(mailbox)?,
                serial: number(serial)?,
                refresh: number(refresh)?,
                retry: number(retry)?,
                expire: number(expire)?,
                minimum: number(minimum)?,
            })
        }
        (Kind::TXT, [_, ..]) => {
            let strings = texts.iter().flat_map(|text| text_data(text));
            return Ok(Content::Wire(kind, strings.collect()));
        }
        (Kind::CAA, [flags, tag, value]) => {
            let mut wire = vec![number(flags)?];
            wire.extend(text_data(tag));
            wire.extend(value.as_bytes());
            return Ok(Content::Wire(kind, wire));
        }
        (Kind::A | Kind::AAAA | Kind::CNAME | Kind::NS | Kind::PTR, _) => {
            return Err(format!("expected one value, not {}", texts.len()));
        }
        (Kind::MX | Kind::SRV | Kind::SOA | Kind::TXT | Kind::CAA, _) => {
            return Err(format!("{} values do not make one", texts.len()));
        }
        _ => {
            return Err("its data is not known here: write it as \\# LENGTH HEX (RFC 3597)".into());
        }
    };
    Ok(Content::Data(data))
}

fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} does not fit"))
}

/// Data of a kind that nobody here knows (RFC 3597 §5).
fn generic(length: &str, hex: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.ok_or("expected hexadecimal digits")?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[pair.len() - 1])
        .collect();
    if length.parse() != Ok(bytes.len()) || digits.len() % 2 != 0 {
        return Err(format!(
            "expected {length} bytes, found {} digits",
            digits.len()
        ));
    }
    Ok(bytes)
}

struct Word {
    text: String,
}

/// Words, strings in quotes, and without the brackets that let a record go on on the next line.
fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '(' | ')' => {
                rest = rest[1..].trim_start();
                continue;
            }
            ';' => break,
            '"' => string(&rest[1..])?,
            _ => {
                let ends =
                    |character: char| character.is_whitespace() || "();\"".contains(character);
                let end = rest.find(ends).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(Word { text: word });
        rest = after.trim_start();
    }
    Ok(words)
}

/// A string up to its quote, in which `\` takes a quote or a `\` as it is.
fn string(text: &str) -> Result<(String, &str), String> {
    let mut string = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((string, &text[index + 1..])),
            '\\' => string.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => string.push(character),
        }
    }
    Err("a string is never closed: expected \"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_zone_files_have_them() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        for (text, ttl, data) in [
            (
                "a.example. 60 IN A 192.0.2.1",
                60,
                Data::A([192, 0, 2, 1].into()),
            ),
            (
                "a.example IN 60 A 192.0.2.1",
                60,
                Data::A([192, 0, 2, 1].into()),
            ),
            (
                "a.example A 192.0.2.1 ; why",
                3600,
                Data::A([192, 0, 2, 1].into()),
            ),
            (
                "a.example 5 AAAA ::1",
                5,
                Data::Aaaa("::1".parse().unwrap()),
            ),
            (
                "a.example 5 CNAME b.example",
                5,
                Data::Cname(name("b.example")),
            ),
            (
                "a.example 5 IN MX 10 b.",
                5,
                Data::Mx {
                    preference: 10,
                    exchange: name("b"),
                },
            ),
            (
                "a.example 5 IN SRV 1 2 3 b.",
                5,
                Data::Srv {
                    priority: 1,
                    weight: 2,
                    port: 3,
                    target: name("b"),
                },
            ),
            (
                "a.example. 5 IN SOA b. c. (1 2\n 3 4 5)",
                5,
                Data::Soa(Soa {
                    primary: name("b"),
                    mailbox: name("c"),
                    serial: 1,
                    refresh: 2,
                    retry: 3,
                    expire: 4,
                    minimum: 5,
                }),
            ),
            (
                r#"a.example 5 TXT "a \"b" c"#,
                5,
                Data::Other(Kind::TXT, b"\x04a \"b\x01c"),
            ),
            (
                r#"a.example 5 CAA 0 issue "ca.example""#,
                5,
                Data::Other(Kind::CAA, b"\0\x05issueca.example"),
            ),
            (
                r"a.example 5 TYPE731 \# 3 0102 ff",
                5,
                Data::Other(Kind(731), &[1, 2, 255]),
            ),
        ] {
            let record = record(text).unwrap();
            assert_eq!((record.ttl, record.data()), (ttl, data), "{text}");
        }
    }

    #[test]
    fn what_is_no_record_is_named() {
        for (text, expected) in [
            ("", "is empty"),
            ("a.example 60 IN", "has no type"),
            ("a..example 60 IN A 192.0.2.1", "empty label"),
            ("a.example 60 IN A 192.0.2.256", "does not fit"),
            (
                "a.example 60 IN A 192.0.2.1 192.0.2.2",
                "expected one value",
            ),
            ("a.example 60 IN SOA a b 1", "do not make one"),
            ("a.example 60 IN WHAT b", "none of DNS"),
            ("a.example 60 IN NAPTR b", "write it as"),
            ("a.example 60 IN TXT \"b", "never closed"),
            (r"a.example 5 TYPE731 \# 3 0102", "expected 3 bytes"),
            (r"a.example 5 TYPE731 \# 1 010", "expected 1 bytes"),
        ] {
            let fault = record(text).unwrap_err();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }
}
