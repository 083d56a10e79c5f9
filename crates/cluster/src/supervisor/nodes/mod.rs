//! Nodes and pools of addresses as the API shows them, and this machine's routes to their pods.
//!
//! The watch is the supervisor's only view of the cluster. It tells when the
//! cluster is ready, and which pod subnet is behind which node. This machine is
//! a client of the cluster, not a part of it; the routes are a convenience, so
//! that `curl POD-IP` works where a person would try it first.

mod doubt;
mod routes;
mod view;

use std::pin::pin;

use futures::{StreamExt, stream};
use sealane_kube::k8s_openapi::api::core::v1::Node;
use sealane_kube::{Access, Api, Change, Filter, Mirror, client, watch_as, watch_ip_pools};
use sealane_netlink::Netlink;
use sealane_objects::PoolNet;
use tokio::sync::mpsc;

use super::Event;
use crate::layout::Layout;
use crate::plan::Plan;
pub use doubt::Doubt;
use view::View;

/// Follows the Nodes for as long as `events` is listened to.
///
/// # Errors
/// When there is no usable kubeconfig, or no netlink socket.
pub async fn follow(
    layout: Layout,
    plan: Plan,
    mut doubt: Doubt,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    let access = Access::from_kubeconfig(layout.kubeconfig());
    let client = client(&access, "supervisor").await?;
    let nodes = Api::<Node>::all(client.clone());
    let netlink = Netlink::in_current()?;
    let watch = watch_as(nodes.clone(), &Filter::all(), |node| View::of(&node));
    let watch = stream::select(
        watch.map(News::Nodes),
        watch_ip_pools(client).map(News::Pools),
    );
    let mut changes = pin!(watch);
    let (mut mirror, mut pools) = (Mirror::default(), Mirror::default());
    while let Some(news) = changes.next().await {
        match news {
            News::Nodes(change) if !is_news(&mirror, &change) => continue,
            News::Nodes(change) => mirror.apply(change),
            News::Pools(change) => pools.apply(change),
        }
        if !mirror.is_synced() {
            continue;
        }
        doubt.look(&mirror, &nodes);
        let routed = routes::set_routes(&netlink, &plan, &mirror, &pools).await;
        let states = view::node_states(&plan, &mirror, &doubt, &routed);
        if events.send(Event::Nodes(states)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What the API tells.
enum News {
    Nodes(Change<View>),
    Pools(Change<PoolNet>),
}

/// Heartbeats change a Node every few seconds and matter to nobody here.
fn is_news(mirror: &Mirror<View>, change: &Change<View>) -> bool {
    match change {
        Change::Applied(name, view) => mirror.get(name) != Some(view),
        Change::Reset(_) | Change::Deleted(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use sealane_net::Route;
    use sealane_objects::{NodeNet, ObjectName};

    use super::routes::{Blocks, desired_routes};
    use super::view::node_states;
    use super::*;
    use crate::plan::{Asked, Observed, resolve};

    fn node(name: &str, ip: &str, subnet: &str, ready: bool) -> (ObjectName, View) {
        let net = NodeNet {
            name: name.to_owned(),
            internal_ips: vec![ip.parse().unwrap()],
            pod_cidrs: vec![subnet.parse().unwrap()],
            ..Default::default()
        };
        (
            ObjectName::new("", name),
            View {
                net,
                ready,
                reason: None,
            },
        )
    }

    fn mirror(nodes: Vec<(ObjectName, View)>) -> Mirror<View> {
        let mut mirror = Mirror::default();
        mirror.apply(Change::Reset(nodes));
        mirror
    }

    #[test]
    fn a_route_for_each_node_and_none_that_leads_out_of_the_cluster() {
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        let mirror = mirror(vec![
            node("node-1", "172.29.0.2", "10.244.0.0/24", true),
            node("forged-gateway", "192.0.2.9", "10.244.7.0/24", true),
            node("forged-subnet", "172.29.0.9", "8.8.8.0/24", true),
        ]);
        let routes: Vec<String> = desired_routes(&plan, &mirror, &Blocks::default())
            .iter()
            .map(Route::to_string)
            .collect();
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert!(
            routes[0].starts_with("10.244.0.0/24 via 172.29.0.2 dev sealane0"),
            "{routes:?}"
        );
    }

    #[test]
    fn a_route_for_each_block_of_a_pool_that_is_nobody_elses() {
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        let mirror = mirror(vec![node("node-1", "172.29.0.2", "10.244.0.0/24", true)]);
        let nets = |texts: &[&str]| texts.iter().map(|net| net.parse().unwrap()).collect();
        let pool = PoolNet {
            name: "web".into(),
            ranges: nets(&[
                "10.60.0.0/24",
                "8.8.8.0/24",
                "192.168.7.0/24",
                "10.244.0.0/16",
            ]),
            blocks: [
                (
                    "node-1".into(),
                    nets(&["10.60.0.0/28", "8.8.8.0/28", "192.168.7.0/28"]),
                ),
                ("node-9".into(), nets(&["10.60.0.16/28"])),
                ("node-1-b".into(), nets(&["10.244.9.0/28"])),
            ]
            .into(),
            ..PoolNet::default()
        };
        let outside = PoolNet {
            name: "forged".into(),
            blocks: [("node-1".into(), nets(&["10.61.0.0/28"]))].into(),
            ..PoolNet::default()
        };
        let mut pools = Mirror::default();
        let named = |pool: PoolNet| (ObjectName::new("", &pool.name), pool);
        pools.apply(Change::Reset(vec![named(pool), named(outside)]));
        let lan = Route::on_link("192.168.0.0/16".parse().unwrap(), "wlan0");
        let blocks = Blocks::of(&plan, &pools, &[lan]);
        let routes = desired_routes(&plan, &mirror, &blocks);
        let to: Vec<String> = routes.iter().map(|r| r.destination.to_string()).collect();
        assert_eq!(to, ["10.60.0.0/28", "10.244.0.0/24"]);
    }

    #[test]
    fn nodes_are_shown_whether_they_have_registered_or_not() {
        let plan = resolve(&Asked::default(), &Observed::default()).unwrap();
        let mirror = mirror(vec![node("node-1", "172.29.0.2", "10.244.0.0/24", true)]);
        let states = node_states(
            &plan,
            &mirror,
            &Doubt::about([]),
            &desired_routes(&plan, &mirror, &Blocks::default()),
        );
        assert!(states[0].ready && states[0].reason.is_none());
        assert_eq!(states[0].routed, ["10.244.0.0/24".parse().unwrap()]);
        assert_eq!(states[1].reason.as_deref(), Some("has not registered yet"));
    }

    #[test]
    fn a_heartbeat_is_no_news() {
        let (name, view) = node("node-1", "172.29.0.2", "10.244.0.0/24", true);
        let mirror = mirror(vec![(name.clone(), view.clone())]);
        assert!(!is_news(
            &mirror,
            &Change::Applied(name.clone(), view.clone())
        ));
        assert!(is_news(
            &mirror,
            &Change::Applied(
                name,
                View {
                    ready: false,
                    ..view
                }
            )
        ));
    }

    #[tokio::test]
    async fn a_ready_node_from_the_store_is_believed_once_it_has_been_contradicted() {
        // Nobody listens there: the patches fail, and are tried again.
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let api = Api::all(sealane_kube::Client::try_from(config).unwrap());
        let (name, ready) = node("node-1", "172.29.0.2", "10.244.0.0/24", true);
        let mut mirror = Mirror::default();
        let mut doubt = Doubt::about(["node-1".to_owned(), "node-2".to_owned()]);
        doubt.look(&mirror, &api);
        assert!(doubt.holds("node-1"), "nothing is known yet");
        mirror.apply(Change::Reset(vec![(name.clone(), ready.clone())]));
        doubt.look(&mirror, &api);
        assert!(doubt.holds("node-1") && !doubt.holds("node-2"));
        let unknown = View {
            ready: false,
            ..ready.clone()
        };
        mirror.apply(Change::Applied(name.clone(), unknown));
        doubt.look(&mirror, &api);
        assert!(!doubt.holds("node-1"));
        mirror.apply(Change::Applied(name, ready));
        doubt.look(&mirror, &api);
        assert!(!doubt.holds("node-1"));
    }
}
