//! Rules of others that drop what pods and nodes need.
//!
//! Each kind of packet that has to pass is sent through the rules on paper, see
//! [`crate::firewall`]. Who drops it is named, and the command that lets it
//! pass is in the words of whoever made the rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sealane_net::{Family, names};

use crate::finding::{Finding, Severity};
use crate::firewall::{Certainty, Drop, Hook, Packet, Source, State, TableFamily, drops};
use crate::snapshot::{PodsSide, Snapshot, is_default};

/// On the way through the node.
const THROUGH: &[Hook] = &[
    Hook::Ingress,
    Hook::Prerouting,
    Hook::Forward,
    Hook::Postrouting,
];
const IN: &[Hook] = &[Hook::Ingress, Hook::Prerouting, Hook::Input];
const OUT: &[Hook] = &[Hook::Output, Hook::Postrouting];

/// A kind of packet that has to pass.
struct Probe {
    what: String,
    why: &'static str,
    severity: Severity,
    hooks: &'static [Hook],
    packet: Packet,
    /// How to let it pass.
    opening: Opening,
}

/// What a firewall has to be told.
#[derive(Clone, Copy)]
enum Opening {
    Pods,
    Port(u8, u16),
}

pub fn judge(s: &Snapshot) -> Vec<Finding> {
    let (pods, mut hits) = (s.pods_side(), Vec::<Hit<'_>>::new());
    for family in s.families() {
        for probe in probes(s, family) {
            let found = drops(&s.firewall, probe.hooks, &probe.packet);
            let Some(drop) = found.into_iter().next() else {
                continue;
            };
            let next = opened(&probe, &drop, &pods);
            // One rule is one finding, whatever it drops.
            match hits.iter_mut().find(|hit| hit.is_same(&drop, &next)) {
                Some(hit) => hit.add(probe, &drop),
                None => hits.push(Hit {
                    drop,
                    next,
                    probes: vec![probe],
                }),
            }
        }
    }
    let mut found: Vec<Finding> = hits.iter().map(Hit::finding).collect();
    found.extend(other_proxies(s));
    found
}

/// A place where packets end, and what they are.
struct Hit<'a> {
    drop: Drop<'a>,
    next: String,
    probes: Vec<Probe>,
}

impl<'a> Hit<'a> {
    fn is_same(&self, drop: &Drop<'_>, next: &str) -> bool {
        self.drop.place() == drop.place() && self.next == next
    }

    fn add(&mut self, probe: Probe, drop: &Drop<'a>) {
        self.drop.certainty = self.drop.certainty.max(drop.certainty);
        if self.probes.iter().all(|known| known.what != probe.what) {
            self.probes.push(probe);
        }
    }

    fn finding(&self) -> Finding {
        let worst = self.probes.iter().map(|probe| probe.severity).min();
        let (severity, verb) = match self.drop.certainty {
            Certainty::Yes => (worst.unwrap_or(Severity::Warning), "drops"),
            _ => (Severity::Warning, "may drop"),
        };
        let what: Vec<&str> = self.probes.iter().map(|probe| &*probe.what).collect();
        let mut why: Vec<&str> = self.probes.iter().map(|probe| probe.why).collect();
        why.dedup();
        let seen = format!("{} {verb} {}", self.drop.place(), what.join(", "));
        Finding::new(severity, "firewall", seen)
            .because(why.join("; "))
            .next(&self.next)
    }
}

