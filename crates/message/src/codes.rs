//! The numbers of DNS that we know by name.

use std::{fmt, str::FromStr};

/// A newtype whose known values have names.
macro_rules! codes {
    (
        $(#[$about:meta])* $name:ident($inner:ty), $unknown:literal;
        $($(#[$note:meta])* $constant:ident = $value:literal, $text:literal;)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl $name {
            $($(#[$note])* #[allow(missing_docs, reason = "its name in the protocol")]
            pub const $constant: Self = Self($value);)*

            /// Its name in the protocol, if it is one that we know.
            #[must_use]
            pub fn known(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.known() {
                    Some(text) => f.pad(text),
                    None => write!(f, concat!($unknown, "{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// By name, in any case, or by number as RFC 3597 writes it.
            fn from_str(text: &str) -> Result<Self, String> {
                $(if text.eq_ignore_ascii_case($text) {
                    return Ok(Self($value));
                })*
                let number = text
                    .get(..$unknown.len())
                    .filter(|start| start.eq_ignore_ascii_case($unknown))
                    .and_then(|_| text[$unknown.len()..].parse().ok());
                number.map(Self).ok_or_else(|| {
                    format!(concat!("{:?} is none of DNS; write a name or ", $unknown, "NUMBER"), text)
                })
            }
        }
    };
}

codes! {
    /// What kind of record: the protocol's TYPE.
    Kind(u16), "TYPE";
    A = 1, "A";
    NS = 2, "NS";
    CNAME = 5, "CNAME";
    SOA = 6, "SOA";
    PTR = 12, "PTR";
    HINFO = 13, "HINFO";
    MX = 15, "MX";
    TXT = 16, "TXT";
    AAAA = 28, "AAAA";
    SRV = 33, "SRV";
    NAPTR = 35, "NAPTR";
    DNAME = 39, "DNAME";
    /// Not a record: EDNS (RFC 6891).
    OPT = 41, "OPT";
    DS = 43, "DS";
    RRSIG = 46, "RRSIG";
    NSEC = 47, "NSEC";
    DNSKEY = 48, "DNSKEY";
    NSEC3 = 50, "NSEC3";
    SVCB = 64, "SVCB";
    HTTPS = 65, "HTTPS";
    TSIG = 250, "TSIG";
    /// A question only: what has changed in a zone.
    IXFR = 251, "IXFR";
    /// A question only: a whole zone.
    AXFR = 252, "AXFR";
    /// A question only: whatever there is (RFC 8482).
    ANY = 255, "ANY";
    CAA = 257, "CAA";
}

impl Kind {
    /// Whether such a record is an address.
    #[must_use]
    pub fn is_address(self) -> bool {
        matches!(self, Self::A | Self::AAAA)
    }
}

codes! {
    /// The protocol's CLASS: the Internet's, but for questions about the server.
    Class(u16), "CLASS";
    IN = 1, "IN";
    CHAOS = 3, "CH";
    NONE = 254, "NONE";
    ANY = 255, "ANY";
}

codes! {
    /// How a question ended; 12 bits, of which the upper 8 travel in OPT (RFC 6891 §6.1.3).
    Rcode(u16), "RCODE";
    NOERROR = 0, "NOERROR";
    FORMERR = 1, "FORMERR";
    SERVFAIL = 2, "SERVFAIL";
    NXDOMAIN = 3, "NXDOMAIN";
    NOTIMP = 4, "NOTIMP";
    REFUSED = 5, "REFUSED";
    BADVERS = 16, "BADVERS";
    BADCOOKIE = 23, "BADCOOKIE";
}

codes! {
    /// What a message wants; 4 bits.
    Opcode(u8), "OPCODE";
    QUERY = 0, "QUERY";
    IQUERY = 1, "IQUERY";
    STATUS = 2, "STATUS";
    NOTIFY = 4, "NOTIFY";
    UPDATE = 5, "UPDATE";
}
