//! Reads the cluster through the API: once, all kinds at the same time.

use std::fmt::Debug;
use std::net::IpAddr;

use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use sealane_corefile::{Config, DEFAULT, Faults, Given, parse};
use sealane_kube::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use sealane_kube::k8s_openapi::api::discovery::v1::EndpointSlice;
use sealane_kube::{explain, is_not_found, pod_dns, service_dns, slice_dns};
use sealane_objects::ObjectName;
use serde::de::DeserializeOwned;

use super::{NodeResolver, PodView, World};
use crate::configure::{self, Keys};

/// What the cluster's DNS is called everywhere.
const SERVICE: &str = "kube-dns";

/// What no object says.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Another Corefile than the cluster's.
    pub corefile: Option<String>,
    /// The cluster's domain.
    pub domain: String,
    /// The resolvers of the pod's node.
    pub node: Option<NodeResolver>,
}

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A kind cannot be listed.
    #[error("list {what}: {}", explain(source))]
    List {
        /// Which.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The Corefile is not sound.
    #[error(
        "read {from}: {faults}; until it is mended, sealane dns keeps what was in force before"
    )]
    Corefile {
        /// Where it is from.
        from: String,
        /// Why.
        faults: Faults,
    },
}

/// Reads all that names depend on.
///
/// # Errors
///
/// When a kind cannot be listed, or the Corefile is not sound.
pub async fn observe(client: &Client, wanted: Wanted) -> Result<World, ObserveError> {
    let (services, slices, namespaces, pods, coredns, custom) = tokio::try_join!(
        list::<Service>(client),
        list::<EndpointSlice>(client),
        list::<Namespace>(client),
        list::<Pod>(client),
        keys(client, configure::NAME),
        keys(client, configure::CUSTOM),
    )?;
    let (config, config_from) = config(&wanted, &coredns, &custom)?;
    Ok(World {
        servers: servers(&services),
        services: services
            .iter()
            .map(|one| (name(one), service_dns(one)))
            .collect(),
        slices: slices
            .iter()
            .map(|one| (name(one), slice_dns(one)))
            .collect(),
        namespaces: namespaces.iter().map(ResourceExt::name_any).collect(),
        pods: pods.iter().map(|one| (name(one), pod(one))).collect(),
        config,
        config_from,
        domain: wanted.domain,
        node: wanted.node,
    })
}

fn config(
    wanted: &Wanted,
    coredns: &Keys,
    custom: &Keys,
) -> Result<(Config, String), ObserveError> {
    let faulty = |from: &str| {
        let from = from.to_owned();
        move |faults| ObserveError::Corefile { from, faults }
    };
    if let Some(text) = &wanted.corefile {
        let from = "the given Corefile";
        let config = parse(text, &Given::default()).map_err(faulty(from))?;
        return Ok((config, from.to_owned()));
    }
    let from = format!("ConfigMap {}/{}", configure::NAMESPACE, configure::NAME);
    let read = configure::read_config_maps(coredns, custom).map_err(faulty(&from))?;
    if let Some(config) = read {
        return Ok((config, from));
    }
    let text = DEFAULT.replace("cluster.local", &wanted.domain);
    let config = parse(&text, &Given::default()).map_err(faulty("the built-in Corefile"))?;
    Ok((config, "built in".to_owned()))
}

fn name<K: ResourceExt>(object: &K) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// The cluster IPs of its DNS.
fn servers(services: &[Service]) -> Vec<IpAddr> {
    let is_dns = |service: &&Service| {
        let named = service.name_any() == SERVICE;
        named && service.namespace().as_deref() == Some(configure::NAMESPACE)
    };
    let spec = services
        .iter()
        .find(is_dns)
        .and_then(|service| service.spec.as_ref());
    let addresses = spec
        .and_then(|spec| spec.cluster_ips.as_deref())
        .unwrap_or_default();
    addresses
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn pod(pod: &Pod) -> PodView {
    let config = pod.spec.as_ref().and_then(|spec| spec.dns_config.as_ref());
    PodView {
        dns: pod_dns(pod),
        nameservers: config
            .and_then(|config| config.nameservers.clone())
            .unwrap_or_default(),
    }
}

async fn list<K>(client: &Client) -> Result<Vec<K>, ObserveError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let listed = api.list(&ListParams::default()).await;
    let listed = listed.map_err(|source| ObserveError::List {
        what: K::plural(&()).into_owned(),
        source: Box::new(source),
    });
    Ok(listed?.items)
}

/// The data of a ConfigMap; none if it is not there.
async fn keys(client: &Client, name: &str) -> Result<Keys, ObserveError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), configure::NAMESPACE);
    match api.get(name).await {
        Ok(map) => Ok(map.data.unwrap_or_default()),
        Err(error) if is_not_found(&error) => Ok(Keys::new()),
        Err(source) => Err(ObserveError::List {
            what: format!("configmap {}/{name}", configure::NAMESPACE),
            source: Box::new(source),
        }),
    }
}
