//! Named pools: which of them can be used, and which one a pod's addresses come from.
//!
//! A pod names its pool by an annotation, or a pool selects it: by the labels
//! of its namespace, by its own, or by both. Of several pools that select a pod
//! the first by name counts. A namespace selector also says who may ask for a
//! pool by name, since whoever may write a pod may annotate it.
//!
//! A pool that overlaps an older one, or what nodes have, is not used at all;
//! the others are. Everybody who looks at the same objects decides the same.

use std::collections::BTreeMap;

use ipnet::IpNet;
use sealane_objects::{NodeNet, PoolCondition, PoolNet};

use crate::overlap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Why a pool is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolFault {
    /// Its spec cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It has no range.
    #[error("it has no range: .spec.ranges is empty")]
    Empty,
    /// A prefix length that its family does not have.
    #[error("its blocks cannot have a prefix of /{size}: expected at most /{longest}")]
    BlockSize {
        /// What was asked for.
        size: u8,
        /// The longest of the family.
        longest: u8,
    },
    /// A range is used by something else.
    #[error("its range {range} overlaps {other} of {whose}")]
    Overlap {
        /// The range.
        range: IpNet,
        /// What it overlaps.
        other: IpNet,
        /// Whose that is.
        whose: String,
    },
}

impl PoolFault {
    /// In one word, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "Unreadable",
            Self::Empty => "NoRange",
            Self::BlockSize { .. } => "BadBlockSize",
            Self::Overlap { .. } => "RangeOverlap",
        }
    }
}

/// What a pool's condition should say.
pub fn condition(pool: &PoolNet, fault: Option<&PoolFault>) -> PoolCondition {
    let (reason, message) = match fault {
        _ if pool.deleting => {
            let why = "it is being deleted, and goes when its last pod has";
            ("Deleting", why.to_owned())
        }
        None => ("RangesAreFree", "pods get addresses of it".to_owned()),
        Some(fault) => (
            fault.reason(),
            format!("pods get no address of it: {fault}"),
        ),
    };
    PoolCondition {
        ready: fault.is_none() && !pool.deleting,
        reason: reason.into(),
        message,
        generation: pool.generation,
        since: String::new(),
    }
}

/// Why a pod gets no address of a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no such pool.
    #[error("pool {0} is not there; `kubectl get ippools` lists those that are")]
    Absent(String),
    /// Its namespace may not ask for it.
    #[error(
        "pool {0} is not for this namespace: its namespaceSelector does not match the namespace's labels"
    )]
    NotForNamespace(String),
    /// It is being deleted.
    #[error("pool {0} is being deleted")]
    Deleting(String),
    /// It cannot be used.
    #[error("pool {name} cannot be used: {fault}")]
    Faulty {
        /// The pool.
        name: String,
        /// Why.
        fault: PoolFault,
    },
}

/// What is wrong with pools, by their names; `reserved` are further ranges and whose they are.
pub fn faults(
    pools: &[&PoolNet],
    nodes: &[&NodeNet],
    reserved: &[(IpNet, String)],
) -> BTreeMap<String, PoolFault> {
    let mut by_age: Vec<&&PoolNet> = pools.iter().collect();
    by_age.sort_by_key(|pool| (pool.created, &pool.name));
    let mut taken: Vec<(IpNet, String)> = reserved.to_vec();
    for node in nodes {
        let whose = |what: &str| format!("{what} of node {}", node.name);
        let subnets = node.pod_cidrs.iter();
        taken.extend(subnets.map(|subnet| (*subnet, whose("the pod subnet"))));
        let addresses = node.internal_ips.iter();
        taken.extend(addresses.map(|ip| (IpNet::from(*ip), whose("the address"))));
    }
    let mut found = BTreeMap::new();
    for pool in by_age {
        match fault(pool, &taken) {
            Some(fault) => {
                found.insert(pool.name.clone(), fault);
            }
            None => {
                let whose = format!("pool {}", pool.name);
                taken.extend(pool.ranges.iter().map(|range| (*range, whose.clone())));
            }
        }
    }
    found
}