fn probes(s: &Snapshot, family: Family) -> Vec<Probe> {
    let mut probes = Vec::new();
    let subnets = s.pod_subnets();
    let of_family = |net: &&sealane_net::IpNet| Family::from(**net) == family;
    let Some(subnet) = subnets.iter().find(of_family) else {
        return probes;
    };
    let host = |net: sealane_net::IpNet, n: usize| net.hosts().nth(n).unwrap_or(net.addr());
    let (gateway, pod, other_pod) = (host(*subnet, 0), host(*subnet, 1), host(*subnet, 2));
    let side = s.pods_side().link;
    let packet =
        |incoming: Option<&str>, outgoing: Option<&str>, from: IpAddr, to: IpAddr| Packet {
            incoming: incoming.map(str::to_owned),
            outgoing: outgoing.map(str::to_owned),
            source: from,
            destination: to,
            protocol: Packet::TCP,
            source_port: 40000,
            destination_port: 8080,
            state: State::New,
            to_this_node: false,
        };
    let mut pods = |what: &str, why, hooks, packet| {
        probes.push(Probe {
            what: format!("{what} ({family})"),
            why,
            severity: Severity::Error,
            hooks,
            packet,
            opening: Opening::Pods,
        });
    };
    for peer in s.peers() {
        let Some(subnet) = peer.pod_cidrs.iter().find(of_family) else {
            continue;
        };
        let far = host(*subnet, 1);
        let Some(by) = s.route_to(far).and_then(|route| route.device.clone()) else {
            continue;
        };
        let why = "pods of this node and of others do not reach each other";
        let out = packet(Some(&side), Some(&by), pod, far);
        pods(
            "packets from pods to pods of other nodes",
            why,
            THROUGH,
            out,
        );
        let back = packet(Some(&by), Some(&side), far, pod);
        pods(
            "packets to pods from pods of other nodes",
            why,
            THROUGH,
            back,
        );
    }
    let outside: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let default = s
        .routes
        .iter()
        .find(|r| is_default(r) && Family::from(r.destination) == family);
    if let Some(by) = default.and_then(|route| route.device.as_deref()) {
        let why = "pods do not reach the outside";
        let out = packet(Some(&side), Some(by), pod, outside);
        pods("packets from pods to the outside", why, THROUGH, out);
        let answer = Packet {
            state: State::Established,
            ..packet(Some(by), Some(&side), outside, pod)
        };
        pods("answers from the outside to pods", why, THROUGH, answer);
    }
    let bridged = match family {
        Family::V4 => "net.bridge.bridge-nf-call-iptables",
        Family::V6 => "net.bridge.bridge-nf-call-ip6tables",
    };
    if s.settings.attachment == "routed" || s.sysctl(bridged) == Some("1") {
        let why = "pods of this node do not reach each other";
        let local = packet(Some(&side), Some(&side), pod, other_pod);
        pods("packets between pods of this node", why, THROUGH, local);
    }
    let why = "probes of the kubelet fail, and pods are not ready";
    let node_to_pod = packet(None, Some(&side), gateway, pod);
    pods("packets from the node to its pods", why, OUT, node_to_pod);
    let answer = Packet {
        state: State::Established,
        to_this_node: true,
        ..packet(Some(&side), None, pod, gateway)
    };
    pods("answers of pods to the node", why, IN, answer);
    probes.extend(ports(s, family));
    probes
}

/// Ports of this node that others send to.
fn ports(s: &Snapshot, family: Family) -> Vec<Probe> {
    let mut probes = Vec::new();
    let Some(here) = s.node_address(family) else {
        return probes;
    };
    let peer = s.peers().find_map(|peer| peer.internal_ip_like(here));
    let from = peer.or_else(|| {
        let on_link = s.addresses.iter().find(|a| a.address.addr() == here)?;
        on_link.address.hosts().find(|ip| *ip != here)
    });
    let (Some(from), Some(uplink)) = (from, s.uplink()) else {
        return probes;
    };
    let packet = |protocol, port| Packet {
        incoming: Some(uplink.name.clone()),
        outgoing: None,
        source: from,
        destination: here,
        protocol,
        source_port: 40000,
        destination_port: port,
        state: State::New,
        to_this_node: true,
    };
    if s.link(names::VXLAN).is_some() || s.settings.routing == "vxlan" {
        let port = s.settings.vxlan_port;
        probes.push(Probe {
            what: format!("VXLAN from other nodes (UDP port {port}, {family})"),
            why: "pods of nodes behind a router do not reach pods of this node",
            severity: Severity::Error,
            hooks: IN,
            packet: packet(Packet::UDP, port),
            opening: Opening::Port(Packet::UDP, port),
        });
    }
    if let Some(port) = s.settings.health_port {
        probes.push(Probe {
            what: format!(
                "what asks for the agent's health and metrics (TCP port {port}, {family})"
            ),
            why: "probes and Prometheus on other hosts do not reach the agent",
            severity: Severity::Warning,
            hooks: IN,
            packet: packet(Packet::TCP, port),
            opening: Opening::Port(Packet::TCP, port),
        });
    }
    probes
}

