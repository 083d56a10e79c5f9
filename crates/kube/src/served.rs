//! Watches of kinds that a server need not have: custom resources, and what newer Kubernetes brought.

use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use sealane_net::IpNet;

use crate::{Change, is_forbidden, is_not_found, watch_objects};

/// How often the kind is looked for where it is not served.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Where the watch stands.
enum Watch<T> {
    Looking { told: bool },
    Watching(BoxStream<'static, Change<T>>),
}

/// Watches all objects of a kind; none while the server does not have it, or does not let us see it.
pub fn watch_served<T, F>(
    client: Client,
    kind: ApiResource,
    slim: F,
) -> impl Stream<Item = Change<T>> + Send
where
    T: Send + 'static,
    F: Fn(DynamicObject) -> T + Clone + Send + 'static,
{
    stream::unfold(Watch::Looking { told: false }, move |mut watch| {
        let (client, kind, slim) = (client.clone(), kind.clone(), slim.clone());
        async move {
            loop {
                watch = match watch {
                    Watch::Watching(mut changes) => {
                        let change = changes.next().await?;
                        return Some((change, Watch::Watching(changes)));
                    }
                    Watch::Looking { .. } if is_served(&client, &kind).await => {
                        let changes = watch_objects(client.clone(), &kind, slim.clone());
                        Watch::Watching(changes.boxed())
                    }
                    Watch::Looking { told: false } => {
                        return Some((Change::Reset(Vec::new()), Watch::Looking { told: true }));
                    }
                    Watch::Looking { told: true } => {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        Watch::Looking { told: true }
                    }
                };
            }
        }
    })
}

/// A server that is away is left to the watch, which waits and says so.
async fn is_served(client: &Client, kind: &ApiResource) -> bool {
    let api = Api::<DynamicObject>::all_with(client.clone(), kind);
    match api.list(&ListParams::default().limit(1)).await {
        Err(error) if is_forbidden(&error) => {
            let (plural, group) = (&kind.plural, &kind.group);
            tracing::debug!("none of {plural}.{group}: this role may not list them");
            false
        }
        Err(error) => !is_not_found(&error),
        Ok(_) => true,
    }
}

/// The ranges that Services have their addresses from, by the `ServiceCIDR` (Kubernetes 1.33) that says so.
pub fn watch_service_ranges(client: Client) -> impl Stream<Item = Change<Vec<IpNet>>> + Send {
    let kind = ApiResource {
        group: "networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "networking.k8s.io/v1".into(),
        kind: "ServiceCIDR".into(),
        plural: "servicecidrs".into(),
    };
    watch_served(client, kind, |object| {
        let cidrs = object.data["spec"]["cidrs"].as_array();
        let texts = cidrs.into_iter().flatten().filter_map(|cidr| cidr.as_str());
        texts.filter_map(|text| text.parse().ok()).collect()
    })
}
