//! Following the kernel: what others do to the node's network is seen when it happens.
//!
//! ```text
//! netlink events ── Follower: is it our concern? ── a moment's pause ── Noticed ──► Core
//! ```
//!
//! Most events are of our own making or nobody's concern: each pod that comes
//! or goes makes a dozen. So what passes is only what differs from what was
//! seen before and may need work; what it comes to is decided by looking at
//! the kernel, as in every other run. Missed events cost one look at
//! everything, and the regular comparison stays.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use sealane_net::{Attachment, Route, names};
use sealane_netlink::{Event, Link, Netlink};
use tokio::sync::mpsc;

use super::Message;
use crate::wire::attachment;

/// Changes come in bursts, and one run serves a whole burst.
const PAUSE: Duration = Duration::from_millis(50);

/// While a table that translates is away, packets of streams leave untranslated, and the answer to one cuts its stream.
const PAUSE_OF_TABLES: Duration = Duration::from_millis(5);

/// What has to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// The node's own network.
    pub node: bool,
    /// The near ends of pods' links.
    pub pods: bool,
    /// What is in our nft tables, whatever their stamps say.
    pub tables: bool,
}

/// Passes on what concerns the node until either side ends.
pub async fn follow(
    kernel: Netlink,
    mut events: BoxStream<'static, Event>,
    inbox: mpsc::Sender<Message>,
) {
    let mut follower = Follower::default();
    // What news is about is known by its link's number alone.
    let links = kernel.links().await.unwrap_or_else(|error| {
        tracing::warn!("list links: {error}; they are learnt as they change");
        Vec::new()
    });
    follower.links = links.into_iter().map(|link| (link.index, link)).collect();
    while let Some(event) = events.next().await {
        let mut noticed = follower.take(event);
        if noticed == Noticed::default() {
            continue;
        }
        let pause = tokio::time::sleep(if noticed.tables {
            PAUSE_OF_TABLES
        } else {
            PAUSE
        });
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                event = events.next() => match event {
                    Some(event) => noticed = noticed.and(follower.take(event)),
                    None => break,
                },
            }
        }
        if inbox.send(Message::Noticed(noticed)).await.is_err() {
            return;
        }
    }
}

/// What was seen of each link.
#[derive(Debug, Default)]
struct Follower {
    links: HashMap<u32, Link>,
}

impl Follower {
    fn take(&mut self, event: Event) -> Noticed {
        match event {
            Event::Link(link) if names::is_pod_link(&link.name) => self.pod_link(link),
            Event::Link(link) => {
                let changed = self.links.get(&link.index) != Some(&link);
                self.links.insert(link.index, link);
                Noticed::node_if(changed)
            }
            Event::LinkGone(link) => {
                self.links.remove(&link.index);
                let of_pod = names::is_pod_link(&link.name);
                Noticed {
                    node: !of_pod,
                    pods: of_pod,
                    tables: false,
                }
            }
            Event::Address(link) => {
                let of_pod = self.links.get(&link).is_some_and(is_of_pod);
                Noticed::node_if(!of_pod)
            }
            // Ours, by us or by nobody else; others' say what is on a link.
            Event::Route(route) | Event::RouteGone(route) if is_link_local(&route) => {
                Noticed::default()
            }
            Event::Route(route) => {
                let others = route.protocol != names::ROUTE_PROTOCOL;
                Noticed::node_if(others && route.gateway.is_none())
            }
            Event::RouteGone(route) if is_to_pod(&route) => Noticed {
                pods: true,
                ..Noticed::default()
            },
            Event::RouteGone(route) => {
                let ours = route.protocol == names::ROUTE_PROTOCOL;
                Noticed::node_if(ours || route.gateway.is_none())
            }
            Event::NeighbourGone { link, forwarding } => self.neighbour_gone(link, forwarding),
            Event::RuleGone => Noticed::node_if(true),
            Event::Tables => Noticed {
                tables: true,
                ..Noticed::default()
            },
            // Their thread's concern.
            Event::Services(_) => Noticed::default(),
            Event::Missed => Noticed {
                node: true,
                pods: true,
                tables: false,
            },
        }
    }

    /// A pod's link comes in steps; that one has stopped being attached is news.
    fn pod_link(&mut self, link: Link) -> Noticed {
        let works = |link: &Link| {
            let routed = attachment(link.alias.as_deref()) == Attachment::Routed;
            link.up && link.master.is_some() != routed
        };
        let worked = self.links.get(&link.index).is_some_and(works);
        let broken = worked && !works(&link);
        self.links.insert(link.index, link);
        Noticed {
            pods: broken,
            ..Noticed::default()
        }
    }
}

impl Follower {
    /// Entries of other links come and go by themselves.
    fn neighbour_gone(&self, link: u32, forwarding: bool) -> Noticed {
        let Some(link) = self.links.get(&link) else {
            return Noticed::default();
        };
        let routed = || attachment(link.alias.as_deref()) == Attachment::Routed;
        Noticed {
            node: link.name == names::VXLAN,
            pods: is_of_pod(link) && !forwarding && routed(),
            tables: false,
        }
    }
}