/// The command that lets it pass, in the words of whoever made the rules.
fn opened(probe: &Probe, drop: &Drop<'_>, pods: &PodsSide) -> String {
    let has_chain = |start: &str| drop.table.chains.iter().any(|c| c.name.starts_with(start));
    let (program, side) = (drop.table.program(), pods.iptables());
    if drop.table.name == "firewalld" {
        return match probe.opening {
            Opening::Pods => format!(
                "firewall-cmd --permanent --zone=trusted --add-interface={side} && firewall-cmd --reload"
            ),
            Opening::Port(protocol, port) => format!(
                "firewall-cmd --permanent --add-port={port}/{} && firewall-cmd --reload",
                word(protocol)
            ),
        };
    }
    if has_chain("ufw") {
        return match probe.opening {
            Opening::Pods => format!(
                "ufw route allow in on {side} && ufw route allow out on {side} && ufw allow in on {side}"
            ),
            Opening::Port(protocol, port) => format!("ufw allow {port}/{}", word(protocol)),
        };
    }
    let chain = drop.table.chains.iter().find(|c| {
        c.base.as_ref().is_some_and(|b| {
            probe.hooks.contains(&b.hook) && (b.drops || c.name == drop.chain.name)
        })
    });
    let chain = if has_chain("DOCKER-USER") && drop.chain.name == "FORWARD" {
        "DOCKER-USER"
    } else {
        chain.map_or(&*drop.chain.name, |chain| &chain.name)
    };
    if drop.table.source == Source::Nft {
        let family = match drop.table.family {
            TableFamily::Ip => "ip",
            TableFamily::Ip6 => "ip6",
            TableFamily::Netdev => "netdev",
            _ => "inet",
        };
        let insert = format!("nft insert rule {family} {} {chain}", drop.table.name);
        return match probe.opening {
            Opening::Pods => {
                let side = pods.nft();
                let all = [
                    probe
                        .packet
                        .incoming
                        .as_ref()
                        .filter(|link| **link == pods.link)
                        .map(|_| "iifname"),
                    probe
                        .packet
                        .outgoing
                        .as_ref()
                        .filter(|link| **link == pods.link)
                        .map(|_| "oifname"),
                ];
                let end = all.into_iter().flatten().next().unwrap_or("iifname");
                let other = if end == "iifname" {
                    "oifname"
                } else {
                    "iifname"
                };
                if probe.hooks == THROUGH {
                    format!(
                        "{insert} {end} \"{side}\" accept && {insert} {other} \"{side}\" accept"
                    )
                } else {
                    format!("{insert} {end} \"{side}\" accept")
                }
            }
            Opening::Port(protocol, port) => {
                format!("{insert} {} dport {port} accept", word(protocol))
            }
        };
    }
    match probe.opening {
        Opening::Pods if probe.hooks == THROUGH => {
            format!(
                "{program} -I {chain} -i {side} -j ACCEPT && {program} -I {chain} -o {side} -j ACCEPT"
            )
        }
        Opening::Pods if probe.packet.incoming.is_some() => {
            format!("{program} -I {chain} -i {side} -j ACCEPT")
        }
        Opening::Pods => format!("{program} -I {chain} -o {side} -j ACCEPT"),
        Opening::Port(protocol, port) => {
            format!(
                "{program} -I {chain} -p {} --dport {port} -j ACCEPT",
                word(protocol)
            )
        }
    }
}

fn word(protocol: u8) -> &'static str {
    if protocol == Packet::UDP {
        "udp"
    } else {
        "tcp"
    }
}

