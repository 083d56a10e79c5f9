//! What a name in a layer means: a file, or the absence of one (OCI image layer spec, whiteouts).

use std::io;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry's last name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Itself.
    Itself,
    /// This name does not exist, whatever is below.
    Gone(&'a [u8]),
    /// Nothing of what is below shows in this directory.
    Opaque,
    /// Bookkeeping of aufs, which is not for us.
    Nothing,
}

pub(super) fn meaning(name: &[u8]) -> io::Result<Meaning<'_>> {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Ok(Meaning::Itself);
    };
    match rest {
        _ if name == OPAQUE => Ok(Meaning::Opaque),
        _ if rest.starts_with(PREFIX) => Ok(Meaning::Nothing),
        b"" | b"." | b".." => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a whiteout of nothing",
        )),
        name => Ok(Meaning::Gone(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_are_known_by_their_names() {
        assert_eq!(meaning(b"a").unwrap(), Meaning::Itself);
        assert_eq!(meaning(b".wha").unwrap(), Meaning::Itself);
        assert_eq!(meaning(b".wh.a").unwrap(), Meaning::Gone(b"a"));
        assert_eq!(meaning(b".wh..wh..opq").unwrap(), Meaning::Opaque);
        assert_eq!(meaning(b".wh..wh.plnk").unwrap(), Meaning::Nothing);
        for bad in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(meaning(bad).is_err());
        }
    }
}
