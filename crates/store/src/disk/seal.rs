//! The seal behind redb's header: who wrote it last, and that it is whole.
//!
//! ```text
//! offset   0  redb's header, 320 bytes: which of its two roots is the newest
//!        320  "sealane" 1 · boot u64 · FNV-1a of everything before u64      (little-endian)
//!        344  nothing, up to the first page at 4096
//! ```
//!
//! redb finds damage by the checksums of its pages, but takes a damaged newest state for one that
//! was cut short by a loss of power, and goes back to the state before it without a word. That is
//! right only if the machine did stop since. The seal lies in the same disk sector as the header,
//! so both are written or neither is; it tells in which run of this machine the newest state was
//! written, and shows any change of the header itself.

/// The bytes of redb's header: its own and the two commit slots.
pub(crate) const HEADER: usize = 320;
/// The bytes of a header and its seal.
pub(crate) const SEALED: usize = HEADER + SEAL;

const SEAL: usize = 24;
const MAGIC: [u8; 8] = *b"sealane\x01";
/// What every redb file begins with.
const REDB: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// Offset and bit of the mark that redb trusts without looking: "the newest state is surely whole".
const GOD_BYTE: usize = REDB.len();
const TWO_PHASE: u8 = 4;

/// One run of this machine, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boot(pub u64);

impl Boot {
    /// The present one; a machine that does not tell gives one that equals every other.
    pub fn current() -> Self {
        let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(fnv(&id))
    }
}

/// What a header says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// It is as it was written, in this run of the machine.
    Whole(Boot),
    /// It was written by a version that did not seal.
    None,
}

/// The header with its seal.
pub(crate) fn seal(header: &[u8], boot: Boot) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(header.len() + SEAL);
    sealed.extend_from_slice(header);
    sealed.extend(MAGIC);
    sealed.extend(boot.0.to_le_bytes());
    sealed.extend(fnv(&sealed).to_le_bytes());
    sealed
}

/// Reads the first bytes of a file, or says what is wrong with them.
pub(crate) fn inspect(start: &[u8]) -> Result<Seal, &'static str> {
    if start.is_empty() {
        return Err("it is empty");
    }
    if !start.starts_with(&REDB[..REDB.len().min(start.len())]) {
        return Err("it does not begin as a store does");
    }
    let Some((sealed, hash)) = start.get(..SEALED).and_then(<[u8]>::split_last_chunk::<8>) else {
        return Err("it ends within its header");
    };
    let seal = &start[HEADER..SEALED];
    if seal.iter().all(|byte| *byte == 0) {
        return Ok(Seal::None);
    }
    if *hash != fnv(sealed).to_le_bytes() || !seal.starts_with(&MAGIC) {
        return Err("its header does not match its checksum");
    }
    let boot = seal[8..16].try_into().expect("eight bytes were cut out");
    Ok(Seal::Whole(Boot(u64::from_le_bytes(boot))))
}

/// Makes redb look at every page instead of trusting what it noted when it was closed.
pub(crate) fn distrust(offset: u64, bytes: &mut [u8]) {
    let at = usize::try_from(offset).ok();
    if let Some(byte) = at.and_then(|at| bytes.get_mut(GOD_BYTE.checked_sub(at)?)) {
        *byte &= !TWO_PHASE;
    }
}

/// FNV-1a, which sees every single changed byte; what was changed on purpose is not looked for.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut header = vec![7; HEADER];
        header[..REDB.len()].copy_from_slice(&REDB);
        header
    }

    #[test]
    fn a_seal_shows_every_changed_byte() {
        let whole = seal(&header(), Boot(9));
        assert_eq!(inspect(&whole), Ok(Seal::Whole(Boot(9))));
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(inspect(&changed).is_err(), "byte {at}");
            assert!(inspect(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn older_files_have_none() {
        let mut old = header();
        old.resize(4096, 0);
        assert_eq!(inspect(&old), Ok(Seal::None));
        assert!(inspect(&vec![0; 4096]).is_err());
    }

    #[test]
    fn the_mark_is_hidden_wherever_the_read_begins() {
        let mut bytes = vec![0xff; 20];
        distrust(0, &mut bytes);
        assert_eq!((bytes[8], bytes[9], bytes[10]), (0xff, 0xfb, 0xff));
        let mut bytes = vec![0xff; 4];
        distrust(9, &mut bytes);
        assert_eq!(bytes[0], 0xfb);
        distrust(10, &mut bytes);
        assert_eq!(bytes[1], 0xff);
        distrust(0, &mut bytes);
    }
}
