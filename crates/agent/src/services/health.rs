//! What load balancers are told of this node, and of the pods that a Service has on it.
//!
//! The words and numbers are kube-proxy's, since load balancers and people's
//! dashboards know them: the health-check node port of a Service with
//! `externalTrafficPolicy: Local` answers 200 while a pod on this node is ready,
//! `/healthz` while connections may come to this node at all (KEP-3836), and
//! `/livez` while this program does its work.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealane_introspect::Reply;
use sealane_kube::k8s_openapi::jiff::Timestamp;
use sealane_objects::ObjectName;
use sealane_service::{NodePortAddresses, PortChange, ServicePort, ServiceTable};
use serde_json::json;
use tokio::sync::watch;

/// A kernel that has not followed for so long makes this node a bad place for connections: kube-proxy's figure.
const LATE: Duration = Duration::from_secs(60);

/// What is told at a health-check node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub port: u16,
    /// How many pods on this node are ready.
    pub local: usize,
}

/// All health-check node ports, and where they are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    pub services: BTreeMap<Arc<ObjectName>, Check>,
    /// None: at all of the node.
    pub addresses: Option<Vec<IpAddr>>,
}

/// Written by the thread of Services, read by those who answer.
pub struct Health {
    node_ports: NodePortAddresses,
    checks: watch::Sender<Arc<Checks>>,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    /// The kernel lacks what has come since then.
    behind_since: Option<Instant>,
    in_step_at: Option<Timestamp>,
}

impl Health {
    pub fn new(node_ports: NodePortAddresses) -> Self {
        Self {
            node_ports,
            checks: watch::Sender::default(),
            standing: Mutex::default(),
        }
    }

    pub fn checks(&self) -> watch::Receiver<Arc<Checks>> {
        self.checks.subscribe()
    }

    /// Something has come that the kernel lacks.
    pub fn behind(&self) {
        self.standing().behind_since.get_or_insert(Instant::now());
    }

    /// The kernel has all of it.
    pub fn in_step(&self) {
        let mut standing = self.standing();
        standing.behind_since = None;
        standing.in_step_at = Some(Timestamp::now());
    }

    /// Takes in all that the table has.
    pub fn reset(&self, table: &ServiceTable) {
        let ports = table.iter();
        let services = ports.filter_map(|port| Some((Arc::clone(&port.key.service), check(port)?)));
        let checks = Checks {
            services: services.collect(),
            addresses: self.addresses(table),
        };
        self.publish(checks);
    }

    /// Takes in changes; those of Services without a health-check node port cost nothing.
    pub fn update(&self, table: &ServiceTable, changes: &[PortChange]) {
        let addresses = self.addresses(table);
        let concerns = |change: &&PortChange| {
            let mut both = [&change.before, &change.after].into_iter().flatten();
            both.any(|port| check(port).is_some())
        };
        let mut concerned = changes.iter().filter(concerns).peekable();
        if concerned.peek().is_none() && addresses == self.checks.borrow().addresses {
            return;
        }
        let mut checks = (**self.checks.borrow()).clone();
        checks.addresses = addresses;
        for change in concerned {
            let service = &change.key.service;
            let told = table.ports_of(service).iter().find_map(|port| check(port));
            match told {
                Some(told) => checks.services.insert(Arc::clone(service), told),
                None => checks.services.remove(service),
            };
        }
        self.publish(checks);
    }

    fn publish(&self, checks: Checks) {
        self.checks.send_if_modified(|known| {
            let changed = **known != checks;
            if changed {
                *known = Arc::new(checks);
            }
            changed
        });
    }

    fn addresses(&self, table: &ServiceTable) -> Option<Vec<IpAddr>> {
        let everywhere = self.node_ports == NodePortAddresses::All;
        (!everywhere).then(|| table.node().node_port_addresses.clone())
    }

    /// The answer at a Service's health-check node port, whatever the path; none while it is closed.
    pub fn of_service(&self, service: &ObjectName) -> Option<Reply> {
        let local = self.checks.borrow().services.get(service)?.local;
        let healthy = self.is_healthy(Instant::now());
        let mut body = String::from("{\n\t\"service\": {\n");
        let ObjectName { namespace, name } = service;
        let (namespace, name) = (json!(namespace), json!(name));
        let _ = write!(
            body,
            "\t\t\"namespace\": {namespace},\n\t\t\"name\": {name}\n\t}},\n\
             \t\"localEndpoints\": {local},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
        );
        let mut reply = reply(local > 0 && healthy, body);
        let weight = ("x-load-balancing-endpoint-weight", local.to_string());
        reply.headers.push(weight);
        Some(reply)
    }

    /// Whether new connections may come to this node, which may be `leaving`.
    pub fn healthz(&self, leaving: bool) -> Reply {
        let (healthy, mut body) = self.times();
        let _ = write!(body, ", \"nodeEligible\": {}}}", !leaving);
        reply(healthy && !leaving, body)
    }

