//! The files of /etc that a pod gets from its node: hosts, hostname, resolv.conf.
//!
//! Texts only; the sandbox's executor writes them. Sources: the kubelet's
//! `kubelet_pods.go` (hosts file) and `network/dns` (resolv.conf), Kubernetes docs
//! "DNS for Services and Pods".

use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig};

use crate::desired::Desired;

/// Limits of the resolver library, as Kubernetes validates them.
const NAMESERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_LINE_CHARS: usize = 2048;
/// Longest name of a search path (RFC 1123).
const SEARCH_CHARS: usize = 253;
/// Longest hostname that the kernel takes.
const HOSTNAME: usize = 63;

/// How this node's pods resolve names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// The resolvers that the node itself uses.
    pub upstream: Resolver,
    /// The cluster's own, if it has one.
    pub cluster: Vec<IpAddr>,
    /// The cluster's domain.
    pub domain: String,
}

/// The contents of a resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Domains that are tried in turn.
    pub searches: Vec<String>,
    /// Options such as `ndots:5`.
    pub options: Vec<String>,
}

/// A pod's hostname: `spec.hostname` or its name, cut to what the kernel takes.
pub fn hostname(pod: &Desired) -> String {
    let spec = pod.spec();
    let chosen = spec
        .hostname_override
        .as_deref()
        .or(spec.hostname.as_deref());
    let chosen = chosen.unwrap_or(pod.name());
    let cut = &chosen[..chosen.len().min(HOSTNAME)];
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// What the kernel and /etc/hostname say: the hostname, or with `setHostnameAsFQDN` the whole
/// name, if the pod has one.
pub fn kernel_hostname(pod: &Desired, domain: &str) -> String {
    let hostname = hostname(pod);
    let spec = pod.spec();
    let whole = spec.set_hostname_as_fqdn == Some(true) && spec.hostname_override.is_none();
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty());
    match subdomain.filter(|_| whole) {
        Some(subdomain) => format!("{hostname}.{subdomain}.{}.svc.{domain}", pod.namespace()),
        None => hostname,
    }
}

/// A pod's /etc/hosts.
pub fn hosts(pod: &Desired, ips: &[IpAddr], domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let hostname = hostname(pod);
    let names = match pod
        .spec()
        .subdomain
        .as_deref()
        .filter(|subdomain| !subdomain.is_empty())
    {
        Some(subdomain) => {
            let namespace = pod.namespace();
            format!("{hostname}.{subdomain}.{namespace}.svc.{domain}\t{hostname}")
        }
        None => hostname,
    };
    for ip in ips {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{ip}\t{names}");
    }
    text + &aliases(pod)
}

/// The /etc/hosts of a pod on the node's own network: the node's file, and the pod's aliases.
pub fn hosts_of_node(pod: &Desired, node: &str) -> String {
    format!(
        "# Kubernetes-managed hosts file (host network).\n{node}{}",
        aliases(pod)
    )
}

fn aliases(pod: &Desired) -> String {
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let line = |alias: &HostAlias| {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        format!("{}\t{names}\n", alias.ip)
    };
    let lines: String = aliases.iter().map(line).collect();
    format!("\n# Entries added by HostAliases.\n{lines}")
}

/// A pod's resolv.conf, by its dnsPolicy and dnsConfig, and what of it was left out, in the kubelet's words.
pub fn resolver(pod: &Desired, dns: &Dns) -> (Resolver, Vec<String>) {
    let spec = pod.spec();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let by_cluster = match policy {
        "ClusterFirst" => !pod.host_network(),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = match policy {
        "None" => Resolver::default(),
        _ if by_cluster && !dns.cluster.is_empty() => cluster_resolver(pod.namespace(), dns),
        _ if pod.host_network() => dns.upstream.clone(),
        _ => dns.upstream.reachable(),
    };
    if let Some(config) = &spec.dns_config {
        resolver.extend(config);
    }
    let left_out = resolver.fit();
    (resolver, left_out)
}

fn cluster_resolver(namespace: &str, dns: &Dns) -> Resolver {
    let domain = &dns.domain;
    let mut searches = vec![
        format!("{namespace}.svc.{domain}"),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    add_new(&mut searches, Some(&dns.upstream.searches));
    Resolver {
        nameservers: dns.cluster.iter().map(IpAddr::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

impl Resolver {
    /// Reads a resolv.conf (man page resolv.conf(5)); what is not understood is left out.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => {
                    resolver.searches = words.map(without_last_dot).collect();
                }
                // The last line of options counts, as for the kubelet.
                Some("options") => resolver.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        resolver
    }

    /// Without the name servers on loopback, which are not there in a pod.
    fn reachable(&self) -> Self {
        let loopback = |server: &String| {
            let address = server.split('%').next().unwrap_or_default();
            address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        let mut reachable = self.clone();
        reachable.nameservers.retain(|server| !loopback(server));
        reachable
    }

    /// Adds a pod's own settings; an option of the same name replaces the earlier one.
    fn extend(&mut self, config: &PodDNSConfig) {
        add_new(&mut self.nameservers, config.nameservers.as_deref());
        add_new(&mut self.searches, config.searches.as_deref());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let named = |other: &str| other.split(':').next() == Some(name);
            self.options.retain(|other| !named(other));
            self.options.push(match option.value.as_deref() {
                Some("") | None => name.clone(),
                Some(value) => format!("{name}:{value}"),
            });
        }
    }

    /// Leaves out what is beyond the limits, and says so.
    fn fit(&mut self) -> Vec<String> {
        let mut left_out = Vec::new();
        if self.nameservers.len() > NAMESERVERS {
            self.nameservers.truncate(NAMESERVERS);
            left_out.push(format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                self.nameservers.join(" ")
            ));
        }
        let before = self.searches.len();
        self.searches.retain(|search| search.len() <= SEARCH_CHARS);
        self.searches.truncate(SEARCHES);
        while self.searches.join(" ").len() > SEARCH_LINE_CHARS {
            self.searches.pop();
        }
        if self.searches.len() < before {
            left_out.push(format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                self.searches.join(" ")
            ));
        }
        left_out
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for server in &self.nameservers {
            text.extend(["nameserver ", server, "\n"]);
        }
        if !self.searches.is_empty() {
            text.extend(["search ", &self.searches.join(" "), "\n"]);
        }
        if !self.options.is_empty() {
            text.extend(["options ", &self.options.join(" "), "\n"]);
        }
        text
    }
}

/// A dot alone is the root, and stays.
fn without_last_dot(search: &str) -> String {
    match search.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => search.to_owned(),
    }
}

