//! From ports of Services to chains.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sealane_net::{Family, IpNet, Protocol, names};
use sealane_objects::TrafficPolicy;
use sealane_service::{Endpoint, ServicePort, Way};

use crate::names::{chain, endpoint_chain};
use crate::program::{Program, Table};
use crate::rule::{Rule, probability, word};
use crate::saved::MARKER;

/// What the chains depend on besides the Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Of addresses and of the program.
    pub family: Family,
    /// Who sends from these is a pod; others are masqueraded on the way to a cluster IP. None: nobody is.
    pub pods: Vec<IpNet>,
    /// Addresses of this node.
    pub node: Vec<IpAddr>,
    /// Node ports at these addresses only; none: at all of this node.
    pub node_port_addresses: Option<Vec<IpAddr>>,
    /// Node ports at 127.0.0.1 too; needs `net.ipv4.conf.all.route_localnet`.
    pub localhost_node_ports: bool,
}

impl Choices {
    /// Node ports at all addresses of this node.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            pods: vec![],
            node: vec![],
            node_port_addresses: None,
            localhost_node_ports: family == Family::V4,
        }
    }

    fn pods(&self) -> Vec<IpNet> {
        let own = self
            .pods
            .iter()
            .filter(|net| Family::from(**net) == self.family);
        own.copied().collect()
    }
}

const SERVICES: &str = "KUBE-SERVICES";
const EXTERNAL: &str = "KUBE-EXTERNAL-SERVICES";
const NODE_PORTS: &str = "KUBE-NODEPORTS";
const POSTROUTING: &str = "KUBE-POSTROUTING";
const MARK: &str = "KUBE-MARK-MASQ";
const FORWARD: &str = "KUBE-FORWARD";
const FIREWALL: &str = "KUBE-PROXY-FIREWALL";
/// Marks what no pod has sent, where pods have several ranges; ours, since kube-proxy knows one range.
const OUTSIDE: &str = "KUBE-MARK-OUTSIDE";

/// The chains for the ports of the family; the order of the ports does not matter.
pub fn compile<'a>(
    ports: impl IntoIterator<Item = &'a Arc<ServicePort>>,
    choices: &Choices,
) -> Program {
    let mut program = frame(choices);
    let mut own: Vec<&Arc<ServicePort>> = ports.into_iter().collect();
    own.retain(|port| port.key.family == choices.family);
    own.sort_by(|a, b| a.key.cmp(&b.key));
    for port in own {
        Port::new(port, choices).write(&mut program);
    }
    program.add(Table::Nat, SERVICES, last_of_services(choices));
    program
}

/// What is there without any Service.
fn frame(choices: &Choices) -> Program {
    let mut program = Program {
        leads: leads(),
        ..Program::default()
    };
    for empty in [SERVICES, EXTERNAL, NODE_PORTS, FIREWALL] {
        program.add(Table::Filter, empty, []);
    }
    program.add(Table::Nat, NODE_PORTS, []);
    program.add(Table::Nat, MARKER, []);
    let marked = format!("{0:#x}/{0:#x}", names::MASQUERADE_MARK);
    program.add(
        Table::Filter,
        FORWARD,
        [
            Rule::new()
                .matching("conntrack --ctstate INVALID")
                .jump("DROP"),
            Rule::new()
                .comment("kubernetes forwarding rules")
                .matching(format_args!("mark --mark {marked}"))
                .jump("ACCEPT"),
            Rule::new()
                .comment("kubernetes forwarding conntrack rule")
                .matching("conntrack --ctstate RELATED,ESTABLISHED")
                .jump("ACCEPT"),
        ],
    );
    program.add(
        Table::Nat,
        MARK,
        [Rule::new().jump(format_args!("MARK --set-xmark {marked}"))],
    );
    program.add(
        Table::Nat,
        POSTROUTING,
        [
            Rule::new()
                .matching(format_args!("mark ! --mark {marked}"))
                .jump("RETURN"),
            Rule::new().jump(format_args!(
                "MARK --set-xmark {:#x}/0x0",
                names::MASQUERADE_MARK
            )),
            Rule::new()
                .comment("kubernetes service traffic requiring SNAT")
                .jump("MASQUERADE --random-fully"),
        ],
    );
    if choices.localhost_node_ports && choices.family == Family::V4 {
        program.add(Table::Filter, FIREWALL, [localnet()]);
    }
    let pods = choices.pods();
    if pods.len() > 1 {
        let inside = pods
            .into_iter()
            .map(|net| Rule::new().from(net).jump("RETURN"));
        program.add(Table::Nat, OUTSIDE, inside);
        program.add(Table::Nat, OUTSIDE, [Rule::new().jump(MARK)]);
    }
    program
}

