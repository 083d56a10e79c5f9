//! Two thousand objects, a hundred watchers, writers, and a server that is killed again and again.
//!
//! Every write that was acknowledged is in the final state or was replaced by a later one; every
//! watcher, resuming from the version it has seen, is told the same events in the same order, each
//! once; versions only grow; and no object is half there. `SEALANE_KILLS` says how often the
//! server is killed, `SEALANE_SEED` at which moments.

use std::{
    collections::BTreeMap,
    env,
    fmt::Debug,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{DEADLINE, PAUSE, Server, within};

const OBJECTS: usize = 2000;
const WATCHERS: usize = 100;
const WRITERS: usize = 16;
/// Acknowledged writes between two kills, at most.
const WRITES: u64 = 150;
/// One kill of so many comes while the server is starting.
const EARLY: u64 = 4;
const LATEST_EARLY_MS: u64 = 80;

/// The state of one object: its version, and the value in it; no value once it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    version: u64,
    value: Option<u64>,
}

type Event = (String, State);

/// What all writers share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    count: AtomicUsize,
    /// The newest version that was acknowledged.
    newest: AtomicU64,
    acknowledged: Mutex<Vec<Event>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_and_no_event_missed_or_seen_twice() {
    let (kills, seed) = (
        setting("SEALANE_KILLS", 10_u64),
        setting("SEALANE_SEED", 1_u64),
    );
    println!("{kills} kills, seed {seed}");
    let mut server = Server::prepare();
    server.event_history = 50_000;
    server.launch();
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let first = make_objects(&maps).await;

    let seen: Vec<_> = (0..WATCHERS)
        .map(|_| Arc::<Mutex<Vec<Event>>>::default())
        .collect();
    let mut watchers = JoinSet::new();
    for seen in &seen {
        watchers.spawn(follow(maps.clone(), first, seen.clone()));
    }
    let shared = Arc::new(Shared::default());
    shared.newest.store(first, Ordering::SeqCst);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let dice = Dice(seed.wrapping_mul(1000) + writer as u64);
        writers.spawn(write(maps.clone(), writer, dice, shared.clone()));
    }

    let mut dice = Dice(seed);
    for _ in 0..kills {
        let enough = shared.count.load(Ordering::SeqCst) + dice.below(WRITES) as usize;
        within("writes", async {
            while shared.count.load(Ordering::SeqCst) < enough {
                tokio::time::sleep(PAUSE).await;
                assert!(writers.try_join_next().is_none(), "a writer has ended");
                assert!(watchers.try_join_next().is_none(), "a watcher has ended");
            }
        })
        .await;
        server.kill_and_launch();
        if dice.below(EARLY) == 0 {
            // Not a wait for something: the moment of the next kill, while it starts.
            let moment = Duration::from_millis(dice.below(LATEST_EARLY_MS));
            tokio::time::sleep(moment).await;
            server.kill_and_launch();
        }
    }
    shared.stop.store(true, Ordering::SeqCst);
    let mut known = BTreeMap::new();
    while let Some(written) = within("a writer's end", writers.join_next()).await {
        known.extend(written.unwrap());
    }
    server.kill_and_launch();

    // A client of its own: one that has talked to the killed server may not have noticed yet.
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let last = create(&maps, "end", 0).await;
    let found = list(&maps).await;
    for (name, state) in &known {
        let value = found.get(name).map(|state| state.value);
        assert_eq!(value.flatten(), state.value, "{name}");
    }
    within("the last event at all watchers", async {
        while !seen.iter().all(|seen| newest(seen) == last) {
            tokio::time::sleep(PAUSE).await;
            assert!(watchers.try_join_next().is_none(), "a watcher has ended");
        }
    })
    .await;
    watchers.shutdown().await;
    compare(&seen, &found, &shared.acknowledged.lock().unwrap());
}

/// All watchers were told the same, all that was acknowledged, and what leads to the last state.
fn compare(
    seen: &[Arc<Mutex<Vec<Event>>>],
    found: &BTreeMap<String, State>,
    acknowledged: &[Event],
) {
    let told = seen[0].lock().unwrap().clone();
    println!(
        "{} events, {} acknowledged writes",
        told.len(),
        acknowledged.len()
    );
    for (number, other) in seen.iter().enumerate() {
        let other = other.lock().unwrap();
        let differs = told.iter().zip(&*other).find(|(one, other)| one != other);
        assert_eq!(differs, None, "watcher {number}");
        assert_eq!(told.len(), other.len(), "watcher {number}");
    }
    let by_version: BTreeMap<u64, &Event> =
        told.iter().map(|event| (event.1.version, event)).collect();
    for write in acknowledged {
        assert_eq!(
            by_version.get(&write.1.version),
            Some(&write),
            "a write without its event"
        );
    }
    let mut replayed: BTreeMap<String, State> = BTreeMap::new();
    for (name, state) in told {
        replayed.insert(name, state);
    }
    for (name, state) in replayed {
        let expected = Some(state).filter(|state| state.value.is_some());
        assert_eq!(found.get(&name).copied(), expected, "{name}");
    }
}

/// A number from the environment.
fn setting<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn newest(seen: &Mutex<Vec<Event>>) -> u64 {
    seen.lock()
        .unwrap()
        .last()
        .map_or(0, |(_, state)| state.version)
}

fn object(name: &str, value: u64) -> serde_json::Value {
    // Long enough to take several pages of the file, all telling the same value.
    let data: BTreeMap<String, String> = (0..20)
        .map(|part| (format!("part-{part}"), format!("{value:060}")))
        .collect();
    json!({"metadata": {"name": name}, "data": data})
}

