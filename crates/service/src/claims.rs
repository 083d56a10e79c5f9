//! Who has a frontend when several Services want it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
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
    by_frontend: HashMap<Frontend, Box<[Claimant]>, RandomState>,
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
        concerned: &mut Vec<Arc<ObjectName>>,
    ) {
        if old == new {
            return;
        }
        if let Some((claimant, frontends)) = old {
            for frontend in frontends {
                self.give_up(claimant, *frontend, concerned);
            }
        }
        if let Some((claimant, frontends)) = new {
            for frontend in frontends {
                self.claim(claimant, *frontend, concerned);
            }
        }
    }

    fn give_up(
        &mut self,
        claimant: &Claimant,
        frontend: Frontend,
        concerned: &mut Vec<Arc<ObjectName>>,
    ) {
        let Entry::Occupied(mut known) = self.by_frontend.entry(frontend) else {
            return;
        };
        let mut list = std::mem::take(known.get_mut()).into_vec();
        list.retain(|other| other != claimant);
        concerned.extend(list.iter().map(|other| Arc::clone(&other.service)));
        match list.is_empty() {
            true => drop(known.remove()),
            false => *known.get_mut() = list.into(),
        }
    }

    fn claim(
        &mut self,
        claimant: &Claimant,
        frontend: Frontend,
        concerned: &mut Vec<Arc<ObjectName>>,
    ) {
        match self.by_frontend.entry(frontend) {
            Entry::Vacant(free) => {
                free.insert(Box::new([claimant.clone()]));
            }
            Entry::Occupied(mut known) => {
                let mut list = std::mem::take(known.get_mut()).into_vec();
                list.push(claimant.clone());
                list.sort_unstable();
                list.dedup();
                let others = list.iter().filter(|c| c.service != claimant.service);
                concerned.extend(others.map(|other| Arc::clone(&other.service)));
                *known.get_mut() = list.into();
            }
        }
    }
}