    /// Whether this program does its work. A node that is being deleted is no reason to start it again.
    pub fn livez(&self) -> Reply {
        let (healthy, body) = self.times();
        reply(healthy, body + "}")
    }

    fn times(&self) -> (bool, String) {
        let healthy = self.is_healthy(Instant::now());
        let now = Timestamp::now();
        let last = self.standing().in_step_at.filter(|_| !healthy);
        let text = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC").to_string();
        let (last, now) = (text(last.unwrap_or(now)), text(now));
        let body = format!("{{\"lastUpdated\": \"{last}\",\"currentTime\": \"{now}\"");
        (healthy, body)
    }

    /// Also while it starts: what an earlier agent has programmed serves on.
    fn is_healthy(&self, now: Instant) -> bool {
        let behind = self.standing().behind_since;
        behind.is_none_or(|since| now.saturating_duration_since(since) < LATE)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(port: &ServicePort) -> Option<Check> {
    Some(Check {
        port: port.health_check_node_port?,
        local: port.local_ready,
    })
}

fn reply(ok: bool, body: String) -> Reply {
    Reply {
        status: if ok { 200 } else { 503 },
        headers: vec![("x-content-type-options", "nosniff".into())],
        body,
    }
}

#[cfg(test)]
mod tests {
    use sealane_objects::{ServiceNet, ServicePortNet, SliceNet, TrafficPolicy};
    use sealane_service::NodeFacts;
    use serde_json::Value;

    use super::*;

    fn table() -> ServiceTable {
        let mut table = ServiceTable::new(NodeFacts {
            name: "node-1".into(),
            ..NodeFacts::default()
        });
        let service = ServiceNet {
            cluster_ips: vec!["10.96.0.9".parse().unwrap()],
            ports: vec![ServicePortNet {
                name: "".into(),
                protocol: sealane_net::Protocol::Tcp,
                port: 80,
                node_port: Some(30080),
            }],
            external_policy: TrafficPolicy::Local,
            health_check_node_port: Some(30999),
            ..ServiceNet::default()
        };
        table.set_service(&name(), Some(service));
        table
    }

    fn name() -> ObjectName {
        ObjectName::new("shop", "web")
    }

    fn slice() -> SliceNet {
        let slice = json!({
            "service": "web", "family": "IPv4",
            "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
            "endpoints": [{"address": "10.244.1.5", "ready": true, "serving": true,
                           "terminating": false, "node": "node-1"}],
        });
        serde_json::from_value(slice).unwrap()
    }

    #[test]
    fn a_service_is_told_of_in_kube_proxys_words() {
        let mut table = table();
        let health = Health::new(NodePortAddresses::All);
        assert_eq!(health.of_service(&name()), None);
        health.reset(&table);
        let none = health.of_service(&name()).unwrap();
        let text = "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\
                    \t\"localEndpoints\": 0,\n\t\"serviceProxyHealthy\": true\n}";
        assert_eq!((none.status, none.body.as_str()), (503, text));
        health.update(&table, &[]);
        let mut changes = health.checks();
        changes.mark_unchanged();
        let change = table.set_slice(&ObjectName::new("shop", "web-1"), Some(slice()));
        health.update(&table, &change);
        assert!(changes.has_changed().unwrap());
        let one = health.of_service(&name()).unwrap();
        assert_eq!(one.status, 200);
        let weight = ("x-load-balancing-endpoint-weight", "1".to_string());
        assert!(one.headers.contains(&weight));
        let change = table.set_service(&name(), None);
        health.update(&table, &change);
        assert_eq!(health.of_service(&name()), None);
    }

    #[test]
    fn a_node_that_leaves_is_no_place_for_connections_and_alive() {
        let health = Health::new(NodePortAddresses::All);
        let shown = |reply: &Reply| serde_json::from_str::<Value>(&reply.body).unwrap();
        let (healthz, leaving, livez) =
            (health.healthz(false), health.healthz(true), health.livez());
        assert_eq!(
            (healthz.status, leaving.status, livez.status),
            (200, 503, 200)
        );
        assert_eq!(shown(&healthz)["nodeEligible"], json!(true));
        assert_eq!(shown(&leaving)["nodeEligible"], json!(false));
        assert!(shown(&livez)["lastUpdated"].is_string());
    }

    #[test]
    fn a_kernel_that_has_not_followed_for_a_minute_is_told_of() {
        let health = Health::new(NodePortAddresses::All);
        health.behind();
        let now = Instant::now();
        assert!(health.is_healthy(now));
        assert!(!health.is_healthy(now + LATE));
        health.in_step();
        assert!(health.is_healthy(now + LATE));
    }
}
