//! Which kinds the API server serves.

use kube::Client;
use kube::api::ApiResource;
use kube::discovery::{ApiCapabilities, Discovery, Scope, verbs};
use sealane_kube::{Backoff, explain};

use super::kinds::{Kind, Kinds};

/// Kinds that come and go by the thousand, own nothing and are owned by nobody.
const IGNORED: [&str; 1] = ["Event"];

/// Asks until there is an answer. The requests stand in the order of the kinds.
pub async fn discover(client: &Client) -> (Kinds, Vec<ApiResource>) {
    let mut backoff = Backoff::reconnect();
    loop {
        // One request for each group, unless the server can say it all in two.
        let aggregated = Discovery::new(client.clone()).run_aggregated().await;
        let found = match aggregated {
            Ok(found) => Ok(found),
            Err(_) => Discovery::new(client.clone()).run().await,
        };
        match found {
            Ok(found) => return table(&found),
            Err(error) => {
                tracing::debug!(
                    "ask which kinds there are: {}; trying again",
                    explain(&error)
                );
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

fn table(found: &Discovery) -> (Kinds, Vec<ApiResource>) {
    let all = found.groups_alphabetical();
    let all = all.iter().flat_map(|group| group.recommended_resources());
    let collected = all.filter(|(resource, can)| is_collected(resource, can));
    let (kinds, resources) = collected
        .map(|(resource, can)| (kind(&resource, &can), resource))
        .unzip();
    (Kinds::new(kinds), resources)
}

fn is_collected(resource: &ApiResource, can: &ApiCapabilities) -> bool {
    let needed = [verbs::LIST, verbs::WATCH, verbs::DELETE];
    needed.iter().all(|verb| can.supports_operation(verb))
        && !IGNORED.contains(&resource.kind.as_str())
}

fn kind(resource: &ApiResource, can: &ApiCapabilities) -> Kind {
    Kind {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
        namespaced: can.scope == Scope::Namespaced,
    }
}
