//! Tables of Services: reading all of it back.
//!
//! The kernel lists a map in parts, and for each it walks the map from its
//! beginning again, so a list takes time with the square of its length: seconds
//! for half a million endpoints. What the smaller maps say leads to the keys of
//! the larger ones, which are then asked for, key by key. Where a kernel does not
//! say how many there are (before 6.16), or there are others, the map is listed.

use sealane_net::{Family, names};
use sealane_ruleset::services::{Bytes, Data, Element, Image, Map};

use super::answer::{FAMILY_HEADER, MESSAGE_HEADER, attributes, find, text, u32_at};
use super::encode::{
    NFT_MSG_GETSETELEM, NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE,
};
use super::expr::{NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE, verdict_of};
use super::message::Messages;
use super::services::{NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY_END, is_pair};
use crate::error::Result;
use crate::netlink::{Failure, Netlink};

/// Fewer elements than these are listed faster than asked for.
const MANY: usize = 5_000;

/// One less.
fn before(bytes: &[u8]) -> Vec<u8> {
    let mut last = bytes.to_vec();
    for byte in last.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != 0xff {
            break;
        }
    }
    last
}

/// An element as the kernel lists it.
struct Listed {
    key: Bytes,
    last: Option<Bytes>,
    data: Data,
    is_end: bool,
}

fn listed(message: &[u8], take: &mut impl FnMut(Listed)) {
    let body = message.get(MESSAGE_HEADER + FAMILY_HEADER..);
    let list = body.and_then(|body| find(body, NFTA_SET_ELEM_LIST_ELEMENTS));
    for (_, element) in attributes(list.unwrap_or_default()) {
        let bytes = |kind| Bytes::new(find(find(element, kind)?, NFTA_DATA_VALUE)?);
        let Some(key) = bytes(NFTA_SET_ELEM_KEY) else {
            continue;
        };
        let flags = find(element, NFTA_SET_ELEM_FLAGS).and_then(number);
        let data = find(element, NFTA_SET_ELEM_DATA).and_then(|data| {
            if let Some(verdict) = find(data, NFTA_DATA_VERDICT) {
                let code = number(find(verdict, NFTA_VERDICT_CODE)?)? as i32;
                let chain = find(verdict, NFTA_VERDICT_CHAIN).map(text);
                return verdict_of(code, chain).map(Data::Verdict);
            }
            Bytes::new(find(data, NFTA_DATA_VALUE)?).map(Data::Value)
        });
        take(Listed {
            key,
            last: bytes(NFTA_SET_ELEM_KEY_END),
            data: data.unwrap_or(Data::Nothing),
            is_end: flags.unwrap_or(0) & NFT_SET_ELEM_INTERVAL_END != 0,
        });
    }
}

/// A number in network byte order.
fn number(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes, 0).map(u32::from_be)
}

impl Listed {
    fn into_element(self, map: Map) -> Element {
        Element {
            map,
            key: self.key,
            last: self.last,
            data: self.data,
        }
    }
}

/// Ranges of a single part come as their first elements and the elements behind their last.
fn join(map: Map, listed: Vec<Listed>) -> impl Iterator<Item = Element> {
    let mut ends: Vec<Bytes> = listed.iter().filter(|l| l.is_end).map(|l| l.key).collect();
    ends.sort_unstable();
    let starts = listed.into_iter().filter(|l| !l.is_end);
    starts.map(move |start| {
        let end = ends.get(ends.partition_point(|end| *end <= start.key));
        let everything = vec![0xff; start.key.as_slice().len()];
        let last = Bytes::new(&end.map_or(everything, |end| before(end.as_slice())));
        Listed { last, ..start }.into_element(map)
    })
}

fn listing(map: Map) -> String {
    format!("list {} of {}", map.spec().name, names::SERVICES_TABLE)
}

