//! Named pools as an API server keeps them: one state, versions, and a watch for each agent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use sealane_agent::{Feed, Ledger};
use sealane_kube::{Change, PoolWrite};
use sealane_objects::{ObjectName, PoolNet};
use tokio::sync::mpsc;

use super::NODE;

/// The range of Services.
pub const SERVICES: &str = "10.200.0.0/16";

/// The pools, and who watches them.
#[derive(Default)]
pub struct Shelf(Mutex<State>);

#[derive(Default)]
struct State {
    pools: BTreeMap<String, PoolNet>,
    version: u64,
    watchers: Vec<mpsc::Sender<Feed>>,
    /// The next writes are refused as if somebody else had written.
    pub conflicts: usize,
}

impl Shelf {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another watcher, which is told everything.
    pub fn tell_all(&self, watcher: &mpsc::Sender<Feed>) {
        let mut state = self.state();
        let named = |pool: &PoolNet| (ObjectName::new("", &pool.name), pool.clone());
        let all = state.pools.values().map(named).collect();
        watcher
            .blocking_send(Feed::Pools(Change::Reset(all)))
            .ok()
            .unwrap();
        let services = (
            ObjectName::new("", "kubernetes"),
            vec![SERVICES.parse().unwrap()],
        );
        let ranges = Feed::ServiceRanges(Change::Reset(vec![services]));
        watcher.blocking_send(ranges).ok().unwrap();
        state.watchers.push(watcher.clone());
    }

    /// Adds or changes a pool, as a person does; its blocks stay.
    pub fn apply(&self, pool: PoolNet) {
        let (change, watchers) = {
            let mut state = self.state();
            let blocks = state.pools.get(&pool.name).map(|old| old.blocks.clone());
            let blocks = blocks.unwrap_or_else(|| pool.blocks.clone());
            let kept = pool.kept || !blocks.is_empty();
            let condition = state
                .pools
                .get(&pool.name)
                .and_then(|old| old.condition.clone());
            state.put(PoolNet {
                blocks,
                kept,
                condition,
                ..pool
            })
        };
        for watcher in watchers {
            let _ = watcher.blocking_send(Feed::Pools(change.clone()));
        }
    }

    pub fn refuse_next(&self, writes: usize) {
        self.state().conflicts = writes;
    }

    pub fn get(&self, name: &str) -> Option<PoolNet> {
        self.state().pools.get(name).cloned()
    }

    /// The blocks of the node of tests, as texts.
    pub fn blocks(&self, name: &str) -> Vec<String> {
        let pool = self.get(name).unwrap_or_default();
        pool.blocks_of(NODE)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn write(
        &self,
        write: PoolWrite,
    ) -> Result<(Change<PoolNet>, Vec<mpsc::Sender<Feed>>), String> {
        let mut state = self.state();
        if state.conflicts > 0 {
            state.conflicts -= 1;
            return Err("conflict".into());
        }
        let found = state.pools.get(&write.seen.name).cloned();
        let mut pool = found.ok_or("not found")?;
        if pool.resource_version != write.seen.resource_version {
            return Err("conflict".into());
        }
        for node in &write.gone {
            pool.blocks.remove(node);
        }
        pool.blocks.insert(NODE.into(), write.blocks);
        pool.blocks.retain(|_, blocks| !blocks.is_empty());
        pool.condition = Some(write.condition);
        pool.kept = !pool.deleting || !pool.blocks.is_empty();
        Ok(state.put(pool))
    }
}

impl State {
    fn put(&mut self, mut pool: PoolNet) -> (Change<PoolNet>, Vec<mpsc::Sender<Feed>>) {
        self.version += 1;
        pool.resource_version = self.version.to_string();
        let name = ObjectName::new("", &pool.name);
        let change = if pool.deleting && !pool.kept {
            self.pools.remove(&pool.name);
            Change::Deleted(name, pool)
        } else {
            self.pools.insert(pool.name.clone(), pool.clone());
            Change::Applied(name, pool)
        };
        (change, self.watchers.clone())
    }
}

/// How an agent writes.
pub fn ledger(shelf: &Arc<Shelf>) -> Ledger {
    let shelf = Arc::clone(shelf);
    Box::new(move |write| {
        let written = shelf.write(write);
        async move {
            let (change, watchers) = written?;
            for watcher in watchers {
                let _ = watcher.send(Feed::Pools(change.clone())).await;
            }
            Ok(())
        }
        .boxed()
    })
}
