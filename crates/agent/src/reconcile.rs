//! Which leases are leaks, and which links are not as they should be. Decided, not done.
//!
//! A lease is only taken back when two witnesses agree that its pod has no
//! network any more: the kernel, which has no link of it, and the API, which
//! has no such pod or knows a newer sandbox of it. A link that is there is
//! never taken away: its namespace lives, and something in it may be talking.
//!
//! After a boot no link has survived, so the kernel's word is enough.

use sealane_kube::Mirror;
use sealane_objects::PodNet;

use crate::{
    leases::{Key, Lease},
    wire::{NearEnds, link_name},
};

/// What is known at one moment.
pub struct Facts<'a> {
    pub leases: Vec<&'a Lease>,
    pub links: &'a NearEnds,
    pub pods: &'a Mirror<PodNet>,
    /// The leases were written in this boot of the machine.
    pub same_boot: bool,
    /// While there is a bridge.
    pub bridge_index: Option<u32>,
}

/// What to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Leases to release.
    pub leaked: Vec<Key>,
    /// Whose near ends to make again as they were, and why.
    pub broken: Vec<(Key, Vec<String>)>,
}

/// Decides. Leases with work in flight must be left out by the caller.
pub fn reconcile(facts: &Facts<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for lease in &facts.leases {
        match facts.links.get(&link_name(&lease.key())) {
            Some(near) => {
                let faults = near.faults(facts.bridge_index, lease);
                if !faults.is_empty() {
                    verdict.broken.push((lease.key(), faults));
                }
            }
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
    use sealane_net::Attachment;
    use sealane_netlink::Link;
    use sealane_objects::ObjectName;

    use super::*;
    use crate::leases::PodRef;
    use crate::wire::{NearEnd, label, pod_mac};

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
            host_ports: vec![],
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
                ..PodNet::default()
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
        let alone = |link: &Link| NearEnd {
            link: link.clone(),
            routes: vec![],
            neighbours: vec![],
        };
        let links: Vec<NearEnd> = links.iter().map(alone).collect();
        judged(leases, &links, pods, same_boot)
    }

    fn judged(
        leases: &[Lease],
        links: &[NearEnd],
        pods: &Mirror<PodNet>,
        same_boot: bool,
    ) -> Verdict {
        let links = links
            .iter()
            .map(|near| (near.link.name.clone(), near.clone()))
            .collect();
        reconcile(&Facts {
            leases: leases.iter().collect(),
            links: &links,
            pods,
            same_boot,
            bridge_index: Some(BRIDGE),
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
        let broken: Vec<&str> = verdict
            .broken
            .iter()
            .map(|(key, _)| &*key.container_id)
            .collect();
        assert_eq!(broken, ["a", "b"]);
        let of_port = format!("link {} is no port of cbr0", off.name);
        assert_eq!(verdict.broken[1].1, [of_port]);
        assert_eq!(verdict.leaked, []);
    }

    #[test]
    fn pods_that_are_routed_need_route_and_neighbour_and_no_bridge() {
        let a = lease("a", None);
        let address = a.addresses[0].addr();
        let right = NearEnd {
            link: Link {
                master: None,
                alias: label(&a, Attachment::Routed),
                ..link(&a)
            },
            routes: vec![address],
            neighbours: vec![(address, pod_mac(&a))],
        };
        let faults = |near: NearEnd| {
            let verdict = judged(from_ref(&a), &[near], &pods(&[]), true);
            verdict
                .broken
                .into_iter()
                .flat_map(|(_, faults)| faults)
                .collect::<Vec<_>>()
        };
        assert_eq!(faults(right.clone()), [""; 0]);
        let name = &right.link.name;
        let no_route = NearEnd {
            routes: vec![],
            ..right.clone()
        };
        assert_eq!(
            faults(no_route),
            [format!("route 10.0.0.2 dev {name} is missing on the node")]
        );
        let no_neighbour = NearEnd {
            neighbours: vec![],
            ..right.clone()
        };
        assert_eq!(
            faults(no_neighbour),
            [format!(
                "neighbour 10.0.0.2 lladdr 02:00:0a:00:00:02 of {name} is missing on the node"
            )]
        );
        let port = Link {
            master: Some(BRIDGE),
            ..right.link.clone()
        };
        let port = NearEnd {
            link: port,
            ..right
        };
        assert_eq!(faults(port).len(), 1);
    }
}