/// `route_localnet` would let others on the link reach what listens on 127.0.0.1.
fn localnet() -> String {
    Rule::new()
        .not_from(loopback(Family::V4))
        .towards(loopback(Family::V4))
        .comment("block incoming localnet connections")
        .matching("conntrack ! --ctstate RELATED,ESTABLISHED,DNAT")
        .jump("DROP")
}

fn loopback(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::new_assert([127, 0, 0, 0].into(), 8),
        Family::V6 => IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128),
    }
}

/// As kube-proxy puts them, each before those that are there: the last is the first afterwards.
pub(crate) fn leads() -> Vec<(Table, String)> {
    const NEW: bool = true;
    const ANY: bool = false;
    let external = "kubernetes externally-visible service portals";
    let portals = "kubernetes service portals";
    let firewall = "kubernetes load balancer firewall";
    let rows = [
        (Table::Filter, "INPUT", EXTERNAL, external, NEW),
        (Table::Filter, "FORWARD", EXTERNAL, external, NEW),
        (
            Table::Filter,
            "INPUT",
            NODE_PORTS,
            "kubernetes health check service ports",
            ANY,
        ),
        (Table::Filter, "FORWARD", SERVICES, portals, NEW),
        (Table::Filter, "OUTPUT", SERVICES, portals, NEW),
        (
            Table::Filter,
            "FORWARD",
            FORWARD,
            "kubernetes forwarding rules",
            ANY,
        ),
        (Table::Filter, "INPUT", FIREWALL, firewall, NEW),
        (Table::Filter, "OUTPUT", FIREWALL, firewall, NEW),
        (Table::Filter, "FORWARD", FIREWALL, firewall, NEW),
        (Table::Nat, "OUTPUT", SERVICES, portals, ANY),
        (Table::Nat, "PREROUTING", SERVICES, portals, ANY),
        (
            Table::Nat,
            "POSTROUTING",
            POSTROUTING,
            "kubernetes postrouting rules",
            ANY,
        ),
    ];
    rows.map(|(table, from, to, comment, new_only)| {
        let rule = if new_only {
            Rule::new().matching("conntrack --ctstate NEW")
        } else {
            Rule::new()
        };
        (table, format!("{from} {}", rule.comment(comment).jump(to)))
    })
    .to_vec()
}

fn last_of_services(choices: &Choices) -> Vec<String> {
    let comment = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
    if let Some(addresses) = &choices.node_port_addresses {
        let own = addresses
            .iter()
            .filter(|a| Family::from(**a) == choices.family);
        return own
            .map(|address| Rule::new().to(*address).comment(comment).jump(NODE_PORTS))
            .collect();
    }
    let rule = if choices.localhost_node_ports {
        Rule::new()
    } else {
        Rule::new().not_towards(loopback(choices.family))
    };
    let rule = rule.comment(comment).matching("addrtype --dst-type LOCAL");
    vec![rule.jump(NODE_PORTS)]
}

/// One port of a Service, on the way into a program.
struct Port<'a> {
    port: &'a ServicePort,
    choices: &'a Choices,
    /// `default/web:http`.
    title: String,
    protocol: Protocol,
}

impl<'a> Port<'a> {
    fn new(port: &'a ServicePort, choices: &'a Choices) -> Self {
        let key = &port.key;
        let title = if key.name.is_empty() {
            key.service.to_string()
        } else {
            format!("{}:{}", key.service, key.name)
        };
        Self {
            port,
            choices,
            title,
            protocol: key.protocol,
        }
    }

    fn chain(&self, start: &str) -> String {
        chain(start, &self.title, word(self.protocol))
    }

    /// The chain that holds what a policy may use.
    fn policy_chain(&self, policy: TrafficPolicy) -> String {
        self.chain(match policy {
            TrafficPolicy::Cluster => "KUBE-SVC",
            TrafficPolicy::Local => "KUBE-SVL",
        })
    }

    /// To an address at a port, of which the comment says what it is.
    fn to(&self, address: IpAddr, what: &str) -> Rule {
        Rule::new()
            .to(address)
            .protocol(self.protocol)
            .comment(format_args!("{} {what}", self.title))
            .port(self.protocol, self.port.port)
    }

    fn write(&self, program: &mut Program) {
        let externals = self.externals();
        self.write_internal(program);
        if !externals.is_empty() || self.port.node_port.is_some() {
            self.write_external(program, &externals);
        }
        if let Some(port) = self.port.health_check_node_port {
            let rule = Rule::new()
                .protocol(Protocol::Tcp)
                .comment(format_args!("{} health check node port", self.title))
                .port(Protocol::Tcp, port)
                .jump("ACCEPT");
            program.add(Table::Filter, NODE_PORTS, [rule]);
        }
        self.write_endpoints(
            program,
            !externals.is_empty() || self.port.node_port.is_some(),
        );
    }

