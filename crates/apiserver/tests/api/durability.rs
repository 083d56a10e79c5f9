//! What was acknowledged is there, wherever the server is killed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{PAUSE, Server, within};

const KILLS: usize = 10;
const WRITERS: usize = 8;
const WRITES_BETWEEN_KILLS: usize = 60;

/// What the server has acknowledged: the value of each object, `None` once it was deleted.
type Acknowledged = Arc<Mutex<BTreeMap<String, Option<u64>>>>;

#[tokio::test]
async fn no_acknowledged_write_is_lost() {
    let mut server = Server::start();
    let client = server.client().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let (acknowledged, count) = (Acknowledged::default(), Arc::new(AtomicUsize::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(
            maps.clone(),
            writer,
            acknowledged.clone(),
            count.clone(),
        ));
    }
    for kill in 1..=KILLS {
        within("writes", async {
            while count.load(Ordering::Relaxed) < kill * WRITES_BETWEEN_KILLS {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
        server.kill_and_launch();
    }
    writers.shutdown().await;
    server.kill_and_launch();
    let found: BTreeMap<String, u64> = within("the list", maps.list(&Default::default()))
        .await
        .unwrap()
        .into_iter()
        .filter_map(|map| Some((map.metadata.name?, map.data?.get("value")?.parse().ok()?)))
        .collect();
    let acknowledged = acknowledged.lock().unwrap();
    assert!(
        acknowledged.len() > WRITERS,
        "{} objects",
        acknowledged.len()
    );
    for (name, value) in &*acknowledged {
        // The last write of each writer may have been done without being acknowledged.
        match (value, found.get(name)) {
            (Some(value), Some(found)) => assert!(found >= value, "{name}: {found} < {value}"),
            (Some(value), None) => panic!("{name}={value} was acknowledged and is gone"),
            (None, Some(found)) => panic!("{name} was deleted and is back with {found}"),
            (None, None) => {}
        }
    }
}

/// Creates, changes and deletes its own objects one after the other, and notes what is
/// acknowledged; whatever fails because the server is killed is simply not noted.
async fn write(maps: Api<ConfigMap>, writer: usize, noted: Acknowledged, count: Arc<AtomicUsize>) {
    for value in 0u64.. {
        let name = format!("w{writer}-{}", value / 4);
        let note = |value: Option<u64>| {
            noted.lock().unwrap().insert(name.clone(), value);
            count.fetch_add(1, Ordering::Relaxed);
        };
        let data = json!({"metadata": {"name": name}, "data": {"value": value.to_string()}});
        let done = match value % 4 {
            0 => {
                let map = serde_json::from_value(data).unwrap();
                maps.create(&PostParams::default(), &map)
                    .await
                    .map(|_| Some(value))
            }
            3 if value % 8 == 7 => {
                // Forget what was noted before asking: it may be gone although nobody says so.
                let before = noted.lock().unwrap().remove(&name);
                let done = maps
                    .delete(&name, &DeleteParams::default())
                    .await
                    .map(|_| None);
                if done.is_err() && before.is_none() {
                    continue;
                }
                done
            }
            _ => {
                let patch = PatchParams::default();
                maps.patch(&name, &patch, &Patch::Merge(data))
                    .await
                    .map(|_| Some(value))
            }
        };
        match done {
            Ok(value) => note(value),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
