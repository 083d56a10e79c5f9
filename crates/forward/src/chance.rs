//! Randomness: what nobody may guess comes from the kernel.

use std::io;

/// Random bytes.
///
/// # Errors
///
/// The kernel has none to give, which it has from early at boot.
pub fn bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The id of a message.
///
/// # Errors
///
/// As for [`bytes`].
pub fn id() -> io::Result<u16> {
    bytes().map(u16::from_ne_bytes)
}

/// A number.
///
/// # Errors
///
/// As for [`bytes`].
pub fn number() -> io::Result<u64> {
    bytes().map(u64::from_ne_bytes)
}