    /// External addresses, with what comments call them.
    fn externals(&self) -> Vec<(IpAddr, &'static str)> {
        let ips = self.port.external_ips.iter().map(|ip| (*ip, "external IP"));
        let balanced = self.port.load_balancer_ips.iter();
        ips.chain(balanced.map(|ip| (*ip, "loadbalancer IP")))
            .collect()
    }

    fn write_internal(&self, program: &mut Program) {
        let Some(ip) = self.port.cluster_ip else {
            return;
        };
        match self.port.internal() {
            Way::Endpoints(_) => {
                let chain = self.policy_chain(self.port.internal_policy);
                let rule = self.to(ip, "cluster IP").jump(&chain);
                program.add(Table::Nat, SERVICES, [rule]);
                program.add(Table::Nat, &chain, self.masquerade_strangers(ip));
            }
            Way::Drop => {
                let rule = self.to(ip, "has no local endpoints").jump("DROP");
                program.add(Table::Filter, SERVICES, [rule]);
            }
            Way::Refuse => {
                let rule = self.to(ip, "has no endpoints").reject(self.choices.family);
                program.add(Table::Filter, SERVICES, [rule]);
            }
        }
    }

    /// Whoever is no pod is masqueraded on the way to a cluster IP: the answer has to come back through this node.
    fn masquerade_strangers(&self, ip: IpAddr) -> Option<String> {
        match &self.choices.pods()[..] {
            [] => None,
            [net] => {
                let rule = Rule::new().not_from(*net).to(ip).protocol(self.protocol);
                let rule = rule.comment(format_args!("{} cluster IP", self.title));
                Some(rule.port(self.protocol, self.port.port).jump(MARK))
            }
            _ => Some(self.to(ip, "cluster IP").jump(OUTSIDE)),
        }
    }

