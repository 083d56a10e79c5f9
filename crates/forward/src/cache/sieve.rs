//! A map that is bounded by bytes, and what makes room in it.
//!
//! SIEVE (Zhang et al., NSDI 2024): entries wait in the order of their arrival; a look at one sets a bit.
//! When room is needed, a hand goes from the oldest towards the newest, forgives those with the bit and
//! clears it, and takes the first without. A look moves nothing, so it is cheap, and a flood of names that
//! are asked for once passes through without driving out those that are asked for again. Least recently used
//! was rejected for both reasons, random eviction (CoreDNS's) for the second.

use hashbrown::HashTable;

/// No entry.
const NONE: u32 = u32::MAX;

/// What something is kept under, with its hash: one of a keyed kind, so that nobody can choose keys that fall
/// together, and made once for all the maps that are asked.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub hash: u64,
    pub key: &'a [u8],
}

/// A map from keys to values of known weight.
#[derive(Debug)]
pub struct Sieve<V> {
    places: HashTable<u32>,
    entries: Vec<Option<Entry<V>>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    hand: u32,
    weight: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<V> {
    key: Box<[u8]>,
    hash: u64,
    value: V,
    weight: u32,
    newer: u32,
    older: u32,
    looked_at: bool,
}

impl<V> Sieve<V> {
    /// What an entry takes besides its key and what its value points to, with the room that waits for the
    /// next ones and what the allocator adds to three pieces.
    pub const OVERHEAD: usize = size_of::<Option<Entry<V>>>() * 9 / 8 + 12 + 3 * 8;

    /// Nothing yet; `limit` in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            places: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            weight: 0,
            limit,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// What they weigh together.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Looks at an entry.
    pub fn get(&mut self, key: Place<'_>) -> Option<&mut V> {
        let place = self.place(key)?;
        let entry = self.entries.get_mut(place as usize)?.as_mut()?;
        entry.looked_at = true;
        Some(&mut entry.value)
    }

    /// Looks without leaving a trace.
    pub fn peek(&self, key: Place<'_>) -> Option<&V> {
        self.entry(self.place(key)?).map(|entry| &entry.value)
    }

    /// Puts an entry in the place of the one with this key, or makes room for it; says how many went for
    /// that. What is heavier than the limit is not kept. `bytes` are what the value points to.
    pub fn insert(&mut self, key: Place<'_>, value: V, bytes: usize) -> usize {
        let weight = Self::OVERHEAD + key.key.len() + bytes;
        // Who was asked for again keeps what it earned.
        let looked_at = self.place(key).is_some_and(|place| {
            let entry = self.entry(place);
            entry.is_some_and(|entry| entry.looked_at)
        });
        self.remove(key);
        let (Ok(entry_weight), true) = (u32::try_from(weight), weight <= self.limit) else {
            return 0;
        };
        let mut evicted = 0;
        while self.weight + weight > self.limit && self.evict() {
            evicted += 1;
        }
        let place = self.room();
        self.entries[place as usize] = Some(Entry {
            key: key.key.into(),
            hash: key.hash,
            value,
            weight: entry_weight,
            newer: NONE,
            older: self.newest,
            looked_at,
        });
        match self.entry_mut(self.newest) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
        self.weight += weight;
        let entries = &self.entries;
        self.places.insert_unique(key.hash, place, |place| {
            let entry = entries[*place as usize].as_ref();
            entry.map_or(0, |entry| entry.hash)
        });
        evicted
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: Place<'_>) -> Option<V> {
        let place = self.place(key)?;
        self.take(place)
    }

    fn entry(&self, place: u32) -> Option<&Entry<V>> {
        self.entries.get(place as usize)?.as_ref()
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry<V>> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    fn place(&self, key: Place<'_>) -> Option<u32> {
        let same = |place: &u32| {
            let entry = self.entry(*place);
            entry.is_some_and(|entry| entry.hash == key.hash && *entry.key == *key.key)
        };
        self.places.find(key.hash, same).copied()
    }

    /// A free place. There is never much more room than is used: what waits for use is memory, too.
    fn room(&mut self) -> u32 {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len() / 8 + 8);
        }
        self.entries.push(None);
        (self.entries.len() - 1) as u32
    }