/// Every link that is set up has such a route, a pod's as well.
fn is_link_local(route: &Route) -> bool {
    match route.destination.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// A way to a pod of this node that is routed. IPv6 tells of it also when the pod goes, with its link.
fn is_to_pod(route: &Route) -> bool {
    let host = route.destination.prefix_len() == route.destination.max_prefix_len();
    let ours = route.protocol == names::ROUTE_PROTOCOL && route.table == Route::MAIN;
    ours && host && route.gateway.is_none()
}

fn is_of_pod(link: &Link) -> bool {
    names::is_pod_link(&link.name)
}

impl Noticed {
    fn node_if(node: bool) -> Self {
        Self {
            node,
            ..Self::default()
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            node: self.node || other.node,
            pods: self.pods || other.pods,
            tables: self.tables || other.tables,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, mtu: u32) -> Link {
        Link {
            index: 7,
            name: name.into(),
            kind: String::new(),
            mac: None,
            mtu,
            up: true,
            master: None,
            peer: None,
            alias: None,
            tunnel: None,
        }
    }

    const NODE: Noticed = Noticed {
        node: true,
        pods: false,
        tables: false,
    };
    const PODS: Noticed = Noticed {
        node: false,
        pods: true,
        tables: false,
    };

    #[test]
    fn a_link_is_news_when_it_is_not_what_it_was() {
        let mut follower = Follower::default();
        assert_eq!(follower.take(Event::Link(link("eth0", 1500))), NODE);
        assert_eq!(
            follower.take(Event::Link(link("eth0", 1500))),
            Noticed::default()
        );
        assert_eq!(follower.take(Event::Link(link("eth0", 1400))), NODE);
        assert_eq!(follower.take(Event::LinkGone(link("eth0", 1400))), NODE);
    }

    #[test]
    fn a_pod_that_comes_is_no_news_and_one_that_breaks_is() {
        let mut follower = Follower::default();
        let port = Link {
            master: Some(3),
            ..link("sl0123456789ab", 1500)
        };
        let loose = link("sl0123456789ab", 1500);
        for step in [&loose, &port, &port] {
            assert_eq!(follower.take(Event::Link(step.clone())), Noticed::default());
        }
        assert_eq!(follower.take(Event::Address(7)), Noticed::default());
        assert_eq!(follower.take(Event::Link(loose)), PODS);
        assert_eq!(follower.take(Event::LinkGone(port)), PODS);
    }

    #[test]
    fn a_pod_that_is_routed_needs_no_bridge_and_its_route() {
        let mut follower = Follower::default();
        let alone = Link {
            alias: Some("sealane/1 via=routed".into()),
            ..link("sl0123456789ab", 1500)
        };
        let port = Link {
            master: Some(3),
            ..alone.clone()
        };
        let way = Route::on_link("10.244.1.5/32".parse().unwrap(), "sl0123456789ab");
        for (event, noticed) in [
            (
                Event::Link(link("sl0123456789ab", 1500)),
                Noticed::default(),
            ),
            (Event::Link(alone.clone()), Noticed::default()),
            (Event::Route(way.clone()), Noticed::default()),
            (Event::RouteGone(way), PODS),
            (Event::Link(port), PODS),
        ] {
            assert_eq!(follower.take(event.clone()), noticed, "{event:?}");
        }
    }

    #[test]
    fn an_entry_that_goes_is_news_on_the_links_whose_entries_are_ours() {
        let mut follower = Follower::default();
        let mut gone = |name: &str, alias: Option<&str>, forwarding| {
            let alias = alias.map(str::to_owned);
            follower.take(Event::Link(Link {
                alias,
                ..link(name, 1500)
            }));
            follower.take(Event::NeighbourGone {
                link: 7,
                forwarding,
            })
        };
        let routed = Some("sealane/1 via=routed");
        assert_eq!(gone("sl0123456789ab", routed, false), PODS);
        assert_eq!(gone("sl0123456789ab", routed, true), Noticed::default());
        assert_eq!(gone("sl0123456789ab", None, false), Noticed::default());
        assert_eq!(gone("eth0", None, false), Noticed::default());
        for forwarding in [true, false] {
            assert_eq!(gone(names::VXLAN, None, forwarding), NODE);
        }
    }

    #[test]
    fn our_routes_are_news_when_they_go_and_others_when_they_say_what_is_on_a_link() {
        let mut follower = Follower::default();
        let ours = Route::via(
            "10.244.2.0/24".parse().unwrap(),
            "172.29.0.3".parse().unwrap(),
        );
        let theirs = Route {
            protocol: 4,
            ..ours.clone()
        };
        let on_link = Route {
            protocol: 2,
            ..Route::on_link("172.30.0.0/24".parse().unwrap(), "eth1")
        };
        let link_local = Route {
            protocol: 2,
            ..Route::on_link("fe80::/64".parse().unwrap(), "sl0123456789ab")
        };
        for (event, noticed) in [
            (Event::Route(ours.clone()), Noticed::default()),
            (Event::RouteGone(ours), NODE),
            (Event::Route(theirs.clone()), Noticed::default()),
            (Event::RouteGone(theirs), Noticed::default()),
            (Event::Route(link_local.clone()), Noticed::default()),
            (Event::RouteGone(link_local), Noticed::default()),
            (Event::Route(on_link.clone()), NODE),
            (Event::RouteGone(on_link), NODE),
        ] {
            assert_eq!(follower.take(event.clone()), noticed, "{event:?}");
        }
    }
}
