//! What answers follow from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sealane_corefile::{Config, Forward, To};
use sealane_message::Name;
use sealane_objects::{ObjectName, PodDns, ServiceDns, SliceDns};
use sealane_zone::{SearchSettings, Settings, Zone};

use super::NodeResolver;
use crate::configure::zone_settings;

/// The cluster, as far as names go.
#[derive(Debug, Default)]
pub struct World {
    /// Services.
    pub services: BTreeMap<ObjectName, ServiceDns>,
    /// EndpointSlices.
    pub slices: BTreeMap<ObjectName, SliceDns>,
    /// Namespaces.
    pub namespaces: BTreeSet<String>,
    /// Pods.
    pub pods: BTreeMap<ObjectName, PodView>,
    /// The Corefile.
    pub config: Config,
    /// Where it is from.
    pub config_from: String,
    /// The addresses of the cluster's DNS.
    pub servers: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
    /// The resolvers of the pod's node, if they are known.
    pub node: Option<NodeResolver>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// What it tells of names.
    pub dns: PodDns,
    /// `.spec.dnsConfig.nameservers`
    pub nameservers: Vec<String>,
}

impl World {
    /// The objects as `sealane dns` holds them.
    pub(super) fn zone(&self) -> Zone {
        let mut zone = Zone::new();
        let blocks = self.config.servers.iter();
        let mut said = blocks.filter_map(|server| server.kubernetes.as_ref());
        zone.set_pod_names(said.any(|kubernetes| kubernetes.endpoint_pod_names));
        zone.replace_namespaces(self.namespaces.iter().map(String::as_str));
        let owned = |(name, service): (&ObjectName, &ServiceDns)| (name.clone(), service.clone());
        zone.replace_services(self.services.iter().map(owned));
        let owned = |(name, slice): (&ObjectName, &SliceDns)| (name.clone(), slice.clone());
        zone.replace_slices(self.slices.iter().map(owned));
        zone.replace_pods(self.pods.iter().map(|(name, pod)| (name, &pod.dns)));
        zone
    }

    /// What pods' search lists are made of.
    pub(super) fn search_settings(&self) -> SearchSettings {
        let node = self.node.clone().unwrap_or_default();
        SearchSettings {
            domain: self.domain.clone(),
            node_searches: node.searches,
            node_ndots: node.ndots,
        }
    }

    /// The `kubernetes` block that answers for a name.
    pub(super) fn kubernetes(&self, name: &Name) -> Option<Settings> {
        let server = self.config.server(53, name)?;
        let kubernetes = server.kubernetes.as_ref()?;
        Some(zone_settings(kubernetes, &self.servers, 1))
    }

    /// Whom a `forward` asks.
    pub(super) fn upstreams(&self, forward: &Forward) -> Vec<String> {
        let mut all = Vec::new();
        for to in &forward.to {
            match to {
                To::Address(address) if address.port() == 53 => all.push(address.ip().to_string()),
                To::Address(address) => all.push(address.to_string()),
                To::ResolvConf(path) => match &self.node {
                    Some(node) => all.extend(node.nameservers.iter().cloned()),
                    None => all.push(format!("the resolvers of {path} on the pod's node")),
                },
            }
        }
        all
    }
}