    /// Makes room by one entry. Each round of the hand clears bits, so it ends.
    fn evict(&mut self) -> bool {
        loop {
            let place = if self.hand == NONE {
                self.oldest
            } else {
                self.hand
            };
            let Some(entry) = self.entry_mut(place) else {
                return false;
            };
            if !entry.looked_at {
                self.hand = entry.newer;
                self.take(place);
                return true;
            }
            entry.looked_at = false;
            self.hand = entry.newer;
        }
    }

    fn take(&mut self, place: u32) -> Option<V> {
        let entry = self.entries.get_mut(place as usize)?.take()?;
        let same = |other: &u32| *other == place;
        if let Ok(found) = self.places.find_entry(entry.hash, same) {
            found.remove();
        }
        if self.hand == place {
            self.hand = entry.newer;
        }
        match self.entry_mut(entry.newer) {
            Some(newer) => newer.older = entry.older,
            None => self.newest = entry.older,
        }
        match self.entry_mut(entry.older) {
            Some(older) => older.newer = entry.newer,
            None => self.oldest = entry.newer,
        }
        self.free.push(place);
        self.weight -= entry.weight as usize;
        Some(entry.value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BYTES: usize = 100;

    /// Keys fall together in threes.
    fn at(key: &[u8; 1]) -> Place<'_> {
        let hash = u64::from(key[0] / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Place { hash, key }
    }

    /// Room for so many keys of one byte.
    fn with_room_for(count: usize) -> Sieve<u8> {
        Sieve::new(count * (Sieve::<u8>::OVERHEAD + 1 + BYTES))
    }

    fn keys(sieve: &Sieve<u8>) -> Vec<u8> {
        let mut keys: Vec<_> = sieve.entries.iter().flatten().map(|e| e.key[0]).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_is_asked_for_again_stays_while_a_flood_passes() {
        let mut sieve = with_room_for(4);
        for popular in [1, 2] {
            sieve.insert(at(&[popular]), popular, BYTES);
        }
        for flood in 10..200 {
            for popular in [1, 2] {
                assert_eq!(sieve.get(at(&[popular])), Some(&mut { popular }));
            }
            sieve.insert(at(&[flood]), flood, BYTES);
        }
        assert_eq!(keys(&sieve).len(), 4);
    }

    #[test]
    fn what_is_not_asked_for_goes_the_oldest_first() {
        let mut sieve = with_room_for(3);
        for key in 0..5 {
            sieve.insert(at(&[key]), key, BYTES);
        }
        assert_eq!(keys(&sieve), [2, 3, 4]);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_drives_nothing_out() {
        let mut sieve = with_room_for(2);
        sieve.insert(at(&[1]), 1, BYTES);
        assert_eq!(sieve.insert(at(&[2]), 2, 10 * BYTES), 0);
        assert_eq!(keys(&sieve), [1]);
        assert_eq!(sieve.insert(at(&[1]), 2, 10 * BYTES), 0);
        assert_eq!(sieve.len(), 0, "what it replaces is out of date");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(u8),
        Insert(u8, u8, usize),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..20u8;
        prop_oneof![
            key.clone().prop_map(Step::Get),
            (key.clone(), any::<u8>(), 0..300usize).prop_map(|(k, v, w)| Step::Insert(k, v, w)),
            key.prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Whatever is done, what is found is what was put there last, weights add up, and the limit holds.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec(step(), 1..200)) {
            let mut sieve = with_room_for(5);
            let mut model: BTreeMap<u8, (u8, usize)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Get(key) => {
                        if let Some(value) = sieve.get(at(&[key])).copied() {
                            prop_assert_eq!(Some(value), model.get(&key).map(|kept| kept.0));
                        }
                    }
                    Step::Insert(key, value, bytes) => {
                        sieve.insert(at(&[key]), value, bytes);
                        model.insert(key, (value, bytes));
                    }
                    Step::Remove(key) => {
                        sieve.remove(at(&[key]));
                        model.remove(&key);
                    }
                }
                model.retain(|key, _| sieve.peek(at(&[*key])).is_some());
                prop_assert_eq!(sieve.len(), model.len());
                let weight: usize = model.values().map(|(_, bytes)| Sieve::<u8>::OVERHEAD + 1 + bytes).sum();
                prop_assert_eq!(sieve.weight(), weight);
                prop_assert!(sieve.weight() <= sieve.limit);
                // Both ways through the queue lead past everybody.
                let mut seen = 0;
                let mut place = sieve.oldest;
                while let Some(entry) = sieve.entry(place) {
                    seen += 1;
                    place = entry.newer;
                }
                prop_assert_eq!(seen, model.len());
            }
        }
    }
}
