//! Routes of the main table, and of the one of our own.

use std::collections::HashMap;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use sealane_net::{Family, IpNet, Mtu, Route, names};

use crate::error::Result;
use crate::netlink::{Failure, Netlink};

/// What Linux makes of an IPv6 route without a metric (`IP6_RT_PRIO_USER`).
const IPV6_DEFAULT_METRIC: u32 = 1024;

impl Netlink {
    /// Adds a route, or replaces the one with the same destination and metric; repeating it is harmless.
    ///
    /// # Errors
    /// When its link is absent or the kernel refuses it, for a gateway that is not on a link for instance.
    pub async fn set_route(&self, route: &Route) -> Result<()> {
        let message = settable(route, self.device_of(route).await?);
        self.change(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .await
        .map_err(self.failed(|| format!("set route {route}")))
    }

    /// Deletes a route with this destination, metric, protocol, gateway and link. Returns whether it, and the link, were there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn delete_route(&self, route: &Route) -> Result<bool> {
        let index = match self.device_of(route).await {
            Err(error) if error.is_absent() => return Ok(false),
            other => other?,
        };
        let mut message = of_route(route, index);
        message.header.scope = RouteScope::NoWhere;
        self.change(RouteNetlinkMessage::DelRoute(message), 0)
            .await
            .map_or_else(Failure::unless_absent, |()| Ok(true))
            .map_err(self.failed(|| format!("delete route {route}")))
    }

    /// The unicast routes of the main table and of ours ([`names::is_own_table`]), of both families and whoever made
    /// them, and those to nothing that are ours.
    ///
    /// The metric that Linux gives to an IPv6 route without one is shown as 0,
    /// so that what was set reads back the same.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn routes(&self) -> Result<Vec<Route>> {
        let mut messages = Vec::new();
        for message in asked() {
            let answers = self
                .dump(RouteNetlinkMessage::GetRoute(message))
                .await
                .map_err(self.failed(|| "list routes"))?;
            messages.extend(answers.into_iter().filter_map(in_a_table));
        }
        let names = if messages.is_empty() {
            HashMap::new()
        } else {
            self.link_names().await?
        };
        Ok(messages
            .iter()
            .filter_map(|message| read(message, &names))
            .collect())
    }

    /// The routes that carry a protocol number, ours for instance: [`sealane_net::names::ROUTE_PROTOCOL`].
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn routes_of(&self, protocol: u8) -> Result<Vec<Route>> {
        let mut routes = self.routes().await?;
        routes.retain(|route| route.protocol == protocol);
        Ok(routes)
    }

    async fn link_names(&self) -> Result<HashMap<u32, String>> {
        let links = self.links().await?;
        Ok(links
            .into_iter()
            .map(|link| (link.index, link.name))
            .collect())
    }

    async fn device_of(&self, route: &Route) -> Result<Option<u32>> {
        match &route.device {
            Some(device) => Ok(Some(self.index_of(device).await?)),
            None => Ok(None),
        }
    }
}

/// The message that sets a route through the link `index`, where it names one.
pub(crate) fn settable(route: &Route, index: Option<u32>) -> RouteMessage {
    let mut message = of_route(route, index);
    message.header.scope = match route.gateway {
        None if !route.unreachable => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    if route.onlink {
        message.header.flags |= RouteFlags::Onlink;
    }
    if let Some(source) = route.source {
        message
            .attributes
            .push(RouteAttribute::PrefSource(source.into()));
    }
    if let Some(mtu) = route.mtu {
        let metrics = vec![RouteMetric::Mtu(mtu.bytes())];
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

fn of_route(route: &Route, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = match Family::from(route.destination) {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    header.table = route.table;
    header.kind = match route.unreachable {
        true => RouteType::Unreachable,
        false => RouteType::Unicast,
    };
    header.protocol = RouteProtocol::from(route.protocol);
    header.destination_prefix_length = route.destination.prefix_len();
    let attributes = &mut message.attributes;
    if route.destination.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(
            route.destination.network().into(),
        ));
    }
    if let Some(gateway) = route.gateway {
        attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(index) = index {
        attributes.push(RouteAttribute::Oif(index));
    }
    message
}

/// The messages that ask for all routes, one for each family.
pub(crate) fn asked() -> impl Iterator<Item = RouteMessage> {
    let families = [AddressFamily::Inet, AddressFamily::Inet6];
    families.into_iter().map(|family| {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message
    })
}

/// A route that comes without the names of links.
pub(crate) fn read_alone(message: RouteNetlinkMessage) -> Option<Route> {
    read(&in_a_table(message)?, &HashMap::new())
}

fn in_a_table(message: RouteNetlinkMessage) -> Option<RouteMessage> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    let header = &message.header;
    let nowhere =
        header.kind == RouteType::Unreachable && u8::from(header.protocol) == names::ROUTE_PROTOCOL;
    let wanted = (header.table == Route::MAIN || names::is_own_table(header.table))
        && (header.kind == RouteType::Unicast || nowhere)
        && !header.flags.contains(RouteFlags::Cloned);
    wanted.then_some(message)
}

fn read(message: &RouteMessage, names: &HashMap<u32, String>) -> Option<Route> {
    let family = match message.header.address_family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    let mut route = Route {
        destination: family.everything(),
        gateway: None,
        device: None,
        source: None,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
        protocol: message.header.protocol.into(),
        mtu: None,
        metric: 0,
        unreachable: message.header.kind == RouteType::Unreachable,
        table: message.header.table,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                let length = message.header.destination_prefix_length;
                route.destination = IpNet::new(ip(address)?, length).ok()?;
            }
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Oif(index) => route.device = names.get(index).cloned(),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Metrics(metrics) => route.mtu = mtu(metrics),
            _ => {}
        }
    }
    if route.unreachable {
        // IPv6 shows `lo`, which nobody asked for.
        route.device = None;
    }
    if family == Family::V6 && route.metric == IPV6_DEFAULT_METRIC {
        route.metric = 0;
    }
    Some(route)
}

fn mtu(metrics: &[RouteMetric]) -> Option<Mtu> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(bytes) => Mtu::new(*bytes).ok(),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
