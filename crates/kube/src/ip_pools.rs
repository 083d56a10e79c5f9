//! Named pools of pod addresses: the custom resource `IPPool`, which need not be served.
//!
//! A cluster without that kind is one without pools, so its absence is no
//! error; it is looked for now and then. What a node has of a pool stands in the
//! pool's status, and every write of it names the version that it was decided
//! from: of two nodes that want the same block at once one is told to look
//! again. A finalizer keeps a pool from vanishing while nodes have blocks of it,
//! since they say where packets for its addresses go.

use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, Error, ResourceExt};
use sealane_net::IpNet;
use sealane_objects::{BlockSizes, PoolNet, Selector};
use serde_json::{Value, json};

use crate::{Change, is_forbidden, is_not_found, watch_objects};

/// Keeps a pool until no node has a block of it.
const FINALIZER: &str = "sealane.io/blocks";
/// How often the kind is looked for where it is not served.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The kind.
pub fn ip_pool_resource() -> ApiResource {
    ApiResource {
        group: "sealane.io".into(),
        version: "v1alpha1".into(),
        api_version: "sealane.io/v1alpha1".into(),
        kind: "IPPool".into(),
        plural: "ippools".into(),
    }
}

fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ip_pool_resource())
}

/// Where the watch stands.
enum Watch {
    Looking { told: bool },
    Watching(BoxStream<'static, Change<PoolNet>>),
}

/// Watches all pools; none while the server does not know the kind.
pub fn watch_ip_pools(client: Client) -> impl Stream<Item = Change<PoolNet>> + Send {
    stream::unfold(
        (client, Watch::Looking { told: false }),
        |(client, mut watch)| async move {
            loop {
                watch = match watch {
                    Watch::Watching(mut changes) => {
                        let change = changes.next().await?;
                        return Some((change, (client, Watch::Watching(changes))));
                    }
                    Watch::Looking { .. } if is_served(&client).await => {
                        let resource = ip_pool_resource();
                        let changes = watch_objects(client.clone(), &resource, |o| pool_net(&o));
                        Watch::Watching(changes.boxed())
                    }
                    Watch::Looking { told: false } => {
                        let none = Change::Reset(Vec::new());
                        return Some((none, (client, Watch::Looking { told: true })));
                    }
                    Watch::Looking { told: true } => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        Watch::Looking { told: true }
                    }
                };
            }
        },
    )
}

/// A server that is away is left to the watch, which waits and says so.
async fn is_served(client: &Client) -> bool {
    match api(client).list(&ListParams::default().limit(1)).await {
        Err(error) if is_forbidden(&error) => {
            tracing::debug!("no pools of addresses: this role may not list ippools.sealane.io");
            false
        }
        Err(error) => !is_not_found(&error),
        Ok(_) => true,
    }
}