    fn write_external(&self, program: &mut Program, externals: &[(IpAddr, &'static str)]) {
        match self.port.external() {
            Way::Endpoints(_) => {}
            Way::Drop => self.turn_away(program, externals, "has no local endpoints", |rule| {
                rule.jump("DROP")
            }),
            Way::Refuse => {
                let family = self.choices.family;
                self.turn_away(program, externals, "has no endpoints", |rule| {
                    rule.reject(family)
                });
                return;
            }
        }
        let ext = self.chain("KUBE-EXT");
        self.write_firewall(program, &ext);
        let guarded = self.is_guarded().then(|| self.chain("KUBE-FW"));
        for (address, what) in externals {
            let chain = match &guarded {
                Some(firewall) if *what == "loadbalancer IP" => firewall,
                _ => &ext,
            };
            program.add(Table::Nat, SERVICES, [self.to(*address, what).jump(chain)]);
        }
        if let Some(port) = self.port.node_port {
            let rule = Rule::new()
                .protocol(self.protocol)
                .comment(&self.title)
                .port(self.protocol, port);
            program.add(Table::Nat, NODE_PORTS, [rule.jump(&ext)]);
        }
        program.add(Table::Nat, &ext, self.outside_rules());
        // A chain must be there to be jumped to, also while it is empty.
        program.add(Table::Nat, &self.chain("KUBE-SVC"), []);
    }

    fn turn_away(
        &self,
        program: &mut Program,
        externals: &[(IpAddr, &str)],
        why: &str,
        end: impl Fn(Rule) -> String,
    ) {
        let at = externals.iter().map(|(ip, _)| end(self.to(*ip, why)));
        program.add(Table::Filter, EXTERNAL, at);
        if let Some(port) = self.port.node_port {
            let rule = Rule::new()
                .protocol(self.protocol)
                .comment(format_args!("{} {why}", self.title))
                .matching("addrtype --dst-type LOCAL")
                .port(self.protocol, port);
            program.add(Table::Filter, EXTERNAL, [end(rule)]);
        }
    }

    fn is_guarded(&self) -> bool {
        self.port.source_ranges.is_some() && !self.port.load_balancer_ips.is_empty()
    }

    /// Load-balancer addresses are for some senders only: others come back out of the chain untranslated, and are dropped.
    fn write_firewall(&self, program: &mut Program, ext: &str) {
        let Some(ranges) = self
            .port
            .source_ranges
            .as_ref()
            .filter(|_| self.is_guarded())
        else {
            return;
        };
        let firewall = self.chain("KUBE-FW");
        let comment = format!("{} loadbalancer IP", self.title);
        let allowed = ranges
            .iter()
            .filter(|net| Family::from(**net) == self.choices.family);
        let rule = |net: &IpNet| Rule::new().from(*net).comment(&comment).jump(ext);
        program.add(Table::Nat, &firewall, allowed.clone().map(rule));
        // What the node itself sends there has the address as its source too.
        let own = |net: &IpNet| self.choices.node.iter().any(|ip| net.contains(ip));
        for ip in &self.port.load_balancer_ips {
            if allowed.clone().any(own) {
                program.add(Table::Nat, &firewall, [rule(&IpNet::from(*ip))]);
            }
            let what = format!("traffic not accepted by {firewall}");
            program.add(Table::Filter, FIREWALL, [self.to(*ip, &what).jump("DROP")]);
        }
    }

    /// The rules of KUBE-EXT: with policy Local, senders on this node get any endpoint all the same.
    fn outside_rules(&self) -> Vec<String> {
        let title = &self.title;
        let cluster = self.chain("KUBE-SVC");
        if self.port.external_policy == TrafficPolicy::Cluster {
            let mark = format!("masquerade traffic for {title} external destinations");
            return vec![
                Rule::new().comment(mark).jump(MARK),
                Rule::new().jump(cluster),
            ];
        }
        let own = "addrtype --src-type LOCAL";
        let pods = self.choices.pods().into_iter().map(|net| {
            let comment = format!("pod traffic for {title} external destinations");
            Rule::new().from(net).comment(comment).jump(&cluster)
        });
        let mut rules: Vec<String> = pods.collect();
        let mark = format!("masquerade LOCAL traffic for {title} external destinations");
        rules.push(Rule::new().comment(mark).matching(own).jump(MARK));
        let route = format!("route LOCAL traffic for {title} external destinations");
        rules.push(Rule::new().comment(route).matching(own).jump(&cluster));
        if matches!(self.port.external(), Way::Endpoints(_)) {
            rules.push(Rule::new().jump(self.chain("KUBE-SVL")));
        }
        rules
    }

    fn write_endpoints(&self, program: &mut Program, has_externals: bool) {
        let port = self.port;
        let asks = |policy| {
            (port.cluster_ip.is_some() && port.internal_policy == policy)
                || (has_externals && port.external_policy == policy)
        };
        let mut written: Vec<&Endpoint> = Vec::new();
        if has_externals || asks(TrafficPolicy::Cluster) {
            self.balance(program, &self.chain("KUBE-SVC"), &port.cluster);
            written.extend(port.cluster.iter());
        }
        if asks(TrafficPolicy::Local) {
            self.balance(program, &self.chain("KUBE-SVL"), &port.local);
            written.extend(port.local.iter());
        }
        written.sort();
        written.dedup_by_key(|endpoint| (endpoint.address, endpoint.port));
        for endpoint in written {
            self.write_endpoint(program, endpoint);
        }
    }

    fn endpoint_chain(&self, at: SocketAddr) -> String {
        endpoint_chain(&self.title, word(self.protocol), at)
    }

    /// One of the endpoints: the first rule takes one in n, the next one in n-1 of the rest, the last all.
    fn balance(&self, program: &mut Program, chain: &str, endpoints: &[Endpoint]) {
        let all = || {
            endpoints
                .iter()
                .map(at)
                .map(|at| (at, self.endpoint_chain(at)))
        };
        if let Some(seconds) = self.port.affinity_seconds {
            let sticky = all().map(|(at, own)| {
                Rule::new()
                    .comment(format_args!("{} -> {at}", self.title))
                    .matching(format_args!(
                        "recent --rcheck --seconds {seconds} --reap {}",
                        self.list(&own)
                    ))
                    .jump(own)
            });
            program.add(Table::Nat, chain, sticky);
        }
        let count = endpoints.len();
        let balanced = all().enumerate().map(|(place, (at, own))| {
            let rule = Rule::new().comment(format_args!("{} -> {at}", self.title));
            let left = count - place;
            if left == 1 {
                return rule.jump(own);
            }
            let chance = probability(left);
            rule.matching(format_args!(
                "statistic --mode random --probability {chance}"
            ))
            .jump(own)
        });
        if count > 0 {
            program.add(Table::Nat, chain, balanced);
        }
    }

    /// The list of recent clients of an endpoint.
    fn list(&self, chain: &str) -> String {
        let mask = match self.choices.family {
            Family::V4 => "255.255.255.255",
            Family::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        };
        format!("--name {chain} --mask {mask} --rsource")
    }

    fn write_endpoint(&self, program: &mut Program, endpoint: &Endpoint) {
        let at = at(endpoint);
        let chain = self.endpoint_chain(at);
        let hairpin = Rule::new()
            .from(IpNet::from(endpoint.address))
            .comment(&self.title);
        let mut rule = Rule::new().protocol(self.protocol).comment(&self.title);
        if self.port.affinity_seconds.is_some() {
            rule = rule.matching(format_args!("recent --set {}", self.list(&chain)));
        }
        let rule = rule.matching(word(self.protocol));
        let translate = rule.jump(format_args!("DNAT --to-destination {at}"));
        program.add(Table::Nat, &chain, [hairpin.jump(MARK), translate]);
    }
}

fn at(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}
