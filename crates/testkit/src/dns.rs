//! Questions of DNS, made by hand: what is tested should not be what asks.

/// Types of records.
pub const A: u16 = 1;
/// IPv6 addresses.
pub const AAAA: u16 = 28;

/// A question without EDNS, in the class IN (RFC 1035 §4.1). `name` has no dot at its end.
pub fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    bytes
}