fn fault(pool: &PoolNet, taken: &[(IpNet, String)]) -> Option<PoolFault> {
    if let Some(why) = &pool.unreadable {
        return Some(PoolFault::Unreadable(why.clone()));
    }
    if pool.ranges.is_empty() {
        return Some(PoolFault::Empty);
    }
    for (size, longest) in [(pool.block_sizes.ipv4, 32), (pool.block_sizes.ipv6, 128)] {
        if size > longest {
            return Some(PoolFault::BlockSize { size, longest });
        }
    }
    let collides = |(n, range): (usize, &IpNet)| {
        let own = pool.ranges[..n].iter().find(|other| overlap(range, other));
        let own = own.map(|other| (*other, "the same pool".to_owned()));
        let others = || {
            taken
                .iter()
                .find(|(other, _)| overlap(range, other))
                .cloned()
        };
        own.or_else(others)
            .map(|(other, whose)| PoolFault::Overlap {
                range: *range,
                other,
                whose,
            })
    };
    pool.ranges.iter().enumerate().find_map(collides)
}

/// The pool that a pod's addresses come from; `None` for the node's own subnets.
///
/// # Errors
/// A [`SelectError`] for a pool that is asked for, or selects the pod, and cannot serve.
pub fn select<'a>(
    pools: impl Iterator<Item = &'a PoolNet> + Clone,
    faults: &BTreeMap<String, PoolFault>,
    asked: Option<&str>,
    namespace: &Labels,
    pod: &Labels,
) -> Result<Option<&'a PoolNet>, SelectError> {
    let for_namespace = |pool: &PoolNet| {
        pool.namespaces
            .as_ref()
            .is_none_or(|s| s.matches(namespace))
    };
    let found = match asked {
        Some(name) => {
            let pool = pools
                .clone()
                .find(|pool| pool.name == name)
                .ok_or_else(|| SelectError::Absent(name.to_owned()))?;
            if !for_namespace(pool) {
                return Err(SelectError::NotForNamespace(name.to_owned()));
            }
            Some(pool)
        }
        None => {
            let selects = |pool: &&PoolNet| {
                // What cannot be read selects nobody: it might have meant anybody.
                pool.selects()
                    && pool.unreadable.is_none()
                    && !pool.deleting
                    && for_namespace(pool)
                    && pool.pods.as_ref().is_none_or(|s| s.matches(pod))
            };
            pools.filter(selects).min_by_key(|pool| &pool.name)
        }
    };
    let Some(pool) = found else { return Ok(None) };
    let name = pool.name.clone();
    match faults.get(&name) {
        Some(fault) => Err(SelectError::Faulty {
            name,
            fault: fault.clone(),
        }),
        None if pool.deleting => Err(SelectError::Deleting(name)),
        None => Ok(Some(pool)),
    }
}

#[cfg(test)]
mod tests {
    use sealane_objects::{BlockSizes, Selector};

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn pool(name: &str, created: i64, ranges: &[&str]) -> PoolNet {
        PoolNet {
            name: name.into(),
            created,
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..PoolNet::default()
        }
    }

    fn by(pairs: &[(&str, &str)]) -> Option<Selector> {
        Some(Selector::of_labels(labels(pairs)))
    }

    fn told(pools: &[PoolNet], reserved: &[(IpNet, String)]) -> Vec<String> {
        let node = NodeNet {
            name: "node-1".into(),
            internal_ips: vec!["172.29.0.2".parse().unwrap()],
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            ..NodeNet::default()
        };
        let pools: Vec<&PoolNet> = pools.iter().collect();
        let faults = faults(&pools, &[&node], reserved);
        faults
            .iter()
            .map(|(name, fault)| format!("{name}: {fault}"))
            .collect()
    }

