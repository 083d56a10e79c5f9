//! Names of chains, by kube-proxy's own hashing.

use std::fmt::Display;

use hmac_sha256::Hash;

/// How many bytes of the hash 16 digits of base 32 tell.
const BYTES: usize = 10;
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The chain of a Service's port: `start` is `KUBE-SVC`, `KUBE-SVL`, `KUBE-EXT` or `KUBE-FW`.
///
/// `port` is the name that comments have, `default/web:http`, and `protocol` in small letters.
pub fn chain(start: &str, port: &str, protocol: &str) -> String {
    format!("{start}-{}", hashed(&[port, protocol]))
}

/// The chain of one endpoint of a Service's port: `KUBE-SEP-…`.
pub fn endpoint_chain(port: &str, protocol: &str, endpoint: impl Display) -> String {
    format!(
        "KUBE-SEP-{}",
        hashed(&[port, protocol, &endpoint.to_string()])
    )
}

/// The first 16 digits of the base-32 form (RFC 4648 §6) of the SHA-256 of all words behind each other.
fn hashed(words: &[&str]) -> String {
    let hash = Hash::hash(words.concat().as_bytes());
    let (mut bits, mut count, mut text) = (0_u32, 0, String::with_capacity(16));
    for byte in &hash[..BYTES] {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(DIGITS[(bits >> count & 31) as usize].into());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_that_every_cluster_has() {
        for (port, protocol, expected) in [
            (
                "default/kubernetes:https",
                "tcp",
                "KUBE-SVC-NPX46M4PTMTKRN6Y",
            ),
            (
                "kube-system/kube-dns:dns",
                "udp",
                "KUBE-SVC-TCOU7JCQXEZGVUNU",
            ),
            (
                "kube-system/kube-dns:dns-tcp",
                "tcp",
                "KUBE-SVC-ERIFXISQEP7F7OF4",
            ),
            (
                "kube-system/kube-dns:metrics",
                "tcp",
                "KUBE-SVC-JD5MR3NA4I4DYORP",
            ),
        ] {
            assert_eq!(chain("KUBE-SVC", port, protocol), expected);
        }
    }
}
