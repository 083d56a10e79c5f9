//! What a kernel holds of a Service table: read from it, or followed by applying transactions.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use sealane_net::Family;

use super::chains::{Pickers, static_table};
use super::element::{Bytes, Data, Element, Map};
use super::number::{Gate, Number, Sizes};
use super::program::Transaction;
use crate::{Chain, Table, Verdict};

/// The elements of all maps.
///
/// There may be a million, so those that are looked up as they are stand in tables of hashes: to put them all in an
/// order takes longer than to read them from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    exact: BTreeMap<Map, HashMap<Bytes, Data, RandomState>>,
    /// Of maps of ranges, by their first keys.
    ranges: BTreeMap<Map, BTreeMap<Bytes, (Option<Bytes>, Data)>>,
}

/// A table with its elements: what packets meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Chains and declarations of maps.
    pub table: Table,
    /// Elements.
    pub image: Image,
}

impl Image {
    /// One of these elements.
    pub fn of(elements: impl IntoIterator<Item = Element>) -> Self {
        let mut image = Self::default();
        elements
            .into_iter()
            .for_each(|element| image.insert(element));
        image
    }

    /// Puts an element in, or in the place of the one with its key.
    pub fn insert(&mut self, element: Element) {
        let Element {
            map,
            key,
            last,
            data,
        } = element;
        if map.spec().interval {
            let ranges = self.ranges.entry(map).or_default();
            ranges.insert(key, (last, data));
        } else {
            self.exact.entry(map).or_default().insert(key, data);
        }
    }

    /// Makes room for so many more elements of a map.
    pub fn reserve(&mut self, map: Map, more: usize) {
        if !map.spec().interval && more > 0 {
            self.exact.entry(map).or_default().reserve(more);
        }
    }

    /// Takes an element out; whether it was there.
    pub fn remove(&mut self, map: Map, key: &Bytes) -> Option<Element> {
        let (last, data) = if map.spec().interval {
            let ranges = self.ranges.get_mut(&map)?;
            let found = ranges.remove(key)?;
            if ranges.is_empty() {
                self.ranges.remove(&map);
            }
            found
        } else {
            let elements = self.exact.get_mut(&map)?;
            let found = elements.remove(key)?;
            if elements.is_empty() {
                self.exact.remove(&map);
            }
            (None, found)
        };
        Some(Element {
            map,
            key: *key,
            last,
            data,
        })
    }

    /// Takes all elements of a map out.
    pub fn clear(&mut self, map: Map) {
        self.exact.remove(&map);
        self.ranges.remove(&map);
    }

    /// What a key leads to; in a map of ranges a key within one.
    pub fn get(&self, map: Map, key: &Bytes) -> Option<&Data> {
        if !map.spec().interval {
            return self.exact.get(&map)?.get(key);
        }
        // Ranges are apart from each other, so no other one can contain it.
        let (_, (last, data)) = self.ranges.get(&map)?.range(..=*key).next_back()?;
        last.as_ref().filter(|last| key <= *last).map(|_| data)
    }

