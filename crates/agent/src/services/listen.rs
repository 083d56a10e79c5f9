//! Task: listening where load balancers ask.
//!
//! ```text
//! Checks, latest wins ──► serve_checks: a listener for each Service and address, opened and closed as they come and go
//! View, latest wins ────► serve_health: `/healthz`, `/livez`
//! ```
//!
//! A port that another program has is tried again, and harms no other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use sealane_introspect::{Introspect, Reply, Served, serve_json};
use sealane_netlink::Netlink;
use sealane_objects::ObjectName;
use tokio::{sync::watch, task, time};

use super::Announce;
use super::health::{Checks, Health};
use crate::core::View;

/// How long to wait before a port that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Who is told of, and where.
type Place = (Arc<ObjectName>, SocketAddr);

/// Answers at the health-check node ports of all Services.
pub async fn serve_checks(health: Arc<Health>, kernel: Netlink, announce: Announce) {
    let mut checks = health.checks();
    let mut open: BTreeMap<Place, Served> = BTreeMap::new();
    let mut told: BTreeMap<Place, String> = BTreeMap::new();
    loop {
        let wanted = places(&checks.borrow_and_update());
        let before = open.len();
        open.retain(|place, _| wanted.contains(place));
        told.retain(|place, _| wanted.contains(place));
        if open.len() < before {
            // What was closed just now is gone when its task has ended.
            task::yield_now().await;
        }
        for place in wanted {
            if open.contains_key(&place) {
                continue;
            }
            match serve_check(&health, &kernel, &place) {
                Ok(served) => {
                    told.remove(&place);
                    open.insert(place, served);
                }
                Err(why) => {
                    if told.get(&place) != Some(&why) {
                        tracing::warn!("{}: {why}", place.0);
                        announce(&place.0, "FailedToStartServiceHealthcheck", &why);
                        told.insert(place, why);
                    }
                }
            }
        }
        let changed = if told.is_empty() {
            checks.changed().await
        } else {
            let changed = time::timeout(AGAIN, checks.changed()).await;
            changed.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            return;
        }
    }
}

/// A port that two Services have is the first one's, by name; the other is told that it is in use.
fn places(checks: &Checks) -> BTreeSet<Place> {
    let everywhere = [IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = checks.addresses.as_deref().unwrap_or(&everywhere);
    let each = checks.services.iter();
    let each = each.flat_map(|(service, check)| {
        let at = addresses.iter().map(|ip| SocketAddr::new(*ip, check.port));
        at.map(|at| (Arc::clone(service), at))
    });
    each.collect()
}

fn serve_check(health: &Arc<Health>, kernel: &Netlink, place: &Place) -> Result<Served, String> {
    let (service, at) = place;
    let (health, about) = (Arc::clone(health), Arc::clone(service));
    let answer = move |_path: &str| health.of_service(&about);
    let failed = |why: &dyn std::fmt::Display| {
        format!(
            "listen on health-check node port {} of {service}: {why}; is another program on it? trying again",
            at.port()
        )
    };
    let listener = bind(kernel, *at).map_err(|error| failed(&error))?;
    serve_json(listener, answer).map_err(|error| failed(&error))
}

/// Answers `/healthz` and `/livez`.
pub async fn serve_health(
    health: Arc<Health>,
    kernel: Netlink,
    view: watch::Receiver<Arc<View>>,
    at: SocketAddr,
    introspect: Introspect,
) {
    let mut told = false;
    loop {
        let (health, view) = (Arc::clone(&health), view.clone());
        let introspect = introspect.clone();
        let answer = move |path: &str| answer(path, &health, &view, &introspect);
        let served = match bind(&kernel, at) {
            Ok(listener) => serve_json(listener, answer).map_err(|error| error.to_string()),
            Err(error) => Err(format!("serve /healthz on {at}: {error}")),
        };
        match served {
            Ok(_served) => return std::future::pending().await,
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    "{error}; is kube-proxy on it? trying again, --healthz-bind-address chooses another"
                );
            }
            Err(_) => {}
        }
        time::sleep(AGAIN).await;
    }
}

fn answer(
    path: &str,
    health: &Health,
    view: &watch::Receiver<Arc<View>>,
    introspect: &Introspect,
) -> Option<Reply> {
    let (reply, name, help) = match path {
        "/healthz" => {
            let node = &view.borrow().node;
            let leaving = node.as_ref().is_some_and(|node| node.leaving);
            (
                health.healthz(leaving),
                "kubeproxy_proxy_healthz_total",
                "Answers of /healthz, by status.",
            )
        }
        "/livez" => (
            health.livez(),
            "kubeproxy_proxy_livez_total",
            "Answers of /livez, by status.",
        ),
        _ => return None,
    };
    let code = reply.status.to_string();
    introspect.counter(name, help, &[("code", &code)]).inc();
    Some(reply)
}

/// In the node's network namespace. `[::]` is both families, and IPv4 alone where there is no IPv6.
fn bind(kernel: &Netlink, at: SocketAddr) -> io::Result<TcpListener> {
    let bind = || match TcpListener::bind(at) {
        Err(error) if at.ip() == Ipv6Addr::UNSPECIFIED && !is_taken(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port()))
        }
        bound => bound,
    };
    kernel.run(bind).map_err(io::Error::other)?
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}