fn add_new(list: &mut Vec<String>, more: Option<&[String]>) {
    for entry in more.unwrap_or_default() {
        if !list.contains(entry) {
            list.push(entry.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, mut spec: Value) -> Desired {
        spec["containers"] = json!([]);
        let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        Desired::new(Arc::new(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn hostnames_fit_the_kernel() {
        let long = "a".repeat(62) + "-b";
        let cases = [
            ("web", json!({}), "web".to_owned()),
            ("web", json!({"hostname": "other"}), "other".to_owned()),
            (long.as_str(), json!({}), "a".repeat(62)),
        ];
        for (name, spec, expected) in cases {
            assert_eq!(hostname(&pod(name, spec)), expected);
        }
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let ips = ["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let spec = json!({
            "subdomain": "db", "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["one", "two"]}],
        });
        let text = hosts(&pod("web", spec), &ips, "cluster.local");
        let ours: Vec<_> = text.lines().skip(7).collect();
        assert_eq!(
            ours,
            [
                "10.244.1.5\tweb.db.shop.svc.cluster.local\tweb",
                "fd00::5\tweb.db.shop.svc.cluster.local\tweb",
                "",
                "# Entries added by HostAliases.",
                "192.0.2.1\tone\ttwo",
            ]
        );
        assert!(hosts(&pod("web", json!({})), &ips[..1], "x").ends_with("10.244.1.5\tweb\n"));
    }

    #[test]
    fn resolvers_follow_the_policy() {
        let mut dns = Dns {
            upstream: Resolver::parse(
                "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch corp.example\noptions edns0\n",
            ),
            cluster: Vec::new(),
            domain: "cluster.local".into(),
        };
        let upstream = "nameserver 192.0.2.53\nsearch corp.example\noptions edns0\n";
        let text = |spec, dns: &Dns| resolver(&pod("web", spec), dns).0.render();
        assert_eq!(
            text(json!({}), &dns),
            upstream,
            "a cluster without DNS uses the node's"
        );

        dns.cluster = vec!["10.96.0.10".parse().unwrap()];
        let cluster = "nameserver 10.96.0.10\n\
             search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
             options ndots:5\n";
        let config = json!({
            "nameservers": ["192.0.2.9"], "searches": ["a.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
        });
        let mixed = "nameserver 10.96.0.10\nnameserver 192.0.2.9\n\
             search shop.svc.cluster.local svc.cluster.local cluster.local corp.example a.example\n\
             options ndots:2 rotate\n";
        let node =
            "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch corp.example\noptions edns0\n";
        let cases = [
            (json!({}), cluster),
            (json!({"dnsPolicy": "Default"}), upstream),
            (json!({"hostNetwork": true}), node),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                cluster,
            ),
            (json!({"dnsConfig": config}), mixed),
            (
                json!({"dnsPolicy": "None", "dnsConfig": config}),
                "nameserver 192.0.2.9\nsearch a.example\noptions ndots:2 rotate\n",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(text(spec.clone(), &dns), expected, "{spec}");
        }
    }

    #[test]
    fn what_is_beyond_the_limits_is_left_out_and_told_and_nothing_is_there_twice() {
        let dns = Dns {
            upstream: Resolver::parse("search corp.example. cluster.local\noptions a\noptions b\n"),
            cluster: vec!["10.96.0.10".parse().unwrap()],
            domain: "cluster.local".into(),
        };
        assert_eq!(dns.upstream.options, ["b"]);
        let of = |config: Value| resolver(&pod("web", json!({"dnsConfig": config})), &dns);
        let (plain, left_out) = of(json!({"options": [{"name": "edns0", "value": ""}]}));
        let cluster = "shop.svc.cluster.local svc.cluster.local cluster.local corp.example";
        assert_eq!(
            (plain.searches.join(" "), left_out),
            (cluster.to_owned(), vec![])
        );
        assert_eq!(plain.options, ["ndots:5", "edns0"]);

        let servers: Vec<String> = (1..=3).map(|n| format!("192.0.2.{n}")).collect();
        let searches: Vec<String> = (0..40).map(|n| format!("s{n}.example")).collect();
        let (cut, left_out) = of(json!({"nameservers": servers, "searches": searches}));
        assert_eq!((cut.nameservers.len(), cut.searches.len()), (3, 32));
        let servers = "the applied nameserver line is: 10.96.0.10 192.0.2.1 192.0.2.2";
        assert!(left_out[0].ends_with(servers), "{left_out:?}");
        assert!(
            left_out[1].starts_with("Search Line limits were exceeded"),
            "{left_out:?}"
        );

        let long: Vec<String> = (0..20)
            .map(|n| format!("{n}{}", ".abcdefgh".repeat(20)))
            .collect();
        let (cut, left_out) = of(json!({"searches": long}));
        let line = cut.searches.join(" ").len();
        assert!(
            (1800..=2048).contains(&line) && left_out.len() == 1,
            "{line}"
        );
    }
}
