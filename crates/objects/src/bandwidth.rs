//! How a pod's annotations ask for bandwidth, as the kubelet reads them.

use crate::quantity;

/// Of what a pod receives.
pub const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
/// Of what a pod sends.
pub const EGRESS: &str = "kubernetes.io/egress-bandwidth";

/// Bits in a second; `None` when that is no amount from 1k to 1P.
pub fn bits(text: &str) -> Option<u64> {
    quantity::units(text).filter(|bits| is_sensible(*bits))
}

/// Whether an amount of bits in a second is one that the kubelet accepts.
pub fn is_sensible(bits: u64) -> bool {
    const LEAST: u64 = 1_000;
    const MOST: u64 = 1_000_000_000_000_000;
    (LEAST..=MOST).contains(&bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_quantities_from_1k_to_1p() {
        for (text, expected) in [
            ("1k", 1_000),
            ("10M", 10_000_000),
            ("1P", 1_000_000_000_000_000),
            ("1Ki", 1024),
        ] {
            assert_eq!(bits(text), Some(expected), "{text}");
        }
        for text in ["", "999", "2P", "fast", "-1M", "10Mbit"] {
            assert_eq!(bits(text), None, "{text}");
        }
    }
}
