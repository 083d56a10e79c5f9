//! What was asked for on the command line, apart from what it resolves to.

use std::fmt;

use sealane_net::{AntiSpoofing, Attachment, ClusterDomain, Family, IpNet, ProxyMode, Ranges};
use sealane_objects::ImageAlias;
use sealane_route::Routing;

use super::flags::{ALIAS_FLAG, CLUSTER, GRACE_FLAG, MASK_FLAG, NODE, SERVICE, TOLERATION_FLAG};
use super::{ClusterName, Patience, Plan};

/// The flags of `sealane up`; `None` where a flag was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// `--name`
    pub name: ClusterName,
    /// `--nodes`
    pub nodes: Option<u32>,
    /// `--node-cidr`
    pub node_cidr: Option<Ranges>,
    /// `--cluster-cidr`
    pub cluster_cidr: Option<Ranges>,
    /// `--service-cluster-ip-range`
    pub service_cidr: Option<Ranges>,
    /// `--node-cidr-mask-size-ipv4`
    pub node_mask_v4: Option<u8>,
    /// `--no-internet`
    pub no_internet: bool,
    /// `--cluster-domain`
    pub cluster_domain: Option<ClusterDomain>,
    /// `--image-alias`, in the order of the command line
    pub image_aliases: Vec<ImageAlias>,
    /// `--node-cpu`
    pub node_cpu: Option<String>,
    /// `--node-memory`
    pub node_memory: Option<String>,
    /// `--routing`
    pub routing: Option<Routing>,
    /// `--attachment`
    pub attachment: Option<Attachment>,
    /// `--anti-spoofing`
    pub anti_spoofing: Option<AntiSpoofing>,
    /// `--non-masquerade-cidrs`
    pub non_masquerade_cidrs: Option<Vec<IpNet>>,
    /// `--proxy-mode`
    pub proxy_mode: Option<ProxyMode>,
    /// `--ip-family`
    pub ip_family: Option<IpFamily>,
    /// `--node-monitor-grace-period`
    pub node_seconds: Option<u32>,
    /// `--default-toleration-seconds`
    pub pod_seconds: Option<u32>,
}

/// The address families of pods and nodes, the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum IpFamily {
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both, IPv4 preferred.
    Dual,
}

impl IpFamily {
    /// The families.
    pub fn families(self) -> &'static [Family] {
        match self {
            Self::Ipv4 => &[Family::V4],
            Self::Ipv6 => &[Family::V6],
            Self::Dual => &[Family::V4, Family::V6],
        }
    }

    fn has(self, ranges: &Ranges) -> bool {
        let families: Vec<Family> = ranges.iter().map(Family::from).collect();
        families.len() == self.families().len()
            && self
                .families()
                .iter()
                .all(|family| families.contains(family))
    }
}

/// A flag that asks for something else than the cluster has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The flag.
    pub flag: &'static str,
    /// What the cluster has.
    pub has: String,
    /// What the flag asks for.
    pub asked: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the cluster has {}, asked for {}",
            self.flag, self.has, self.asked
        )
    }
}

impl Asked {
    /// Flags that contradict a cluster that exists. A flag that was left out
    /// contradicts nothing, so that a bare `sealane up` always finds its cluster.
    pub fn differences(&self, plan: &Plan) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |flag, has: String, asked: Option<String>| {
            if let Some(asked) = asked.filter(|asked| *asked != has) {
                found.push(Difference { flag, has, asked });
            }
        };
        compare("--nodes", plan.nodes.to_string(), text(&self.nodes));
        for (flag, has, asked) in [
            (NODE.flag, &plan.node_cidr, &self.node_cidr),
            (CLUSTER.flag, &plan.cluster_cidr, &self.cluster_cidr),
            (SERVICE.flag, &plan.service_cidr, &self.service_cidr),
        ] {
            compare(flag, has.to_string(), text(asked));
        }
        compare(
            MASK_FLAG,
            plan.node_mask_v4.to_string(),
            text(&self.node_mask_v4),
        );
        let internet = |on: bool| if on { "the internet" } else { "no internet" }.to_owned();
        compare(
            "--no-internet",
            internet(plan.internet),
            self.no_internet.then(|| internet(false)),
        );
        compare(
            "--cluster-domain",
            plan.cluster_domain.to_string(),
            text(&self.cluster_domain),
        );
        let all = |part: &Option<String>| part.clone().unwrap_or_else(|| "all".to_owned());
        compare("--node-cpu", all(&plan.node_cpu), self.node_cpu.clone());
        compare(
            "--node-memory",
            all(&plan.node_memory),
            self.node_memory.clone(),
        );
        compare(
            ALIAS_FLAG,
            rules(&plan.image_aliases),
            (!self.image_aliases.is_empty()).then(|| rules(&self.image_aliases)),
        );
        compare("--routing", plan.routing.to_string(), text(&self.routing));
        compare(
            "--attachment",
            plan.attachment.to_string(),
            text(&self.attachment),
        );
        compare(
            "--anti-spoofing",
            plan.anti_spoofing.to_string(),
            text(&self.anti_spoofing),
        );
        compare(
            "--non-masquerade-cidrs",
            networks(&plan.non_masquerade_cidrs),
            self.non_masquerade_cidrs.as_deref().map(networks),
        );
        compare(
            "--proxy-mode",
            plan.proxy_mode.to_string(),
            text(&self.proxy_mode),
        );
        let patience = plan.patience;
        for (flag, has, asked) in [
            (GRACE_FLAG, patience.node_seconds, self.node_seconds),
            (TOLERATION_FLAG, patience.pod_seconds, self.pod_seconds),
        ] {
            compare(flag, has.to_string(), text(&asked));
        }
        if let Some(family) = self
            .ip_family
            .filter(|family| !family.has(&plan.cluster_cidr))
        {
            found.push(Difference {
                flag: "--ip-family",
                has: plan.cluster_cidr.to_string(),
                asked: format!("{family:?}").to_lowercase(),
            });
        }
        found
    }

    /// How soon a node is given up.
    pub(super) fn patience(&self) -> Patience {
        let usual = Patience::default();
        Patience {
            node_seconds: self.node_seconds.unwrap_or(usual.node_seconds),
            pod_seconds: self.pod_seconds.unwrap_or(usual.pod_seconds),
        }
    }
}

fn rules(aliases: &[ImageAlias]) -> String {
    match aliases {
        [] => "none".to_owned(),
        _ => aliases
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn text(asked: &Option<impl fmt::Display>) -> Option<String> {
    asked.as_ref().map(ToString::to_string)
}

/// As the flag takes them.
pub fn networks(list: &[IpNet]) -> String {
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "none".into(),
        false => texts.join(","),
    }
}
