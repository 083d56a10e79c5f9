//! Endpoints into slices, a hundred to each, with as few writes as possible.
//!
//! Every write of a slice goes to every node, so what is there stays where it
//! is: (1) endpoints that are gone are taken out of their slices and changed
//! ones are changed in place; (2) slices that are written anyway are filled up
//! with new ones; (3) what is left goes into one further slice that has room
//! for all of it, or into new slices. These are the rules of Kubernetes'
//! EndpointSlice controller; slices are never joined for tidiness alone.

use std::collections::BTreeMap;

use super::slice::{AddressType, Endpoint, Port, Slice};

/// Endpoints of a slice at most, as Kubernetes' default is.
pub const MOST: usize = 100;

/// Endpoints that may share slices: same family, same ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub address_type: AddressType,
    /// Sorted.
    pub ports: Vec<Port>,
}

/// What is to become of the slices of one Service.
#[derive(Debug, Default, PartialEq)]
pub struct Packing<'a> {
    pub create: Vec<(Group, Vec<Endpoint>)>,
    pub update: Vec<(&'a Slice, Vec<Endpoint>)>,
    pub delete: Vec<&'a Slice>,
}

/// Packs the wanted endpoints into slices, beginning with those that exist.
pub fn pack<'a>(wanted: BTreeMap<Group, Vec<Endpoint>>, existing: &[&'a Slice]) -> Packing<'a> {
    let mut packing = Packing::default();
    let mut left: BTreeMap<Group, Vec<&'a Slice>> = BTreeMap::new();
    for slice in existing {
        let group = Group {
            address_type: slice.address_type,
            ports: slice.ports.clone(),
        };
        if wanted.contains_key(&group) {
            left.entry(group).or_default().push(slice);
        } else {
            packing.delete.push(slice);
        }
    }
    for (group, endpoints) in wanted {
        let slices = left.remove(&group).unwrap_or_default();
        pack_group(group, endpoints, &slices, &mut packing);
    }
    packing
}

struct Draft<'a> {
    slice: &'a Slice,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

fn pack_group<'a>(
    group: Group,
    mut wanted: Vec<Endpoint>,
    slices: &[&'a Slice],
    packing: &mut Packing<'a>,
) {
    let is_empty = wanted.is_empty();
    let mut drafts: Vec<_> = slices
        .iter()
        .map(|slice| keep(slice, &mut wanted))
        .collect();
    for draft in drafts.iter_mut().filter(|draft| draft.changed) {
        fill(draft, &mut wanted);
    }
    let has_room =
        |draft: &&mut Draft<'_>| !draft.changed && draft.endpoints.len() + wanted.len() <= MOST;
    if !wanted.is_empty()
        && let Some(draft) = drafts
            .iter_mut()
            .filter(has_room)
            .max_by_key(|d| d.endpoints.len())
    {
        fill(draft, &mut wanted);
        draft.changed = true;
    }
    while !wanted.is_empty() {
        let rest = wanted.split_off(wanted.len().min(MOST));
        packing.create.push((group.clone(), wanted));
        wanted = rest;
    }
    settle(drafts, group, is_empty, packing);
}

/// Empty slices go; but where there is nothing at all, one stays and says so.
fn settle<'a>(drafts: Vec<Draft<'a>>, group: Group, is_empty: bool, packing: &mut Packing<'a>) {
    let mut placeholder = is_empty;
    for draft in drafts {
        if draft.endpoints.is_empty() && !std::mem::take(&mut placeholder) {
            packing.delete.push(draft.slice);
        } else if draft.changed {
            packing.update.push((draft.slice, draft.endpoints));
        }
    }
    if placeholder {
        packing.create.push((group, Vec::new()));
    }
}

/// What of a slice is still wanted, as it is now. Takes it out of `wanted`.
fn keep<'a>(slice: &'a Slice, wanted: &mut Vec<Endpoint>) -> Draft<'a> {
    let mut endpoints = Vec::with_capacity(slice.endpoints.len());
    let mut changed = false;
    for held in &slice.endpoints {
        match wanted.iter().position(|new| new.is_same(held)) {
            Some(index) => {
                let new = wanted.swap_remove(index);
                changed |= new != *held;
                endpoints.push(new);
            }
            None => changed = true,
        }
    }
    Draft {
        slice,
        endpoints,
        changed,
    }
}

