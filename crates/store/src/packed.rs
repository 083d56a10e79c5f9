//! Objects as they are kept, in memory and in the file: packed by LZ4, with the help of a
//! dictionary.
//!
//! Objects of one bucket resemble each other: names of fields, owners of fields, defaults. Packed
//! by itself a pod of 4.4 KB, half of which is a text of its own, takes 3.3 KB; beside a few others
//! of its bucket, to which it only has to refer, 1.3 KB, and less the more it is like them. It is
//! unpacked in some 5 us, so lists stay fast. Zstandard was rejected, unmeasured: it packs better,
//! but it is known to take longer to unpack, and it is C.
//!
//! Which objects are a dictionary is decided in [`packer`](crate::packer).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use lz4_flex::block;

/// What LZ4 can make of one byte at most, rounded up: whoever says more is damaged.
const MOST_OF_A_BYTE: usize = 256;

/// Bytes that objects which are packed with it refer to. It never changes.
pub(crate) struct Dictionary {
    /// Its name in the file; never 0, which stands for none.
    pub id: u32,
    pub bytes: Box<[u8]>,
    /// The newest revision that was packed with it.
    pub used: AtomicU64,
}

impl Dictionary {
    /// Notes that `revision` is packed with it.
    pub fn use_at(&self, revision: u64) {
        self.used.fetch_max(revision, Ordering::Relaxed);
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("id", &self.id)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// An encoded object as it is kept. Clones share it.
#[derive(Clone)]
pub struct Packed {
    dictionary: Option<Arc<Dictionary>>,
    /// Bytes of the object itself. If as many are kept, they are the object.
    len: u32,
    bytes: Arc<[u8]>,
}

/// The same as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedRow<'a> {
    /// 0 if there is none.
    pub dictionary: u32,
    pub len: u32,
    pub bytes: &'a [u8],
}

impl Packed {
    /// Packs `object`, unless that saves less than an eighth. `scratch` is for the work.
    pub(crate) fn pack(
        object: &[u8],
        dictionary: Option<&Arc<Dictionary>>,
        scratch: &mut Vec<u8>,
    ) -> Self {
        let most = block::get_maximum_output_size(object.len());
        if scratch.len() < most {
            scratch.resize(most, 0);
        }
        let with = dictionary.map_or(&[][..], |dictionary| &dictionary.bytes);
        let packed = block::compress_into_with_dict(object, scratch, with)
            .expect("there is room for the worst case");
        if packed > object.len() - (object.len() >> 3) {
            return Self::from(object);
        }
        Self {
            dictionary: dictionary.cloned(),
            len: len_of(object),
            bytes: scratch[..packed].into(),
        }
    }

    /// Takes an object from the file, without a look at whether it can be unpacked.
    pub(crate) fn from_row(row: PackedRow<'_>, dictionary: Option<Arc<Dictionary>>) -> Self {
        Self {
            dictionary,
            len: row.len,
            bytes: row.bytes.into(),
        }
    }

    /// The object, of one that comes from the file; `None` if it cannot be read.
    pub(crate) fn try_unpack(&self) -> Option<Vec<u8>> {
        if self.len() > self.bytes.len().saturating_mul(MOST_OF_A_BYTE) {
            return None;
        }
        let mut object = Vec::new();
        self.try_append_to(&mut object)?;
        Some(object)
    }

    /// As it is written to the file.
    pub(crate) fn row(&self) -> PackedRow<'_> {
        PackedRow {
            dictionary: self.dictionary.as_ref().map_or(0, |it| it.id),
            len: self.len,
            bytes: &self.bytes,
        }
    }

    /// The object.
    pub fn unpack(&self) -> Bytes {
        let mut object = Vec::new();
        self.append_to(&mut object);
        object.into()
    }

