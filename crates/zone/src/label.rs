//! Labels of names, as objects write them and as messages carry them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use sealane_message::{Name, NameFault};

/// One label, in lower case.
pub(crate) type Label = Arc<[u8]>;

/// A Service's name and namespace, as they stand beside each other in a message:
/// `\x03web\x07default`.
pub(crate) type Key = Arc<[u8]>;

const MAX_LABEL_BYTES: usize = 63;

/// `text` as a label, if it may be one: letters, digits, hyphens and underscores (RFC 1123 §2.1; ports of a
/// slice may be called anything). A dot inside of a label would be read as two by most clients.
pub(crate) fn label(text: &str) -> Option<Vec<u8>> {
    let fits = (1..=MAX_LABEL_BYTES).contains(&text.len());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (fits && text.bytes().all(is_plain)).then(|| text.to_ascii_lowercase().into_bytes())
}

/// The key of a Service; none of one whose name cannot be one.
pub(crate) fn key(namespace: &str, name: &str) -> Option<Key> {
    Some(join(&label(name)?, &label(namespace)?).into())
}

/// The key of a Service, of labels that are such.
pub(crate) fn join(name: &[u8], namespace: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + namespace.len() + 2);
    for label in [name, namespace] {
        key.push(label.len() as u8);
        key.extend(label);
    }
    key
}

/// The labels of a key: the Service's and its namespace's.
pub(crate) fn parts(key: &[u8]) -> (&[u8], &[u8]) {
    let (name, rest) = key[1..].split_at(usize::from(key[0]));
    (name, &rest[1..])
}

/// A label as text; it is ASCII.
pub(crate) fn text(label: &[u8]) -> String {
    String::from_utf8_lossy(label).into_owned()
}

/// The name of a Service in `domain`.
pub(crate) fn service_name(key: &[u8], domain: &Name) -> Result<Name, NameFault> {
    let (name, namespace) = parts(key);
    let labels = [name, namespace, b"svc"];
    Name::from_labels(labels.into_iter().chain(domain.labels()))
}

/// The name of an endpoint without a hostname: its address with hyphens, as CoreDNS writes it.
///
/// A label must not end in a hyphen, so an address that ends in colons gets a zero behind them.
pub(crate) fn dashed(address: IpAddr) -> String {
    let text = address.to_string().replace(['.', ':'], "-");
    match text.ends_with('-') {
        true => text + "0",
        false => text,
    }
}

/// The address that a label spells with hyphens.
pub(crate) fn undashed(label: &[u8]) -> Option<IpAddr> {
    if label.contains(&b'.') || label.contains(&b':') {
        return None;
    }
    // The longest address, `ffff:…:ffff`, has 39 letters.
    let mut letters = [0; 39];
    let letters = letters.get_mut(..label.len())?;
    spell(letters, label, b'.');
    if let Some(address) = parse::<Ipv4Addr>(letters) {
        return Some(address.into());
    }
    spell(letters, label, b':');
    parse::<Ipv6Addr>(letters).map(IpAddr::from)
}

fn spell(letters: &mut [u8], label: &[u8], separator: u8) {
    for (letter, given) in letters.iter_mut().zip(label) {
        *letter = if *given == b'-' { separator } else { *given };
    }
}

fn parse<T: FromStr>(letters: &[u8]) -> Option<T> {
    std::str::from_utf8(letters).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_labels_and_back() {
        for (address, label) in [
            ("10.244.1.2", "10-244-1-2"),
            ("fd00:10:244::5", "fd00-10-244--5"),
            ("fd00::", "fd00--0"),
            ("::1", "--1"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(dashed(address), label);
            assert_eq!(undashed(label.as_bytes()), Some(address), "{label}");
        }
        for label in [
            "web",
            "10-244-1",
            "10-244-1-256",
            "10.244.1.2",
            "",
            "1-2-3-4-5",
        ] {
            assert_eq!(undashed(label.as_bytes()), None, "{label}");
        }
    }

    #[test]
    fn only_what_clients_read_as_one_label_is_one() {
        assert_eq!(label("Web-0").as_deref(), Some(&b"web-0"[..]));
        let long = "a".repeat(64);
        for wrong in ["", "a.b", "a b", "ä", long.as_str()] {
            assert_eq!(label(wrong), None, "{wrong}");
        }
        assert_eq!(
            key("default", "web").as_deref(),
            Some(&b"\x03web\x07default"[..])
        );
    }
}
