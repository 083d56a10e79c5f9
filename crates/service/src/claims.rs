//! Who has a frontend when several Services want it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sealane_objects::ObjectName;

use crate::Frontend;

/// A Service that wants a frontend. The smallest has it: the older one, then the one whose name comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claimant {
    pub created: i64,
    pub service: Arc<ObjectName>,
}

/// All frontends that are wanted; nearly all by one Service alone.
#[derive(Default)]
pub(crate) struct Claims {
    by_frontend: HashMap<Frontend, Box<[Claimant]>>,
}

impl Claims {
    /// Who has it.
    pub(crate) fn winner(&self, frontend: &Frontend) -> Option<&Arc<ObjectName>> {
        let first = self.by_frontend.get(frontend)?.first()?;
        Some(&first.service)
    }

    /// Replaces what a Service wants; names the other Services that win or lose a frontend by that.
    pub(crate) fn replace(
        &mut self,
        old: Option<(&Claimant, &[Frontend])>,
        new: Option<(&Claimant, &[Frontend])>,
    ) -> BTreeSet<Arc<ObjectName>> {
        let mut concerned = BTreeSet::new();
        if old == new {
            return concerned;
        }
        if let Some((claimant, frontends)) = old {
            for frontend in frontends {
                let rest = self.edit(frontend, |list| list.retain(|c| c != claimant));
                concerned.extend(rest);
            }
        }
        if let Some((claimant, frontends)) = new {
            for frontend in frontends {
                let all = self.edit(frontend, |list| {
                    list.push(claimant.clone());
                    list.sort_unstable();
                    list.dedup();
                });
                concerned.extend(all);
            }
            concerned.remove(&claimant.service);
        }
        concerned
    }

    /// Who claims it afterwards.
    fn edit(
        &mut self,
        frontend: &Frontend,
        change: impl FnOnce(&mut Vec<Claimant>),
    ) -> Vec<Arc<ObjectName>> {
        let mut list = self
            .by_frontend
            .remove(frontend)
            .unwrap_or_default()
            .into_vec();
        change(&mut list);
        let names = list.iter().map(|c| Arc::clone(&c.service)).collect();
        if !list.is_empty() {
            self.by_frontend.insert(*frontend, list.into());
        }
        names
    }
}