    #[test]
    fn what_overlaps_is_not_used_and_the_older_one_is() {
        let pools = [
            pool("a", 9, &["10.99.0.0/16"]),
            pool("b", 1, &["10.98.0.0/24", "10.99.3.0/24"]),
            pool("c", 2, &["10.97.0.0/24", "10.97.0.128/25"]),
            pool("d", 2, &["10.244.0.0/16"]),
            pool("e", 2, &["172.29.0.0/29"]),
            pool("f", 2, &["10.96.7.0/24"]),
            pool("g", 2, &[]),
            pool("h", 9, &["10.99.0.0/16"]),
        ];
        let services = ("10.96.0.0/12".parse().unwrap(), "the Services".to_owned());
        assert_eq!(
            told(&pools, &[services]),
            [
                "a: its range 10.99.0.0/16 overlaps 10.96.0.0/12 of the Services",
                "b: its range 10.98.0.0/24 overlaps 10.96.0.0/12 of the Services",
                "c: its range 10.97.0.0/24 overlaps 10.96.0.0/12 of the Services",
                "d: its range 10.244.0.0/16 overlaps 10.244.1.0/24 of the pod subnet of node node-1",
                "e: its range 172.29.0.0/29 overlaps 172.29.0.2/32 of the address of node node-1",
                "f: its range 10.96.7.0/24 overlaps 10.96.0.0/12 of the Services",
                "g: it has no range: .spec.ranges is empty",
                "h: its range 10.99.0.0/16 overlaps 10.96.0.0/12 of the Services",
            ]
        );
        assert_eq!(
            told(&[pools[0].clone(), pools[1].clone(), pools[2].clone()], &[]),
            [
                "a: its range 10.99.0.0/16 overlaps 10.99.3.0/24 of pool b",
                "c: its range 10.97.0.128/25 overlaps 10.97.0.0/24 of the same pool",
            ]
        );
    }

    #[test]
    fn sizes_that_no_block_has_are_told() {
        let pool = PoolNet {
            block_sizes: BlockSizes {
                ipv4: 33,
                ipv6: 122,
            },
            ..pool("a", 1, &["10.99.0.0/24"])
        };
        assert_eq!(
            told(&[pool], &[]),
            ["a: its blocks cannot have a prefix of /33: expected at most /32"]
        );
    }

    #[test]
    fn a_pod_gets_what_it_asks_for_or_the_first_that_selects_it() {
        let pools = [
            pool("asked-only", 1, &["10.1.0.0/24"]),
            PoolNet {
                namespaces: by(&[("team", "web")]),
                pods: by(&[("app", "shop")]),
                ..pool("shop", 1, &["10.2.0.0/24"])
            },
            PoolNet {
                namespaces: by(&[("team", "web")]),
                ..pool("web", 1, &["10.3.0.0/24"])
            },
            PoolNet {
                pods: by(&[("app", "old")]),
                deleting: true,
                ..pool("old", 1, &["10.4.0.0/24"])
            },
        ];
        let (web, none) = (labels(&[("team", "web")]), Labels::new());
        let shop = labels(&[("app", "shop")]);
        let found = |asked, namespace: &Labels, pod: &Labels| {
            let found = select(pools.iter(), &BTreeMap::new(), asked, namespace, pod);
            match found {
                Ok(found) => found.map_or("subnet", |pool| &pool.name).to_owned(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(found(None, &none, &shop), "subnet");
        assert_eq!(found(None, &web, &shop), "shop");
        assert_eq!(found(None, &web, &none), "web");
        assert_eq!(found(None, &none, &labels(&[("app", "old")])), "subnet");
        assert_eq!(found(Some("asked-only"), &web, &shop), "asked-only");
        assert_eq!(found(Some("web"), &web, &shop), "web");
        assert!(found(Some("web"), &none, &none).contains("not for this namespace"));
        assert!(found(Some("absent"), &none, &none).contains("kubectl get ippools"));
        assert!(found(Some("old"), &none, &none).contains("being deleted"));
        let faults = [("web".to_owned(), PoolFault::Empty)].into();
        let error = select(pools.iter(), &faults, None, &web, &none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pool web cannot be used: it has no range: .spec.ranges is empty"
        );
    }
}
