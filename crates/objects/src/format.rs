//! Formats of texts, as `k8s.io/apimachinery/pkg/util/validation` has them. Each check returns
//! what is wrong, in its words; nothing if the text is right.

use std::net::IpAddr;

const DNS_LABEL_MAX: usize = 63;
const DNS_SUBDOMAIN_MAX: usize = 253;

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric \
    characters or '-', start with an alphabetic character, and end with an alphanumeric character \
    (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const WILDCARD_MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a \
    valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
    end with an alphanumeric character (e.g. '*.example.com', regex used for validation is \
    '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_MESSAGE: &str = "name part must consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of \
    alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_MESSAGE: &str = "a valid config key must consist of alphanumeric characters, \
    '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation \
    is '[-._a-zA-Z0-9]+')";
const ENV_MESSAGE: &str = "a valid environment variable name must consist only of printable ASCII \
    characters other than '='";

/// What is said of a text that is no IP address.
pub const IP_ADDRESS_MESSAGE: &str =
    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// RFC 1123 label: names of namespaces, containers, volumes.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        wrong.push(too_long(DNS_LABEL_MAX));
    }
    if !is_label(text) {
        let message = if is_subdomain(text) {
            "must not contain dots".into()
        } else {
            LABEL_MESSAGE.into()
        };
        wrong.push(message);
    }
    wrong
}

/// RFC 1123 subdomain: names of most objects.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        wrong.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    if !is_subdomain(text) {
        wrong.push(SUBDOMAIN_MESSAGE.into());
    }
    wrong
}

/// All names directly below an RFC 1123 subdomain: hosts of Ingresses.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let below = text.strip_prefix("*.");
    if text.len() <= DNS_SUBDOMAIN_MAX && below.is_some_and(is_subdomain) {
        return Vec::new();
    }
    vec![WILDCARD_MESSAGE.into()]
}

/// The name of an IPAddress: the address, as Kubernetes writes it.
pub fn canonical_ip(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec![IP_ADDRESS_MESSAGE.into()],
        Ok(address) if address.to_string() != text => {
            vec![format!(
                "must be in canonical form ({:?})",
                address.to_string()
            )]
        }
        Ok(_) => Vec::new(),
    }
}

/// RFC 1035 label: names of Services.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        wrong.push(too_long(DNS_LABEL_MAX));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        wrong.push(LABEL_1035_MESSAGE.into());
    }
    wrong
}

/// What can stand between two slashes of a path: names of roles.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    let wrong = ['/', '%'].into_iter().filter(|c| text.contains(*c));
    wrong.map(|c| format!("may not contain '{c}'")).collect()
}

/// A name with an optional prefix of a domain: keys of labels and annotations, finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')",
                QUALIFIED_MESSAGE.trim_start_matches("name part ")
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut wrong = Vec::new();
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".into()),
        Some(prefix) => {
            wrong.extend(
                dns_subdomain(prefix)
                    .into_iter()
                    .map(|why| format!("prefix part {why}")),
            );
        }
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > DNS_LABEL_MAX {
        wrong.push(format!("name part {}", too_long(DNS_LABEL_MAX)));
    }
    if !is_qualified(name) {
        wrong.push(QUALIFIED_MESSAGE.into());
    }
    wrong
}

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        wrong.push(too_long(DNS_LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified(text) {
        wrong.push(LABEL_VALUE_MESSAGE.into());
    }
    wrong
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        wrong.push(too_long(DNS_SUBDOMAIN_MAX));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        wrong.push(CONFIG_KEY_MESSAGE.into());
    }
    if text == "." || text == ".." {
        wrong.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".into());
    }
    wrong
}

/// The name of an environment variable.
pub fn env_name(text: &str) -> Vec<String> {
    let printable = text
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if printable {
        Vec::new()
    } else {
        vec![ENV_MESSAGE.into()]
    }
}

/// The name of a port (IANA service name).
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters".into());
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".into());
    }
    wrong
}

/// An IP address.
pub fn ip_address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec![IP_ADDRESS_MESSAGE.into()],
    }
}

/// A subnet.
pub fn cidr(text: &str) -> Vec<String> {
    match text.parse::<ipnet::IpNet>() {
        Ok(_) => Vec::new(),
        Err(_) => {
            vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()]
        }
    }
}

/// An absolute path or any other text without `..` steps: targets of volume mounts.
pub fn no_backsteps(text: &str) -> Vec<String> {
    if text.split('/').any(|part| part == "..") {
        return vec!["must not contain '..'".into()];
    }
    Vec::new()
}

/// What is wrong with a quantity that may not be negative.
pub fn quantity(text: &str) -> Option<&'static str> {
    const GRAMMAR: &str = "quantities must match the regular expression \
        '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let number = text.trim_start_matches(['+', '-']);
    let digits = number
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(number.len());
    let (amount, suffix) = number.split_at(digits);
    let known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .is_some_and(|e| e.parse::<i32>().is_ok());
    if amount.parse::<f64>().is_err() || !(known.contains(&suffix) || exponent) {
        return Some(GRAMMAR);
    }
    text.starts_with('-')
        .then_some("must be greater than or equal to 0")
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kubernetes_judges_them() {
        type Judge = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let very_long = "a".repeat(254);
        let cases: [(Judge, &[&str], &[&str]); 11] = [
            (
                wildcard_subdomain,
                &["*.a", "*.example.com"],
                &["*", "*.", "a.*", "*.*.a", "*.A"],
            ),
            (path_segment, &["a", "a:b"], &[".", "..", "a/b", "50%"]),
            (
                canonical_ip,
                &["10.0.0.1", "fd00::1"],
                &["", "10.0.0.01", "FD00::1", "fd00:0::1", "x"],
            ),
            (
                dns_label,
                &["a", "a-b", "1a"],
                &["", "A", "a.b", "-a", "a-", "a_b", &long],
            ),
            (
                dns_subdomain,
                &["a", "a.b-c.1", &long],
                &["", "a..b", ".a", "a.", "A.b", &very_long],
            ),
            (dns_1035_label, &["a", "a-1"], &["", "1a", "a.b", "A"]),
            (
                qualified_name,
                &["a", "A_b.c", "example.com/Name"],
                &["", "/a", "a/", "a/b/c", "-a", "Example.com/a", &long],
            ),
            (
                label_value,
                &["", "A_b.c", "1"],
                &["-a", "a b", "a-", &long],
            ),
            (
                config_key,
                &["a", ".x", "A_b-c", "ca.crt"],
                &["", ".", "..", "..a", "a/b", "a b"],
            ),
            (
                port_name,
                &["http", "p1", "a-b"],
                &["1", "a--b", "-a", "A", "abcdefghijklmnop"],
            ),
            (env_name, &["A", "a.b", "x y"], &["a=b", "ä"]),
        ];
        for (number, (judge, right, wrong)) in cases.into_iter().enumerate() {
            for text in right {
                assert_eq!(judge(text), [""; 0], "case {number}, {text:?}");
            }
            for text in wrong {
                assert!(!judge(text).is_empty(), "case {number}, {text:?} passed");
            }
        }
    }

    #[test]
    fn quantities() {
        for right in ["1", "0.5", "100m", "1Gi", "12e6", "1E3", "5E", "+1"] {
            assert_eq!(quantity(right), None, "{right}");
        }
        for wrong in ["", "x", "1Qi", "1 Gi", "-1", "1.2.3", "Gi"] {
            assert!(quantity(wrong).is_some(), "{wrong}");
        }
    }
}
