//! Data of old kinds that hold names, which a sender might compress although RFC 3597 §4 forbids it.
//!
//! Such data are copied as they are. A pointer in them would lead somewhere else in our message than it did
//! in the sender's, so a reply with one is refused. Nobody is known to send them.

use sealane_message::{Kind, Malformed, Name};

/// Part of a record's data.
enum Part {
    Bytes(usize),
    Text,
    Name,
}

use Part::{Bytes, Name as Domain, Text};

/// How the data of a kind begin, as far as their last name.
fn parts(kind: Kind) -> &'static [Part] {
    match kind.0 {
        // MD, MF, MB, MG, MR, NXT, DNAME
        3 | 4 | 7 | 8 | 9 | 30 | 39 => &[Domain],
        // MINFO, RP
        14 | 17 => &[Domain, Domain],
        // AFSDB, RT, KX
        18 | 21 | 36 => &[Bytes(2), Domain],
        // SIG, RRSIG
        24 | 46 => &[Bytes(18), Domain],
        // PX
        26 => &[Bytes(2), Domain, Domain],
        // NAPTR
        35 => &[Bytes(4), Text, Text, Text, Domain],
        // NSEC
        47 => &[Domain],
        _ => &[],
    }
}

/// Whether all names in `data` are written out.
///
/// # Errors
///
/// One is not, or the data end early.
pub fn check(kind: Kind, data: &[u8]) -> Result<(), Malformed> {
    let mut rest = data;
    for part in parts(kind) {
        let length = match part {
            Bytes(count) => *count,
            Text => 1 + usize::from(*rest.first().ok_or(Malformed::Data(kind))?),
            Domain => Name::from_wire(rest)?.len(),
        };
        rest = rest.get(length..).ok_or(Malformed::Data(kind))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_written_out_pass_and_pointers_do_not() {
        let naptr = b"\0\x01\0\x02\x01s\x03abc\0\x01a\0";
        assert_eq!(check(Kind::NAPTR, naptr), Ok(()));
        assert_eq!(check(Kind::DNAME, b"\x01a\0"), Ok(()));
        assert_eq!(check(Kind::TXT, b"\xc0\x0c"), Ok(()), "no name in it");
        for (kind, data) in [
            (Kind::DNAME, &b"\x01a\xc0\x0c"[..]),
            (Kind::NAPTR, b"\0\x01\0\x02\x01s\x03abc\0\xc0\x0c"),
            (Kind::NAPTR, b"\0\x01\0\x02\x01s\xff"),
            (Kind::RRSIG, b"\0\x01"),
        ] {
            assert!(check(kind, data).is_err(), "{kind}");
        }
    }
}