/// The network's view of a pool.
pub fn pool_net(pool: &DynamicObject) -> PoolNet {
    let metadata = &pool.metadata;
    let created = metadata.creation_timestamp.as_ref();
    let spec = &pool.data["spec"];
    let mut net = PoolNet {
        name: pool.name_any(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        created: created.map_or(i64::MAX, |time| time.0.as_second()),
        deleting: metadata.deletion_timestamp.is_some(),
        kept: pool.finalizers().iter().any(|name| name == FINALIZER),
        ..PoolNet::default()
    };
    net.blocks = serde_json::from_value(pool.data["status"]["blocks"].clone()).unwrap_or_default();
    if let Err(why) = read_spec(spec, &mut net) {
        net.unreadable = Some(why);
    }
    net
}

fn read_spec(spec: &Value, net: &mut PoolNet) -> Result<(), String> {
    let ranges = spec["ranges"].as_array().map_or(&[][..], Vec::as_slice);
    net.ranges = ranges
        .iter()
        .map(|range| {
            let text = range.as_str().unwrap_or_default();
            let parsed = text.parse::<IpNet>().map(|net| net.trunc());
            parsed.map_err(|_| format!("its range {range} is not a network such as 10.99.0.0/24"))
        })
        .collect::<Result<_, _>>()?;
    net.block_sizes = match &spec["blockSizes"] {
        Value::Null => BlockSizes::default(),
        sizes => serde_json::from_value(sizes.clone())
            .map_err(|error| format!("its blockSizes {sizes} cannot be read: {error}"))?,
    };
    net.namespaces = selector(spec, "namespaceSelector")?;
    net.pods = selector(spec, "podSelector")?;
    Ok(())
}

fn selector(spec: &Value, field: &str) -> Result<Option<Selector>, String> {
    match &spec[field] {
        Value::Null => Ok(None),
        selector => serde_json::from_value(selector.clone())
            .map(Some)
            .map_err(|error| format!("its {field} {selector} cannot be read: {error}")),
    }
}

/// Writes which blocks of a pool a node has, if the pool is still as it was seen.
///
/// `gone` are nodes that seem not to be there any more; they lose theirs if the
/// server does not know them either. A pool that is being deleted goes with the
/// last block.
///
/// # Errors
/// A conflict when somebody has changed it meanwhile; whatever else the server refuses.
pub async fn write_blocks(
    client: &Client,
    seen: &PoolNet,
    node: &str,
    blocks: &[IpNet],
    gone: &[String],
) -> Result<(), Error> {
    let api = api(client);
    if seen.blocks.is_empty() && blocks.is_empty() {
        set_finalizer(&api, &seen.name, &seen.resource_version, false).await?;
        return Ok(());
    }
    let mut version = seen.resource_version.clone();
    if !blocks.is_empty() && !seen.kept {
        version = set_finalizer(&api, &seen.name, &version, true).await?;
    }
    let mut by_node = serde_json::Map::new();
    for name in gone {
        if !exists(client, name).await? {
            by_node.insert(name.clone(), Value::Null);
        }
    }
    let of_node = match blocks {
        [] => Value::Null,
        blocks => json!(blocks),
    };
    by_node.insert(node.to_owned(), of_node);
    let status = json!({
        "metadata": {"resourceVersion": version},
        "status": {"blocks": by_node},
    });
    let parameters = PatchParams::default();
    let patched = api
        .patch_status(&seen.name, &parameters, &Patch::Merge(&status))
        .await?;
    let now = pool_net(&patched);
    if now.deleting && now.kept && now.blocks.is_empty() {
        set_finalizer(&api, &seen.name, &now.resource_version, false).await?;
    }
    Ok(())
}

/// Whether the server knows a node, which a watch that lags behind may not.
async fn exists(client: &Client, node: &str) -> Result<bool, Error> {
    let of_name = ListParams::default().fields(&format!("metadata.name={node}"));
    let found = Api::<Node>::all(client.clone())
        .list_metadata(&of_name)
        .await?;
    Ok(!found.items.is_empty())
}

/// Sets or takes away our finalizer, and leaves others'; the version after that.
async fn set_finalizer(
    api: &Api<DynamicObject>,
    name: &str,
    version: &str,
    wanted: bool,
) -> Result<String, Error> {
    let found = api.get(name).await?;
    let mut finalizers: Vec<&str> = found.finalizers().iter().map(String::as_str).collect();
    finalizers.retain(|name| *name != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER);
    }
    let metadata = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    let patched = api
        .patch(name, &PatchParams::default(), &Patch::Merge(&metadata))
        .await?;
    Ok(patched.resource_version().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> PoolNet {
        let object = json!({
            "apiVersion": "sealane.io/v1alpha1", "kind": "IPPool",
            "metadata": {
                "name": "web", "resourceVersion": "7", "finalizers": ["other", FINALIZER],
                "creationTimestamp": "1970-01-01T00:01:00Z",
            },
            "spec": spec,
            "status": {"blocks": {"node-1": ["10.99.0.0/28"]}},
        });
        pool_net(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_pool_with_selectors_sizes_and_blocks() {
        let pool = read(json!({
            "ranges": ["10.99.0.7/24", "fd00:99::/64"],
            "blockSizes": {"ipv4": 30},
            "namespaceSelector": {"matchLabels": {"team": "web"}},
            "podSelector": {},
        }));
        assert_eq!(pool.unreadable, None);
        assert_eq!((pool.created, pool.kept, pool.deleting), (60, true, false));
        assert_eq!(pool.ranges[0].to_string(), "10.99.0.0/24");
        assert_eq!((pool.block_sizes.ipv4, pool.block_sizes.ipv6), (30, 122));
        assert!(pool.selects() && pool.pods.is_some_and(|pods| pods.is_empty()));
        assert_eq!(pool.blocks["node-1"][0].to_string(), "10.99.0.0/28");
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_field() {
        for (spec, part) in [
            (json!({"ranges": ["10.99.0.0"]}), "10.99.0.0"),
            (json!({"ranges": [7]}), "range 7"),
            (
                json!({"ranges": [], "blockSizes": {"ipv4": 300}}),
                "blockSizes",
            ),
            (
                json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Maybe"}]}}),
                "podSelector",
            ),
        ] {
            let why = read(spec.clone()).unreadable.unwrap();
            assert!(why.contains(part), "{spec}: {why}");
        }
    }
}