/// Rules of kube-proxy: in two places at once, or beside ours.
fn other_proxies(s: &Snapshot) -> Vec<Finding> {
    let is_proxy = |table: &&crate::firewall::Table| {
        table.name == "kube-proxy" || table.chain("KUBE-SERVICES").is_some()
    };
    let mut places: Vec<String> = s
        .firewall
        .iter()
        .filter(is_proxy)
        .map(|t| t.title())
        .collect();
    if let Some(link) = s.link("kube-ipvs0") {
        places.push(format!("link {}", link.name));
    }
    let programs = |table: &str| {
        table
            .split(' ')
            .next()
            .unwrap_or_default()
            .replace("ip6", "ip")
    };
    let mut kinds: Vec<String> = places.iter().map(|p| programs(p)).collect();
    kinds.sort();
    kinds.dedup();
    let next = "end the one that should not run there, then: sealane agent cleanup --kube-proxy (which removes kube-proxy's rules)";
    let ours = s
        .settings
        .proxy_mode
        .as_deref()
        .filter(|mode| *mode != "none");
    let mut found = Vec::new();
    if kinds.len() > 1 {
        found.push(
            Finding::warning("other-service-rules", format!("rules of kube-proxy are in {}", places.join(", ")))
                .because("those of a mode that is no longer used still translate, to endpoints that may be gone")
                .next(next),
        );
    } else if let (Some(mode), [_, ..]) = (ours.filter(|mode| *mode != "iptables"), &places[..]) {
        found.push(
            Finding::warning("other-service-rules", format!("rules of kube-proxy are in {}, and the agent programs Services too (--proxy-mode {mode})", places.join(", ")))
                .because("whichever comes first translates; stale rules lead to endpoints that are gone")
                .next(next),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stage::{after, well};
    use super::*;
    use crate::firewall::{Variant, parse_iptables};

    fn filter(rules: &str) -> Snapshot {
        let mut s = well();
        s.firewall = parse_iptables(
            &format!("*filter\n{rules}\nCOMMIT\n"),
            Variant::Nft,
            Family::V4,
        );
        s
    }

    fn told(rules: &str) -> Vec<(Severity, String, String)> {
        let found = judge(&filter(rules));
        found
            .into_iter()
            .map(|f| (f.severity, f.seen, f.next))
            .collect()
    }

    #[test]
    fn docker_drops_and_its_own_chain_lets_pass() {
        let told = told(":FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER");
        let [(severity, seen, next)] = &told[..] else {
            panic!("{told:#?}");
        };
        assert_eq!(*severity, Severity::Error);
        let start = "iptables table filter, chain FORWARD with policy drop drops packets from pods to pods of other nodes (IPv4)";
        assert!(seen.starts_with(start), "{seen}");
        assert!(seen.contains("packets from pods to the outside"), "{seen}");
        assert_eq!(
            next,
            "iptables -I DOCKER-USER -i cbr0 -j ACCEPT && iptables -I DOCKER-USER -o cbr0 -j ACCEPT"
        );
    }

    #[test]
    fn what_it_says_to_do_helps() {
        let rules = ":FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
                     -A DOCKER-USER -i cbr0 -j ACCEPT\n-A DOCKER-USER -o cbr0 -j ACCEPT";
        assert_eq!(told(rules), []);
    }

    #[test]
    fn a_closed_input_hits_the_overlay_and_the_health_port() {
        let rules = ":INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n\
                     -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        let told = told(rules);
        let next: Vec<&str> = told.iter().map(|(.., next)| &**next).collect();
        assert_eq!(
            next,
            [
                "iptables -I INPUT -p udp --dport 4789 -j ACCEPT",
                "iptables -I INPUT -p tcp --dport 10266 -j ACCEPT"
            ]
        );
        assert_eq!((told[0].0, told[1].0), (Severity::Error, Severity::Warning));
    }

    #[test]
    fn a_rule_is_named_with_its_text() {
        let told = told(":OUTPUT ACCEPT [0:0]\n-A OUTPUT -o cbr0 -p tcp -j REJECT");
        assert!(
            told[0].1.contains(
                "rule `-A OUTPUT -o cbr0 -p tcp -j REJECT` drops packets from the node to its pods"
            ),
            "{told:?}"
        );
        assert_eq!(told[0].2, "iptables -I OUTPUT -o cbr0 -j ACCEPT");
    }

    #[test]
    fn other_firewalls_are_told_in_their_own_words() {
        let told =
            told(":FORWARD DROP [0:0]\n:ufw-user-forward - [0:0]\n-A FORWARD -j ufw-user-forward");
        assert!(
            told[0].2.starts_with("ufw route allow in on cbr0"),
            "{told:?}"
        );
    }

    #[test]
    fn kube_proxy_beside_ours_or_in_two_places_is_told() {
        let nat = |variant| {
            parse_iptables(
                "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n",
                variant,
                Family::V4,
            )
        };
        assert_eq!(after(|s| s.firewall = nat(Variant::Nft)), [""; 0]);
        let ours_too = |s: &mut Snapshot| {
            s.firewall = nat(Variant::Nft);
            s.settings.proxy_mode = Some("nftables".into());
        };
        assert_eq!(after(ours_too), ["other-service-rules"]);
        let twice = |s: &mut Snapshot| {
            s.firewall = nat(Variant::Nft);
            s.firewall.extend(nat(Variant::Legacy));
        };
        assert_eq!(after(twice), ["other-service-rules"]);
    }
}