impl Netlink {
    /// All elements of the table of Services of a family.
    ///
    /// # Errors
    /// When the kernel does not answer, has no such table, or others change it all the time.
    pub fn services(&self, family: Family) -> Result<Image> {
        const ATTEMPTS: usize = 8;
        let mut image = Image::default();
        for map in Map::ALL {
            let keys = self.all_keys(family, map, &image)?;
            let asked = !keys.is_empty();
            image.reserve(map, keys.len());
            if asked && self.ask_map(family, map, &keys, &mut |element| image.insert(element))? {
                continue;
            }
            image.clear(map);
            let mut attempts = 0..ATTEMPTS;
            while !self.list_map(family, map, &mut |element| image.insert(element))? {
                if attempts.next().is_none() {
                    let failure = Failure::Unexpected("it changes all the time".into());
                    return Err(self.failed(|| listing(map))(failure));
                }
                image.clear(map);
            }
        }
        Ok(image)
    }

    /// The number of the last transaction on any table of the namespace: while it stays, nothing has changed but what
    /// packets put into maps.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn table_generation(&self) -> Result<u32> {
        let answer = self.nft().generation();
        answer.map_err(self.failed(|| "ask for the generation of nft tables"))
    }

    /// Shows all elements of the table of Services of a family but those that packets have put there, and holds
    /// none of them. Whether they were of one moment: if not, some may have been shown twice or not at all.
    ///
    /// # Errors
    /// When the kernel does not answer or has no such table.
    pub fn each_of_services(&self, family: Family, mut take: impl FnMut(Element)) -> Result<bool> {
        let mut all = Map::ALL.into_iter().filter(|map| !map.spec().dynamic);
        let mut whole = true;
        let mut leads = Image::default();
        all.try_for_each(|map| -> Result<()> {
            let keys = self.all_keys(family, map, &leads)?;
            let mut each = |element: Element| {
                if Image::leads(map) {
                    leads.insert(element.clone());
                }
                take(element);
            };
            whole &= match keys.is_empty() {
                true => self.list_map(family, map, &mut each)?,
                false => self.ask_map(family, map, &keys, &mut each)?,
            };
            Ok(())
        })?;
        Ok(whole)
    }

    /// The keys of a map with many elements, if what is known of other maps leads to as many; none otherwise.
    fn all_keys(&self, family: Family, map: Map, known: &Image) -> Result<Vec<Bytes>> {
        let keys = known.keys_led_to(map);
        if keys.len() < MANY {
            return Ok(Vec::new());
        }
        let count = self.count(family, map)?;
        Ok(count
            .filter(|count| *count <= keys.len())
            .map_or_else(Vec::new, |_| keys))
    }

    fn count(&self, family: Family, map: Map) -> Result<Option<usize>> {
        let count = self
            .nft()
            .count(family.into(), names::SERVICES_TABLE, map.spec().name);
        count.map_err(self.failed(|| listing(map)))
    }

    /// Whether there are no others.
    fn ask_map(
        &self,
        family: Family,
        map: Map,
        keys: &[Bytes],
        take: &mut impl FnMut(Element),
    ) -> Result<bool> {
        let mut found = 0;
        let mut one = |element: Listed| {
            found += 1;
            take(element.into_element(map));
        };
        let each = |message: &[u8]| listed(message, &mut one);
        let (table, set) = (names::SERVICES_TABLE, map.spec().name);
        let keys = keys.iter().map(Bytes::as_slice);
        let asked = self.nft().find_known(family.into(), table, set, keys, each);
        asked.map_err(self.failed(|| listing(map)))?;
        Ok(self.count(family, map)? == Some(found))
    }

    /// Whether nobody has changed anything meanwhile.
    fn list_map(&self, family: Family, map: Map, take: &mut impl FnMut(Element)) -> Result<bool> {
        let request = |m: &mut Messages| {
            m.put_str(NFTA_SET_ELEM_LIST_TABLE, names::SERVICES_TABLE);
            m.put_str(NFTA_SET_ELEM_LIST_SET, map.spec().name);
        };
        let mut halves = Vec::new();
        let mut one = |listed: Listed| match is_pair(map) {
            true => halves.push(listed),
            false => take(listed.into_element(map)),
        };
        let each = |message: &[u8]| listed(message, &mut one);
        let changed = self
            .nft()
            .each(NFT_MSG_GETSETELEM, family.into(), request, each);
        let changed = changed.map_err(self.failed(|| listing(map)))?;
        join(map, halves).for_each(take);
        Ok(!changed)
    }
}
