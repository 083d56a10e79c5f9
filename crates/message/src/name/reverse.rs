//! Names of addresses: `in-addr.arpa` (RFC 1035 §3.5) and `ip6.arpa` (RFC 3596 §2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Name;

impl Name {
    /// The name that PTR records of `address` are at.
    #[must_use]
    pub fn reverse(address: IpAddr) -> Self {
        let mut name = Self::ROOT;
        let mut push = |label: &[u8]| {
            let fits = name.push(label);
            debug_assert!(fits.is_ok(), "32 labels of one byte and two more fit");
        };
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets().iter().rev() {
                    push(octet.to_string().as_bytes());
                }
                push(b"in-addr");
            }
            IpAddr::V6(address) => {
                for octet in address.octets().iter().rev() {
                    push(&[hex_digit(octet & 0xF)]);
                    push(&[hex_digit(octet >> 4)]);
                }
                push(b"ip6");
            }
        }
        push(b"arpa");
        name
    }

    /// The address whose PTR records are at this name, if it is one of a whole address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let mut labels = [&[][..]; 34];
        let mut count = 0;
        for label in self.labels() {
            *labels.get_mut(count)? = label;
            count += 1;
        }
        match &labels[..count] {
            [octets @ .., b"in-addr", b"arpa"] if octets.len() == 4 => v4(octets),
            [digits @ .., b"ip6", b"arpa"] if digits.len() == 32 => v6(digits),
            _ => None,
        }
    }
}

fn v4(labels: &[&[u8]]) -> Option<IpAddr> {
    let mut octets = [0; 4];
    for (octet, label) in octets.iter_mut().zip(labels.iter().rev()) {
        // One spelling for one address: no leading zero, no sign.
        if label.iter().any(|byte| !byte.is_ascii_digit()) || (label.len() > 1 && label[0] == b'0')
        {
            return None;
        }
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Some(Ipv4Addr::from(octets).into())
}

fn v6(labels: &[&[u8]]) -> Option<IpAddr> {
    let mut bits = 0_u128;
    for label in labels.iter().rev() {
        let [digit] = label else { return None };
        bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
    }
    Some(Ipv6Addr::from(bits).into())
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value)]
}
