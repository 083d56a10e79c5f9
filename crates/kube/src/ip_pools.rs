//! Named pools of pod addresses: the custom resource `IPPool`, which need not be served.
//!
//! A cluster without that kind is one without pools, so its absence is no
//! error; it is looked for now and then. What a node has of a pool stands in the
//! pool's status, and every write of it names the version that it was decided
//! from: of two nodes that want the same block at once one is told to look
//! again. A finalizer keeps a pool from vanishing while nodes have blocks of it,
//! since they say where packets for its addresses go.

use futures::Stream;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, Error, ResourceExt};
use sealane_net::IpNet;
use sealane_objects::{BlockSizes, PoolCondition, PoolNet, Selector};
use serde_json::{Value, json};

use crate::{Change, watch_served};

/// Keeps a pool until no node has a block of it.
const FINALIZER: &str = "sealane.io/blocks";
/// The condition that says whether pods get addresses of a pool.
const READY: &str = "Ready";

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

/// Watches all pools; none while the server does not know the kind.
pub fn watch_ip_pools(client: Client) -> impl Stream<Item = Change<PoolNet>> + Send {
    watch_served(client, ip_pool_resource(), |pool| pool_net(&pool))
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
        generation: metadata.generation.unwrap_or_default(),
        condition: condition(&pool.data["status"]),
        kept: pool.finalizers().iter().any(|name| name == FINALIZER),
        ..PoolNet::default()
    };
    net.blocks = serde_json::from_value(pool.data["status"]["blocks"].clone()).unwrap_or_default();
    if let Err(why) = read_spec(spec, &mut net) {
        net.unreadable = Some(why);
    }
    net
}

fn condition(status: &Value) -> Option<PoolCondition> {
    let conditions = status["conditions"].as_array()?;
    let ready = conditions.iter().find(|each| each["type"] == READY)?;
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    Some(PoolCondition {
        ready: ready["status"] == "True",
        reason: text("reason"),
        message: text("message"),
        generation: ready["observedGeneration"].as_i64().unwrap_or_default(),
        since: text("lastTransitionTime"),
    })
}

/// As Kubernetes writes conditions; the time is of the last change of what it says, not of how.
fn written(condition: &PoolCondition, before: Option<&PoolCondition>) -> Value {
    let same = before.filter(|before| before.ready == condition.ready);
    let since = match same {
        Some(before) => json!(before.since),
        None => json!(Time(Timestamp::now())),
    };
    let PoolCondition {
        ready,
        reason,
        message,
        generation,
        ..
    } = condition;
    json!({
        "type": READY, "status": if *ready { "True" } else { "False" },
        "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": since,
    })
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

/// What a node has to write about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWrite {
    /// The state that this was decided from.
    pub seen: PoolNet,
    /// All of the node's blocks.
    pub blocks: Vec<IpNet>,
    /// Nodes that are not there any more, as far as this one knows, and lose their blocks.
    pub gone: Vec<String>,
    /// What people are to know of it.
    pub condition: PoolCondition,
}

/// Writes which blocks of a pool a node has and how the pool is, if the pool is still as it was seen.
///
/// Nodes that are said to be gone lose their blocks if the server does not
/// know them either. A pool that is being deleted goes with the last block.
///
/// # Errors
/// A conflict when somebody has changed it meanwhile; whatever else the server refuses.
pub async fn write_pool(client: &Client, node: &str, write: &PoolWrite) -> Result<(), Error> {
    let api = api(client);
    let PoolWrite { seen, blocks, .. } = write;
    let mut version = seen.resource_version.clone();
    if seen.deleting && seen.blocks.is_empty() && blocks.is_empty() {
        set_finalizer(&api, &seen.name, &version, false).await?;
        return Ok(());
    }
    if !blocks.is_empty() && !seen.kept {
        version = set_finalizer(&api, &seen.name, &version, true).await?;
    }
    let mut by_node = serde_json::Map::new();
    for name in &write.gone {
        if !exists(client, name).await? {
            by_node.insert(name.clone(), Value::Null);
        }
    }
    let of_node = match &blocks[..] {
        [] => Value::Null,
        blocks => json!(blocks),
    };
    by_node.insert(node.to_owned(), of_node);
    let condition = written(&write.condition, seen.condition.as_ref());
    let status = json!({
        "metadata": {"resourceVersion": version},
        "status": {"blocks": by_node, "conditions": [condition]},
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
            "status": {"blocks": {"node-1": ["10.99.0.0/28"]}, "conditions": [{
                "type": "Ready", "status": "False", "reason": "RangeOverlap", "message": "why",
                "observedGeneration": 3, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
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
        let told = pool.condition.unwrap();
        assert_eq!((told.ready, told.generation), (false, 3));
        let again = PoolCondition {
            message: "another".into(),
            ..told.clone()
        };
        let since = |condition| written(&condition, Some(&told))["lastTransitionTime"].clone();
        assert_eq!(since(again), "2026-01-01T00:00:00Z");
        let better = PoolCondition {
            ready: true,
            ..told.clone()
        };
        let now = since(better);
        let now = now.as_str().unwrap();
        assert!(now > "2026-01-01" && now.ends_with('Z'), "{now}");
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
