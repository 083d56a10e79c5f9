//! A pod's `/etc/resolv.conf`, as the kubelet writes it.

use std::net::IpAddr;

use sealane_message::Name;
use sealane_objects::{DnsPolicy, ObjectName};
use sealane_zone::Client;
use serde::Serialize;

use super::{PodView, World};

/// What resolvers take.
const MOST_SERVERS: usize = 3;

/// A node's `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeResolver {
    /// Addresses.
    pub nameservers: Vec<String>,
    /// Domains that are tried in turn.
    pub searches: Vec<String>,
    /// `ndots`, if it is set.
    pub ndots: Option<u32>,
}

impl NodeResolver {
    /// Reads the text of one (resolv.conf(5)); what is not understood is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => {
                    resolver.searches = words.map(str::to_owned).collect();
                }
                Some("options") => {
                    let mut numbers = words.filter_map(|word| word.strip_prefix("ndots:"));
                    resolver.ndots = numbers
                        .find_map(|number| number.parse().ok())
                        .or(resolver.ndots);
                }
                _ => {}
            }
        }
        resolver
    }
}

/// A pod's `/etc/resolv.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodResolver {
    /// Where it comes from: the pod's `dnsPolicy`.
    pub policy: String,
    /// Who is asked, in turn.
    pub nameservers: Vec<String>,
    /// Domains that are tried in turn.
    pub searches: Vec<String>,
    /// A name with so many dots is tried as it is first.
    pub ndots: u32,
    /// Whether the first of them is the cluster's.
    pub asks_the_cluster: bool,
    /// What is not known of it, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl PodResolver {
    pub(super) fn new(world: &World, name: &ObjectName, pod: &PodView) -> (Self, Client) {
        let client = Client::new(name, &pod.dns, &world.search_settings());
        let by_cluster = match pod.dns.policy {
            DnsPolicy::ClusterFirst => !pod.dns.host_network,
            DnsPolicy::ClusterFirstWithHostNet => true,
            DnsPolicy::Default | DnsPolicy::None => false,
        };
        let mut nameservers = Vec::new();
        let mut unknown = Vec::new();
        if by_cluster {
            nameservers.extend(world.servers.iter().map(IpAddr::to_string));
        } else if pod.dns.policy != DnsPolicy::None {
            match &world.node {
                Some(node) => nameservers.extend(node.nameservers.iter().cloned()),
                None => unknown.push("the resolvers of its node".to_owned()),
            }
        }
        if world.node.is_none() && pod.dns.policy != DnsPolicy::None {
            unknown.push("the search list of its node".to_owned());
        }
        for server in &pod.nameservers {
            if !nameservers.contains(server) {
                nameservers.push(server.clone());
            }
        }
        nameservers.truncate(MOST_SERVERS);
        let cluster = |server: &String| {
            let address: Option<IpAddr> = server.parse().ok();
            address.is_some_and(|address| world.servers.contains(&address))
        };
        let resolver = Self {
            policy: policy(pod),
            asks_the_cluster: nameservers.first().is_some_and(cluster),
            nameservers,
            searches: client.searches().iter().map(Name::without_dot).collect(),
            ndots: client.ndots(),
            unknown,
        };
        (resolver, client)
    }
}

fn policy(pod: &PodView) -> String {
    let config = &pod.dns.config;
    let own = !pod.nameservers.is_empty() || !config.searches.is_empty() || config.ndots.is_some();
    let host = match (pod.dns.host_network, pod.dns.policy) {
        (true, DnsPolicy::ClusterFirst) => ", which means Default on the node's network",
        _ => "",
    };
    let own = if own { ", with dnsConfig" } else { "" };
    format!("{:?}{host}{own}", pod.dns.policy)
}
