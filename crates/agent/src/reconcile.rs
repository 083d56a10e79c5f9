//! Which leases are leaks, and which links are not as they should be. Decided, not done.
//!
//! A lease is only taken back when two witnesses agree that its pod has no
//! network any more: the kernel, which has no link of it, and the API, which
//! has no such pod or knows a newer sandbox of it. A link that is there is
//! never taken away: its namespace lives, and something in it may be talking.
//!
//! After a boot no link has survived, so the kernel's word is enough.

use std::collections::BTreeMap;

use sealane_kube::Mirror;
use sealane_netlink::Link;
use sealane_objects::PodNet;

use crate::{
    leases::{Key, Lease},
    wire::link_name,
};

/// The near ends of pods' links, by name.
pub type Links = BTreeMap<String, Link>;

/// What is known at one moment.
pub struct Facts<'a> {
    pub leases: Vec<&'a Lease>,
    pub links: &'a Links,
    pub pods: &'a Mirror<PodNet>,
    /// The leases were written in this boot of the machine.
    pub same_boot: bool,
    pub bridge_index: u32,
}

/// What to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Leases to release.
    pub leaked: Vec<Key>,
    /// Links to make ports of the bridge again and set up.
    pub broken: Vec<String>,
}

/// Decides. Leases with work in flight must be left out by the caller.
pub fn reconcile(facts: &Facts<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for lease in &facts.leases {
        match facts.links.get(&link_name(&lease.key())) {
            Some(link) if !link.up || link.master != Some(facts.bridge_index) => {
                verdict.broken.push(link.name.clone());
            }
            Some(_) => {}
            None if is_leaked(facts, lease) => verdict.leaked.push(lease.key()),
            None => {}
        }
    }
    verdict
}

fn is_leaked(facts: &Facts<'_>, lease: &Lease) -> bool {
    if !facts.same_boot {
        return true;
    }
    let Some(pod) = &lease.pod else {
        // Not of Kubernetes: the kernel is the only witness.
        return true;
    };
    if !facts.pods.is_synced() {
        return false;
    }
    match facts.pods.get(&pod.name) {
        // The uid is not compared where it could only delay: a static pod's
        // runtime knows another uid than the API does.
        Some(known) if known.needs_address() => has_newer_sandbox(facts, lease),
        _ => true,
    }
}

/// Another container of the same pod has a link for the same interface.
fn has_newer_sandbox(facts: &Facts<'_>, lease: &Lease) -> bool {
    facts.leases.iter().any(|other| {
        other.container_id != lease.container_id
            && other.ifname == lease.ifname
            && other.pod == lease.pod
            && facts.links.contains_key(&link_name(&other.key()))
    })
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use sealane_kube::Change;
    use sealane_objects::ObjectName;

    use super::*;
    use crate::leases::PodRef;

    const BRIDGE: u32 = 7;

    fn lease(container: &str, pod: Option<&str>) -> Lease {
        Lease {
            container_id: container.into(),
            ifname: "eth0".into(),
            network: "sealane".into(),
            pod: pod.map(|name| PodRef {
                name: ObjectName::new("default", name),
                uid: name.into(),
            }),
            addresses: vec!["10.0.0.2/24".parse().unwrap()],
            mac: None,
        }
    }

    fn pods(names: &[(&str, bool)]) -> Mirror<PodNet> {
        let mut mirror = Mirror::default();
        let all = names.iter().map(|(name, finished)| {
            let object = ObjectName::new("default", *name);
            let pod = PodNet {
                name: object.clone(),
                uid: (*name).into(),
                node_name: "node-1".into(),
                host_network: false,
                finished: *finished,
                pod_ips: vec![],
            };
            (object, pod)
        });
        mirror.apply(Change::Reset(all.collect()));
        mirror
    }

    fn link(lease: &Lease) -> Link {
        Link {
            index: 9,
            name: link_name(&lease.key()),
            kind: "veth".into(),
            mac: None,
            mtu: 1500,
            up: true,
            master: Some(BRIDGE),
            peer: None,
            alias: None,
            tunnel: None,
        }
    }

    fn verdict(
        leases: &[Lease],
        links: &[Link],
        pods: &Mirror<PodNet>,
        same_boot: bool,
    ) -> Verdict {
        let links = links.iter().map(|l| (l.name.clone(), l.clone())).collect();
        reconcile(&Facts {
            leases: leases.iter().collect(),
            links: &links,
            pods,
            same_boot,
            bridge_index: BRIDGE,
        })
    }

    fn leaked(
        leases: &[Lease],
        links: &[Link],
        pods: &Mirror<PodNet>,
        same_boot: bool,
    ) -> Vec<String> {
        let leaked = verdict(leases, links, pods, same_boot).leaked;
        leaked.into_iter().map(|key| key.container_id).collect()
    }

    #[test]
    fn a_lease_with_a_link_stays_whatever_the_api_says() {
        let a = lease("a", Some("gone"));
        assert_eq!(leaked(from_ref(&a), &[link(&a)], &pods(&[]), true), [""; 0]);
        assert_eq!(
            leaked(from_ref(&a), &[link(&a)], &pods(&[]), false),
            [""; 0]
        );
    }

    #[test]
    fn a_lease_without_link_goes_when_its_pod_has_gone_or_finished() {
        let all = [
            lease("a", Some("gone")),
            lease("b", Some("done")),
            lease("c", Some("lives")),
        ];
        let pods = pods(&[("done", true), ("lives", false)]);
        assert_eq!(leaked(&all, &[], &pods, true), ["a", "b"]);
    }

    #[test]
    fn before_the_api_has_spoken_only_the_kernels_own_are_leaks() {
        let all = [lease("a", Some("p")), lease("b", None)];
        assert_eq!(leaked(&all, &[], &Mirror::default(), true), ["b"]);
    }

    #[test]
    fn a_boot_ends_every_lease_without_link() {
        let all = [lease("a", Some("lives"))];
        assert_eq!(leaked(&all, &[], &pods(&[("lives", false)]), false), ["a"]);
    }

    #[test]
    fn the_sandbox_before_is_a_leak_once_the_next_has_a_link() {
        let (old, new) = (lease("old", Some("p")), lease("new", Some("p")));
        let pods = pods(&[("p", false)]);
        assert_eq!(
            leaked(&[old.clone(), new.clone()], &[], &pods, true),
            [""; 0]
        );
        assert_eq!(
            leaked(&[old, new.clone()], &[link(&new)], &pods, true),
            ["old"]
        );
    }

    #[test]
    fn links_that_are_down_or_off_the_bridge_are_repaired() {
        let (a, b, c) = (lease("a", None), lease("b", None), lease("c", None));
        let down = Link {
            up: false,
            ..link(&a)
        };
        let off = Link {
            master: None,
            ..link(&b)
        };
        let verdict = verdict(
            &[a, b, c.clone()],
            &[down.clone(), off.clone(), link(&c)],
            &pods(&[]),
            true,
        );
        assert_eq!(verdict.broken, [down.name, off.name]);
        assert_eq!(verdict.leaked, []);
    }
}