fn fill(draft: &mut Draft<'_>, wanted: &mut Vec<Endpoint>) {
    let room = MOST.saturating_sub(draft.endpoints.len()).min(wanted.len());
    draft.endpoints.extend(wanted.drain(..room));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn group() -> Group {
        Group {
            address_type: AddressType::IPv4,
            ports: Vec::new(),
        }
    }

    fn endpoint(number: usize, ready: bool) -> Endpoint {
        let mut endpoint = Endpoint {
            addresses: vec![format!("10.0.{}.{}", number / 250, number % 250)],
            ..Endpoint::default()
        };
        endpoint.conditions.ready = Some(ready);
        endpoint
    }

    fn slice(name: &str, endpoints: Vec<Endpoint>) -> Slice {
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": name},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [],
        });
        Slice::of(serde_json::from_value(object).unwrap())
    }

    fn ready(numbers: std::ops::Range<usize>) -> Vec<Endpoint> {
        numbers.map(|number| endpoint(number, true)).collect()
    }

    /// Sizes of created slices, updated slices with their sizes, deleted slices.
    fn outcome(packing: &Packing<'_>) -> (Vec<usize>, Vec<(String, usize)>, Vec<String>) {
        let name = |slice: &Slice| slice.head.name.name.clone();
        let update = packing.update.iter();
        (
            packing.create.iter().map(|(_, all)| all.len()).collect(),
            update
                .map(|(slice, all)| (name(slice), all.len()))
                .collect(),
            packing.delete.iter().map(|slice| name(slice)).collect(),
        )
    }

    #[test]
    fn writes_are_few() {
        let mut flipped = ready(0..3);
        flipped[1] = endpoint(1, false);
        let full = || slice("a", ready(0..100));
        let none: Vec<Slice> = Vec::new();
        let cases = [
            (
                "the first ones",
                none.clone(),
                ready(0..3),
                (vec![3], vec![], vec![]),
            ),
            (
                "more than one slice holds",
                none.clone(),
                ready(0..250),
                (vec![100, 100, 50], vec![], vec![]),
            ),
            (
                "nothing changes",
                vec![slice("a", ready(0..3))],
                ready(0..3),
                (vec![], vec![], vec![]),
            ),
            (
                "one is not ready",
                vec![slice("a", ready(0..3))],
                flipped,
                (vec![], vec![("a".to_owned(), 3)], vec![]),
            ),
            (
                "one more, into the fuller one",
                vec![slice("a", ready(0..3)), slice("b", ready(10..20))],
                [ready(0..3), ready(10..21)].concat(),
                (vec![], vec![("b".to_owned(), 11)], vec![]),
            ),
            (
                "one more, but all are full",
                vec![full()],
                ready(0..101),
                (vec![1], vec![], vec![]),
            ),
            (
                "one goes, another comes: one write",
                vec![full(), slice("b", ready(100..110))],
                [ready(1..110), ready(200..201)].concat(),
                (vec![], vec![("a".to_owned(), 100)], vec![]),
            ),
            (
                "the last of a slice goes",
                vec![full(), slice("b", ready(100..101))],
                ready(0..100),
                (vec![], vec![], vec!["b".to_owned()]),
            ),
            (
                "the last of all goes",
                vec![slice("a", ready(0..1))],
                ready(0..0),
                (vec![], vec![("a".to_owned(), 0)], vec![]),
            ),
            (
                "there are none",
                none,
                ready(0..0),
                (vec![0], vec![], vec![]),
            ),
            (
                "there are none still",
                vec![slice("a", ready(0..0))],
                ready(0..0),
                (vec![], vec![], vec![]),
            ),
        ];
        for (story, existing, wanted, expected) in cases {
            let existing: Vec<_> = existing.iter().collect();
            let packing = pack(BTreeMap::from([(group(), wanted)]), &existing);
            assert_eq!(outcome(&packing), expected, "{story}");
        }
    }

    #[test]
    fn slices_of_ports_that_are_no_more_go() {
        let old = slice("a", ready(0..2));
        let new = Group {
            ports: vec![Port::default()],
            ..group()
        };
        let packing = pack(BTreeMap::from([(new, ready(0..2))]), &[&old]);
        assert_eq!(outcome(&packing), (vec![2], vec![], vec!["a".to_owned()]));
    }

    proptest! {
        #[test]
        fn what_is_wanted_is_there_once_and_packing_again_changes_nothing(
            before in prop::collection::vec((0..400usize, any::<bool>()), 0..300),
            after in prop::collection::vec((0..400usize, any::<bool>()), 0..300),
        ) {
            let endpoints = |list: &[(usize, bool)]| -> Vec<Endpoint> {
                let unique: BTreeMap<_, _> = list.iter().copied().collect();
                unique.into_iter().map(|(number, ready)| endpoint(number, ready)).collect()
            };
            let first = pack(BTreeMap::from([(group(), endpoints(&before))]), &[]);
            let slices: Vec<_> = first.create.into_iter().enumerate()
                .map(|(index, (_, all))| slice(&index.to_string(), all)).collect();
            let wanted = BTreeMap::from([(group(), endpoints(&after))]);
            let packing = pack(wanted.clone(), &slices.iter().collect::<Vec<_>>());

            let mut now: BTreeMap<_, _> = slices.iter()
                .map(|s| (s.head.name.name.clone(), s.endpoints.clone())).collect();
            for gone in &packing.delete {
                now.remove(&gone.head.name.name);
            }
            for (changed, all) in &packing.update {
                now.insert(changed.head.name.name.clone(), all.clone());
            }
            for (index, (_, all)) in packing.create.iter().enumerate() {
                now.insert(format!("new-{index}"), all.clone());
            }
            prop_assert!(now.values().all(|all| all.len() <= MOST));
            let mut held: Vec<_> = now.values().flatten().cloned().collect();
            let mut expected = endpoints(&after);
            held.sort_by(|a, b| a.addresses.cmp(&b.addresses));
            expected.sort_by(|a, b| a.addresses.cmp(&b.addresses));
            prop_assert_eq!(held, expected);

            let slices: Vec<_> = now.into_iter().map(|(name, all)| slice(&name, all)).collect();
            let again = pack(wanted, &slices.iter().collect::<Vec<_>>());
            prop_assert_eq!(again, Packing::default());
        }
    }
}
