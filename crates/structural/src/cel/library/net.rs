//! URLs, IP addresses, subnets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Fault, Row, run};
use crate::cel::value::{Key, Text, Val};
use crate::url::Url;

pub(super) const ROWS: &[Row] = &[
    (
        "url(string): url",
        run!(Text(a) => Url::parse(a).map(Arc::new).map(Val::Url).ok_or_else(|| {
            Fault::error(format!("URL parse error during conversion from string: parse {:?}: invalid URI for request", &**a))
        })),
    ),
    (
        "isURL(string): bool",
        run!(Text(a) => Ok(Val::Bool(Url::parse(a).is_some()))),
    ),
    (
        "url.getScheme(): string",
        run!(Url(a) => Ok(Val::text(a.scheme.as_str()))),
    ),
    (
        "url.getHost(): string",
        run!(Url(a) => Ok(Val::text(a.authority.as_str()))),
    ),
    (
        "url.getHostname(): string",
        run!(Url(a) => Ok(Val::text(a.hostname()))),
    ),
    (
        "url.getPort(): string",
        run!(Url(a) => Ok(Val::text(a.port()))),
    ),
    (
        "url.getEscapedPath(): string",
        run!(Url(a) => Ok(Val::text(a.escaped_path()))),
    ),
    (
        "url.getQuery(): map<string, list<string>>",
        run!(Url(a) => Ok(query(a))),
    ),
    ("ip(string): ip", run!(Text(a) => parse_ip(a).map(Val::Ip))),
    (
        "isIP(string): bool",
        run!(Text(a) => Ok(Val::Bool(parse_ip(a).is_ok()))),
    ),
    (
        "ip.isCanonical(string): bool",
        run!(Text(a) => Ok(Val::Bool(parse_ip(a)?.to_string() == **a))),
    ),
    (
        "ip:.family(): int",
        run!(Ip(a) => Ok(Val::Int(if a.is_ipv4() { 4 } else { 6 }))),
    ),
    (
        "ip:.isUnspecified(): bool",
        run!(Ip(a) => Ok(Val::Bool(a.is_unspecified()))),
    ),
    (
        "ip:.isLoopback(): bool",
        run!(Ip(a) => Ok(Val::Bool(a.is_loopback()))),
    ),
    (
        "ip:.isLinkLocalMulticast(): bool",
        run!(Ip(a) => Ok(Val::Bool(is_link_local_multicast(a)))),
    ),
    (
        "ip:.isLinkLocalUnicast(): bool",
        run!(Ip(a) => Ok(Val::Bool(is_link_local(a)))),
    ),
    (
        "ip:.isGlobalUnicast(): bool",
        run!(Ip(a) => Ok(Val::Bool(is_global_unicast(a)))),
    ),
    (
        "cidr(string): cidr",
        run!(Text(a) => parse_cidr(a).map(Val::Cidr)),
    ),
    (
        "isCIDR(string): bool",
        run!(Text(a) => Ok(Val::Bool(parse_cidr(a).is_ok()))),
    ),
    (
        "cidr.containsIP(ip): bool",
        run!(Cidr(a), Ip(b) => Ok(Val::Bool(a.contains(b)))),
    ),
    (
        "cidr.containsIP(string): bool",
        run!(Cidr(a), Text(b) => Ok(Val::Bool(a.contains(&parse_ip(b)?)))),
    ),
    (
        "cidr.containsCIDR(cidr): bool",
        run!(Cidr(a), Cidr(b) => Ok(Val::Bool(a.contains(b)))),
    ),
    (
        "cidr.containsCIDR(string): bool",
        run!(Cidr(a), Text(b) => Ok(Val::Bool(a.contains(&parse_cidr(b)?)))),
    ),
    ("cidr.ip(): ip", run!(Cidr(a) => Ok(Val::Ip(a.addr())))),
    (
        "cidr.prefixLength(): int",
        run!(Cidr(a) => Ok(Val::Int(i64::from(a.prefix_len())))),
    ),
    (
        "cidr.masked(): cidr",
        run!(Cidr(a) => Ok(Val::Cidr(a.trunc()))),
    ),
];

fn query<'a>(url: &Url) -> Val<'a> {
    let mut values: BTreeMap<Key<'a>, Vec<Val<'a>>> = BTreeMap::new();
    for (name, value) in url.query() {
        let key = Key::Text(Text::Made(name.into()));
        values.entry(key).or_default().push(Val::text(value));
    }
    let lists = values
        .into_iter()
        .map(|(key, values)| (key, Val::list(values)));
    Val::Map(Arc::new(lists.collect()))
}

/// Neither zones nor IPv4 addresses written as IPv6 ones.
fn parse_ip(text: &str) -> Result<IpAddr, Fault> {
    let error = |why: &str| {
        Fault::error(format!(
            "IP Address {text:?} parse error during conversion from string: {why}"
        ))
    };
    let address: IpAddr = text.parse().map_err(|_| error("unable to parse IP"))?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(error("IPv4-mapped IPv6 address is not allowed"))
        }
        address => Ok(address),
    }
}

fn parse_cidr(text: &str) -> Result<IpNet, Fault> {
    let error = || {
        Fault::error(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?})"
        ))
    };
    let (address, _) = text.split_once('/').ok_or_else(error)?;
    parse_ip(address)?;
    text.parse().map_err(|_| error())
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_global_unicast(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !broadcast
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local(address)
}
