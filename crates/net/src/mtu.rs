use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest packet, in bytes, that a link carries; at least what IPv6 needs, at most what Linux allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mtu(u32);

/// A number that cannot be an MTU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use MTU {0}: expected {min} to {max} bytes", min = Mtu::MIN.0, max = Mtu::MAX.0)]
pub struct MtuError(u32);

impl Mtu {
    /// The smallest link that IPv6 may use (RFC 8200 §5); IPv4 would do with 576 and Linux with 68.
    pub const MIN: Mtu = Mtu(1280);
    /// The largest that Linux accepts on an Ethernet-like link, `ETH_MAX_MTU`.
    pub const MAX: Mtu = Mtu(65535);
    /// Plain Ethernet.
    pub const ETHERNET: Mtu = Mtu(1500);

    /// Checks the number of bytes.
    ///
    /// # Errors
    /// When it lies outside [`Mtu::MIN`] to [`Mtu::MAX`].
    pub fn new(bytes: u32) -> Result<Self, MtuError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(MtuError(bytes))
        }
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// What is left inside a tunnel that adds `overhead` bytes, never less than [`Mtu::MIN`].
    pub fn inside_tunnel(self, overhead: u32) -> Self {
        Self(self.0.saturating_sub(overhead)).max(Self::MIN)
    }
}

impl Default for Mtu {
    fn default() -> Self {
        Self::ETHERNET
    }
}

impl TryFrom<u32> for Mtu {
    type Error = MtuError;

    fn try_from(bytes: u32) -> Result<Self, MtuError> {
        Self::new(bytes)
    }
}

impl From<Mtu> for u32 {
    fn from(mtu: Mtu) -> u32 {
        mtu.0
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_both_families_can_use() {
        for (bytes, accepted) in [
            (0, false),
            (1279, false),
            (1280, true),
            (1500, true),
            (65535, true),
            (65536, false),
        ] {
            assert_eq!(Mtu::new(bytes).is_ok(), accepted, "{bytes}");
        }
        assert_eq!(
            Mtu::new(576).unwrap_err().to_string(),
            "use MTU 576: expected 1280 to 65535 bytes"
        );
    }

    #[test]
    fn shrinks_inside_a_tunnel_but_not_below_the_minimum() {
        assert_eq!(Mtu::ETHERNET.inside_tunnel(50).bytes(), 1450);
        assert_eq!(Mtu::MIN.inside_tunnel(50), Mtu::MIN);
    }
}