    /// Writes the object to the end of `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.try_append_to(out)
            .expect("it was packed here, or unpacked when it was read");
    }

    fn try_append_to(&self, out: &mut Vec<u8>) -> Option<()> {
        if self.is_plain() {
            out.extend_from_slice(&self.bytes);
            return Some(());
        }
        let with = self.dictionary.as_ref().map_or(&[][..], |it| &it.bytes);
        let start = out.len();
        out.resize(start + self.len(), 0);
        let written = block::decompress_into_with_dict(&self.bytes, &mut out[start..], with);
        written.is_ok_and(|len| len == self.len()).then_some(())
    }

    fn is_plain(&self) -> bool {
        self.bytes.len() == self.len()
    }

    /// Bytes of the object.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the object has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are kept of it.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }
}

impl From<&[u8]> for Packed {
    /// The object as it is.
    fn from(object: &[u8]) -> Self {
        Self {
            dictionary: None,
            len: len_of(object),
            bytes: object.into(),
        }
    }
}

impl Default for Packed {
    /// No bytes.
    fn default() -> Self {
        Self::from(&[][..])
    }
}

/// Whether it is the same object, however it is packed.
impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.row() == other.row() || self.unpack() == other.unpack()
    }
}

impl Eq for Packed {}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packed").field(&self.unpack()).finish()
    }
}

fn len_of(object: &[u8]) -> u32 {
    u32::try_from(object.len()).expect("the API refuses bodies over 3 MiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dictionary(bytes: &[u8]) -> Arc<Dictionary> {
        Arc::new(Dictionary {
            id: 7,
            bytes: bytes.into(),
            used: AtomicU64::new(0),
        })
    }

    #[test]
    fn what_resembles_the_dictionary_is_short() {
        let object =
            |name: &str| format!("{{\"name\":\"{name}\",\"like\":\"all of the others are\"}}");
        let with = dictionary(object("first").as_bytes());
        let mut scratch = Vec::new();
        let packed = Packed::pack(object("next").as_bytes(), Some(&with), &mut scratch);
        assert!(packed.kept() < 24, "{}", packed.kept());
        assert_eq!(packed.unpack(), object("next"));
        assert_eq!(packed.row().dictionary, 7);
        let plain = Packed::from(object("next").as_bytes());
        assert_eq!(plain, packed);
        assert_eq!((plain.row().dictionary, plain.kept()), (0, plain.len()));
    }

    #[test]
    fn nothing_is_nothing() {
        let packed = Packed::pack(b"", None, &mut Vec::new());
        assert!(packed.is_empty());
        assert_eq!(
            Packed::from_row(packed.row(), None).try_unpack(),
            Some(Vec::new())
        );
    }

    /// Objects that are longer than LZ4 looks back.
    #[test]
    fn long_objects_come_back() {
        let object: Vec<u8> = (0..300_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let with = dictionary(&object[..16 << 10]);
        let packed = Packed::pack(&object, Some(&with), &mut Vec::new());
        assert!(packed.kept() < object.len());
        assert_eq!(packed.unpack(), object);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            words in prop::collection::vec("[a-c]{1,6}|.{0,9}", 0..300),
            other in prop::collection::vec("[a-c]{1,6}", 0..300),
        ) {
            let (object, other) = (words.concat().into_bytes(), other.concat());
            for with in [None, Some(dictionary(other.as_bytes()))] {
                let packed = Packed::pack(&object, with.as_ref(), &mut Vec::new());
                prop_assert_eq!(&packed.unpack()[..], &object[..]);
                let with = with.filter(|_| packed.row().dictionary != 0);
                let read = Packed::from_row(packed.row(), with);
                prop_assert_eq!(&read, &packed);
                prop_assert_eq!(read.try_unpack(), Some(object.clone()));
            }
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_but_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0..9_000u32, with in "[a-c]{0,99}",
        ) {
            let row = PackedRow { dictionary: 0, len, bytes: &bytes };
            let read = Packed::from_row(row, Some(dictionary(with.as_bytes()))).try_unpack();
            prop_assert!(read.is_none_or(|object| object.len() == len as usize));
        }
    }
}
