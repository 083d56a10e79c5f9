//! What nodes have and pods ask for: processor time, memory, storage, and what else is countable.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::quantity;

/// Amounts of resources. What is not named is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `ephemeral-storage` in bytes.
    pub storage_bytes: u64,
    /// Huge pages and extended resources (`example.com/gpu`), in their own units.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, u64>,
}

/// Which part of a pod a container is, as far as resources go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ends before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: stays.
    Sidecar,
    /// One of `containers`.
    Main,
}

impl Resources {
    /// From a list of names and quantities; `pods` and what cannot be read are left out.
    pub fn of<'a>(list: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut resources = Self::default();
        for (name, text) in list {
            let amount = match name {
                "cpu" => quantity::millis(text),
                _ => quantity::units(text),
            };
            if let Some(amount) = amount {
                resources.set(name, amount);
            }
        }
        resources
    }

    /// Sets one resource, CPU in thousandths.
    pub fn set(&mut self, name: &str, amount: u64) {
        match name {
            "cpu" => self.cpu_millis = amount,
            "memory" => self.memory_bytes = amount,
            "ephemeral-storage" => self.storage_bytes = amount,
            "pods" => {}
            _ => {
                self.others.insert(name.to_owned(), amount);
            }
        }
    }

    /// Each resource by its Kubernetes name, those of every node first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let usual = [
            ("cpu", self.cpu_millis),
            ("memory", self.memory_bytes),
            ("ephemeral-storage", self.storage_bytes),
        ];
        let others = self.others.iter().map(|(name, n)| (name.as_str(), *n));
        usual.into_iter().chain(others)
    }

    /// One resource by its Kubernetes name.
    pub fn get(&self, name: &str) -> u64 {
        match name {
            "cpu" => self.cpu_millis,
            "memory" => self.memory_bytes,
            "ephemeral-storage" => self.storage_bytes,
            _ => self.others.get(name).copied().unwrap_or(0),
        }
    }

    /// Adds another's amounts.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// Takes another's amounts away.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub);
        self.others.retain(|_, amount| *amount > 0);
    }

    /// Of each resource the larger amount.
    pub fn raise(&mut self, other: &Self) {
        self.combine(other, u64::max);
    }

    fn combine(&mut self, other: &Self, join: impl Fn(u64, u64) -> u64) {
        self.cpu_millis = join(self.cpu_millis, other.cpu_millis);
        self.memory_bytes = join(self.memory_bytes, other.memory_bytes);
        self.storage_bytes = join(self.storage_bytes, other.storage_bytes);
        for (name, amount) in &other.others {
            match self.others.get_mut(name) {
                Some(own) => *own = join(*own, *amount),
                None => {
                    self.others.insert(name.clone(), join(0, *amount));
                }
            }
        }
    }
}

/// What a pod of these containers, init containers first, takes up at its worst moment.
///
/// Init containers run one by one, each beside the sidecars that were started
/// before it; the others run together with all sidecars (Kubernetes docs,
/// "Sidecar containers", resource sharing within containers).
pub fn together<'a>(containers: impl IntoIterator<Item = (Role, &'a Resources)>) -> Resources {
    let (mut standing, mut peak) = (Resources::default(), Resources::default());
    for (role, resources) in containers {
        match role {
            Role::Main | Role::Sidecar => standing.add(resources),
            Role::Init => {
                let mut now = standing.clone();
                now.add(resources);
                peak.raise(&now);
            }
        }
    }
    standing.raise(&peak);
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(millis: u64) -> Resources {
        Resources {
            cpu_millis: millis,
            ..Resources::default()
        }
    }

    #[test]
    fn a_pod_takes_what_its_worst_moment_takes() {
        let cases = [
            (vec![(Role::Main, 100), (Role::Main, 200)], 300),
            (vec![(Role::Init, 500), (Role::Main, 200)], 500),
            (
                vec![(Role::Init, 100), (Role::Init, 150), (Role::Main, 120)],
                150,
            ),
            // A sidecar stands beside the init containers after it, and beside the main ones.
            (
                vec![(Role::Sidecar, 100), (Role::Init, 500), (Role::Main, 200)],
                600,
            ),
            (
                vec![(Role::Init, 500), (Role::Sidecar, 100), (Role::Main, 200)],
                500,
            ),
            (vec![(Role::Sidecar, 300), (Role::Main, 400)], 700),
            (vec![], 0),
        ];
        for (containers, expected) in cases {
            let amounts: Vec<_> = containers.iter().map(|(r, n)| (*r, cpu(*n))).collect();
            let sum = together(amounts.iter().map(|(role, amount)| (*role, amount)));
            assert_eq!(sum.cpu_millis, expected, "{containers:?}");
        }
    }

    #[test]
    fn lists_are_read_and_pods_are_not_among_them() {
        let list = [
            ("cpu", "1500m"),
            ("memory", "1Ki"),
            ("pods", "110"),
            ("example.com/gpu", "2"),
            ("x", "?"),
        ];
        let resources = Resources::of(list);
        assert_eq!(resources.get("cpu"), 1500);
        assert_eq!(resources.get("memory"), 1024);
        assert_eq!(resources.get("example.com/gpu"), 2);
        assert_eq!(resources.others.len(), 1);
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let gpu = Resources::of([("example.com/gpu", "1"), ("cpu", "1")]);
        let mut sum = cpu(5);
        sum.add(&gpu);
        sum.subtract(&gpu);
        assert_eq!(sum, cpu(5));
    }
}