fn state(map: &ConfigMap) -> Option<Event> {
    let name = map.name_any();
    let data = map.data.as_ref()?;
    let mut values: Vec<u64> = data.values().filter_map(|text| text.parse().ok()).collect();
    if !name.starts_with("o-") && name != "end" {
        return None;
    }
    assert_eq!(values.len(), 20, "{name} is half there");
    values.dedup();
    assert_eq!(values.len(), 1, "{name} is half old: {values:?}");
    let version = version(map);
    Some((
        name,
        State {
            version,
            value: values.pop(),
        },
    ))
}

fn version(map: &ConfigMap) -> u64 {
    map.resource_version().unwrap().parse().unwrap()
}

async fn create(maps: &Api<ConfigMap>, name: &str, value: u64) -> u64 {
    let map = serde_json::from_value(object(name, value)).unwrap();
    let post = PostParams::default();
    let made = within("a creation", maps.create(&post, &map)).await;
    version(&made.unwrap())
}

/// Makes all objects; the newest version among them.
async fn make_objects(maps: &Api<ConfigMap>) -> u64 {
    let made = futures::stream::iter(0..OBJECTS)
        .map(|number| async move { Ok(create(maps, &format!("o-{number}"), 0).await) })
        .buffer_unordered(64)
        .try_fold(0, |newest, version| async move {
            Ok::<_, ()>(version.max(newest))
        });
    made.await.unwrap()
}

async fn list(maps: &Api<ConfigMap>) -> BTreeMap<String, State> {
    let list = within("the list", maps.list(&Default::default()))
        .await
        .unwrap();
    list.iter().filter_map(state).collect()
}

/// Watches from `version` on, for ever, and resumes wherever it was cut off.
async fn follow(maps: Api<ConfigMap>, mut newest: u64, seen: Arc<Mutex<Vec<Event>>>) {
    loop {
        let from = newest.to_string();
        let Ok(events) = maps.watch(&WatchParams::default(), &from).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut events = events.boxed();
        while let Some(Ok(event)) = events.next().await {
            let (map, deleted) = match event {
                WatchEvent::Added(map) | WatchEvent::Modified(map) => (map, false),
                WatchEvent::Deleted(map) => (map, true),
                WatchEvent::Bookmark(mark) => {
                    let told: u64 = mark.metadata.resource_version.parse().unwrap();
                    assert!(
                        told >= newest,
                        "a bookmark goes back from {newest} to {told}"
                    );
                    newest = told;
                    continue;
                }
                WatchEvent::Error(status) => panic!("resuming from {newest}: {status:?}"),
            };
            let told = version(&map);
            assert!(told > newest, "{} comes after {newest}", told);
            newest = told;
            if let Some((name, mut state)) = state(&map) {
                state.value = state.value.filter(|_| !deleted);
                seen.lock().unwrap().push((name, state));
            }
        }
    }
}

/// Changes, deletes and makes its own objects until it is to stop; what it knows of them then.
async fn write(
    maps: Api<ConfigMap>,
    writer: usize,
    mut dice: Dice,
    shared: Arc<Shared>,
) -> BTreeMap<String, State> {
    let mut known = BTreeMap::new();
    let mut value = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        let own = (OBJECTS / WRITERS) as u64;
        let name = format!("o-{}", dice.below(own) as usize * WRITERS + writer);
        let before = known.get(&name).copied().unwrap_or(State {
            version: 0,
            value: Some(0),
        });
        let newest = shared.newest.load(Ordering::SeqCst);
        value += 1;
        let wanted = Some(value).filter(|_| before.value.is_none() || dice.below(8) > 0);
        let state = match attempt(&maps, &name, before.value, wanted).await {
            Ok(version) => {
                shared.count.fetch_add(1, Ordering::SeqCst);
                if let Some(version) = version {
                    assert!(
                        version > newest,
                        "{name}: version {version} came after {newest}"
                    );
                    shared.newest.fetch_max(version, Ordering::SeqCst);
                    let state = State {
                        version,
                        value: wanted,
                    };
                    shared
                        .acknowledged
                        .lock()
                        .unwrap()
                        .push((name.clone(), state));
                }
                State {
                    version: version.unwrap_or(0),
                    value: wanted,
                }
            }
            // Nobody knows whether it was done, until the server answers again.
            Err(_) => {
                let found = look(&maps, &name).await;
                let value = found.and_then(|state| state.value);
                assert!(
                    [before.value, wanted].contains(&value),
                    "{name}: {before:?}, {found:?}"
                );
                State {
                    version: found.map_or(0, |state| state.version),
                    value,
                }
            }
        };
        known.insert(name, state);
    }
    known
}

/// One write; the version it has made, which a deletion does not tell.
async fn attempt(
    maps: &Api<ConfigMap>,
    name: &str,
    before: Option<u64>,
    wanted: Option<u64>,
) -> kube::Result<Option<u64>> {
    let Some(value) = wanted else {
        maps.delete(name, &DeleteParams::default()).await?;
        return Ok(None);
    };
    let object = object(name, value);
    let written = if before.is_some() {
        maps.patch(name, &PatchParams::default(), &Patch::Merge(object))
            .await?
    } else {
        let map = serde_json::from_value(object).unwrap();
        maps.create(&PostParams::default(), &map).await?
    };
    Ok(Some(version(&written)))
}

async fn look(maps: &Api<ConfigMap>, name: &str) -> Option<State> {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        match maps.get_opt(name).await {
            Ok(found) => return found.and_then(|map| state(&map)).map(|(_, state)| state),
            Err(cause) => assert!(tokio::time::Instant::now() < end, "{name}: {cause}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