    /// What the ranges of a map lead to whose keys begin like this, in their order.
    pub(super) fn of_prefix<'a>(
        &'a self,
        map: Map,
        prefix: &'a Bytes,
    ) -> impl Iterator<Item = &'a Data> {
        let elements = self.ranges.get(&map).into_iter();
        let from = elements.flat_map(move |elements| elements.range(prefix..));
        let same = from.take_while(|(key, _)| key.as_slice().starts_with(prefix.as_slice()));
        same.map(|(_, (_, data))| data)
    }

    /// Whether a range has keys in common with one that is there.
    fn overlaps(&self, element: &Element) -> bool {
        let Some(end) = &element.last else {
            return false;
        };
        let ranges = self.ranges.get(&element.map);
        let before = ranges.and_then(|ranges| ranges.range(..=*end).next_back());
        before.is_some_and(|(_, (last, _))| last.is_some_and(|last| last >= element.key))
    }

    /// All elements of a map, in no order.
    pub fn of_map(&self, map: Map) -> impl Iterator<Item = (&Bytes, &Data)> {
        let exact = self.exact.get(&map).into_iter().flatten();
        let ranges = self.ranges.get(&map).into_iter().flatten();
        exact.chain(ranges.map(|(key, (_, data))| (key, data)))
    }

    /// All elements, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Element> + '_ {
        let element = |map: &Map, key: &Bytes, last: Option<Bytes>, data: &Data| Element {
            map: *map,
            key: *key,
            last,
            data: data.clone(),
        };
        let exact = self.exact.iter().flat_map(move |(map, elements)| {
            let each = elements.iter();
            each.map(move |(key, data)| element(map, key, None, data))
        });
        let ranges = self.ranges.iter().flat_map(move |(map, elements)| {
            let each = elements.iter();
            each.map(move |(key, (last, data))| element(map, key, *last, data))
        });
        exact.chain(ranges)
    }

    /// Whether the elements of a map tell of keys of others, see [`Image::keys_led_to`].
    pub fn leads(map: Map) -> bool {
        matches!(
            map,
            Map::PickerOf | Map::Frontends | Map::Inside | Map::InsideIds | Map::StickyEps
        )
    }

    /// The keys to which elements of the maps before this one lead, each once: all that a program has put there. None
    /// where nothing leads.
    pub fn keys_led_to(&self, map: Map) -> Vec<Bytes> {
        match map {
            Map::Frontends => {
                let all = self.of_map(Map::PickerOf);
                let served = all.filter(|(_, number)| number.mark().is_some_and(Gate::is_served));
                served.map(|(key, _)| *key).collect()
            }
            Map::InsideIds => self.of_map(Map::Inside).map(|(key, _)| *key).collect(),
            Map::Eps => self.slots(false),
            Map::StickyEps => self.slots(true),
            Map::Endpoints => {
                let numbers = self.of_map(Map::StickyEps);
                let numbers = numbers.filter_map(|(_, number)| number.mark());
                let mut numbers: Vec<u32> = numbers.collect();
                numbers.sort_unstable();
                numbers.dedup();
                let keys = numbers.into_iter().map(|n| Bytes::default().mark(n));
                keys.collect()
            }
            _ => Vec::new(),
        }
    }

    /// The slots that frontends' numbers and ids tell of.
    fn slots(&self, sticky: bool) -> Vec<Bytes> {
        let mut slots: HashMap<u32, u32> = HashMap::new();
        for (numbers, ids) in [
            (Map::PickerOf, Map::Frontends),
            (Map::Inside, Map::InsideIds),
        ] {
            for (key, id) in self.of_map(ids) {
                let number = self.get(numbers, key).and_then(Data::mark);
                let (Some(id), Some(number)) = (id.mark(), number) else {
                    continue;
                };
                let (style, step) = Number::of_picker(number & Number::PICKER_MASK);
                if (style.affinity_seconds > 0) == sticky {
                    let known = slots.entry(id).or_default();
                    *known = step.slots().max(*known);
                }
            }
        }
        let each = slots.into_iter();
        let each = each.flat_map(|(id, count)| (0..count).map(move |slot| (slot, id)));
        each.map(|(slot, id)| Bytes::default().mark(slot).mark(id))
            .collect()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        let exact = self.exact.values().map(HashMap::len);
        exact.chain(self.ranges.values().map(BTreeMap::len)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which chains there are for what `pickers` says.
    pub fn sizes(&self) -> Sizes {
        let keys = self.of_map(Map::Pickers);
        Sizes::of_pickers(keys.filter_map(|(key, _)| key.mark_at(0)))
    }
}

impl Loaded {
    /// A table with nothing but its fixed chains.
    pub fn new(family: Family) -> Self {
        Self {
            table: static_table(family),
            image: Image::default(),
        }
    }

    /// What the kernel makes of a table of this family and these elements.
    pub fn of(family: Family, image: Image) -> Self {
        let pickers = Pickers::between(family, &image.sizes(), &Sizes::default());
        let mut loaded = Self {
            table: static_table(family),
            image,
        };
        loaded.table.chains.extend(pickers.chains);
        loaded
    }

    /// Does what the kernel would do; names what the kernel would refuse.
    ///
    /// # Errors
    /// An element that is there with other data, overlaps another range, is not there and to be deleted, or leads to a
    /// missing chain.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<(), String> {
        self.table.chains.extend(transaction.chains.iter().cloned());
        for Element { map, key, .. } in &transaction.delete {
            if self.image.remove(*map, key).is_none() {
                return Err(format!("delete {key:?} from {}: absent", map.spec().name));
            }
        }
        for element in &transaction.add {
            if let Data::Verdict(Verdict::Goto(to) | Verdict::Jump(to)) = &element.data
                && self.chain(to).is_none()
            {
                return Err(format!("goto {to}: no such chain"));
            }
            let known = self.image.remove(element.map, &element.key);
            if known.is_some_and(|known| known != *element) {
                return Err(format!("add {element:?}: the key has other data"));
            }
            if self.image.overlaps(element) {
                return Err(format!("add {element:?}: it overlaps another range"));
            }
            self.image.insert(element.clone());
        }
        Ok(())
    }

    /// The rule of a step as nft prints it.
    pub fn rule_text(&self, step: &super::TraceStep) -> Option<String> {
        let rule = self.chain(&step.chain)?.rules.get(step.rule)?;
        Some(rule.text(self.table.family))
    }

    pub(super) fn chain(&self, name: &str) -> Option<&Chain> {
        self.table.chains.iter().find(|chain| chain.name == name)
    }
}
