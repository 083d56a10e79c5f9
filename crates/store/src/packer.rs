//! Which objects become a dictionary: those that are written, when the one in use no longer fits.
//!
//! ```text
//!   written ──► packed with the bucket's newest dictionary
//!                  │ much was written since, and it was not packed well
//!                  ▼
//!               every eighth object is gathered until 16 KB are there ──► the next dictionary
//! ```
//!
//! What is already packed stays as it is until it is written again; then its old dictionary may
//! go. All dictionaries of a bucket are an eighth of what it holds at most, so a bucket that holds
//! little has none.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use crate::{Bucket, Packed, dictionaries::Dictionaries, packed::Dictionary};

/// Bytes of a dictionary. LZ4 of this make finds little more in a larger one.
const DICTIONARY: usize = 16 << 10;
/// Bytes that a bucket holds for each dictionary.
const PER_DICTIONARY: u64 = 8 * DICTIONARY as u64;
/// A dictionary that makes objects this many times shorter is good enough.
const WELL: u64 = 6;
/// Of what is written, one in so many is taken.
const ONE_IN: usize = 8;

/// Packs what the writer writes.
pub(crate) struct Packer {
    dictionaries: Arc<Dictionaries>,
    lanes: HashMap<Bucket, Lane>,
    scratch: Vec<u8>,
}

/// One bucket.
struct Lane {
    current: Option<Arc<Dictionary>>,
    /// Bytes of objects that were written since the dictionary was made, and what they became.
    written: u64,
    kept: u64,
    /// Gathered for the next one.
    gathered: Vec<u8>,
    skipped: usize,
}

/// What is packed, and where it stands.
pub(crate) struct Of<'a> {
    pub bucket: &'a Bucket,
    pub revision: u64,
    /// Bytes of all objects that the bucket holds.
    pub held: u64,
    /// Up to here nobody asks for events any more.
    pub compacted: u64,
}

impl Packer {
    pub fn new(dictionaries: Arc<Dictionaries>) -> Self {
        Self {
            dictionaries,
            lanes: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Packs an object that is about to be written.
    pub fn pack(&mut self, of: &Of<'_>, object: &[u8]) -> Packed {
        if !self.lanes.contains_key(of.bucket) {
            let lane = Lane::new(self.dictionaries.newest(of.bucket));
            self.lanes.insert(of.bucket.clone(), lane);
        }
        let lane = self.lanes.get_mut(of.bucket).expect("it was just made");
        let packed = Packed::pack(object, lane.current.as_ref(), &mut self.scratch);
        if let Some(dictionary) = &lane.current {
            dictionary.use_at(of.revision);
        }
        lane.written += packed.len() as u64;
        lane.kept += packed.kept() as u64;
        if lane.wants_another(of.held) && lane.gather(object) {
            lane.next(of, &self.dictionaries);
        }
        packed
    }
}

impl Lane {
    fn new(current: Option<Arc<Dictionary>>) -> Self {
        Self {
            current,
            written: 0,
            kept: 0,
            gathered: Vec::new(),
            skipped: 0,
        }
    }

    fn wants_another(&self, held: u64) -> bool {
        held >= PER_DICTIONARY
            && self.written >= PER_DICTIONARY.max(held / 8)
            && self.kept * WELL > self.written
    }

    /// Takes one object in eight; whether it is enough.
    fn gather(&mut self, object: &[u8]) -> bool {
        if self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        self.skipped = ONE_IN - 1;
        let room = DICTIONARY - self.gathered.len();
        self.gathered
            .extend_from_slice(&object[..object.len().min(room)]);
        self.gathered.len() == DICTIONARY
    }

    /// Makes what was gathered the dictionary, unless the bucket has enough of them.
    fn next(&mut self, of: &Of<'_>, dictionaries: &Dictionaries) {
        let gathered = std::mem::take(&mut self.gathered);
        (self.written, self.kept) = (0, 0);
        let others = dictionaries.sweep(of.bucket, of.compacted);
        if (others + 1) * PER_DICTIONARY > of.held {
            return;
        }
        let made = dictionaries.add(of.bucket, gathered.into());
        made.used.store(of.revision, Ordering::Relaxed);
        self.current = Some(made);
    }
}
