//! Plugins that are known, and not there.

use super::Reader;
use crate::fault::Fault;
use crate::tree::Statement;

/// What follows from leaving a plugin out, and what to do.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["any", "local", "cancel", "multisocket"],
        "need not be said: it is always done, or there is nothing like it",
    ),
    (
        &[
            "debug", "pprof", "trace", "dnstap", "metadata", "geoip", "nsid", "chaos",
        ],
        "is not supported and left out; answers are the same without it",
    ),
    (
        &["bufsize", "timeouts", "minimal", "header", "proxyproto"],
        "is left out: sizes, time limits and flags are fixed (docs/dns.md)",
    ),
    (
        &["dns64"],
        "is not supported: no IPv6 addresses are made of IPv4 ones; forward to a resolver that does",
    ),
    (
        &["dnssec", "sign", "tsig", "transfer"],
        "is not supported: nothing is signed, and no zone is handed out",
    ),
    (
        &["tls", "quic", "grpc", "grpc_server", "doh", "doq"],
        "is not supported: what is served is UDP and TCP",
    ),
    (
        &[
            "file",
            "auto",
            "secondary",
            "etcd",
            "route53",
            "azure",
            "clouddns",
            "k8s_external",
            "k8s_gateway",
            "kubernetai",
            "lighthouse",
            "records",
            "mysql",
            "redis",
            "nomad",
            "netbox",
            "ipecho",
            "erratic",
        ],
        "is not supported: its names are looked for in the next plugin; serve them elsewhere and `forward ZONE ADDRESS`",
    ),
    (
        &["fanout", "alternate", "unbound", "recursor", "dnsredir"],
        "is not supported: its names are looked for in the next plugin; use `forward`",
    ),
    (
        &[
            "ads",
            "block",
            "blocklist",
            "alias",
            "on",
            "root",
            "git",
            "idetcd",
        ],
        "is not supported and left out",
    ),
];

pub fn plugin(reader: &mut Reader<'_>, statement: &Statement) -> Result<(), Fault> {
    let name = statement.name.as_str();
    if name == "view" {
        // Named with its block already.
        return Ok(());
    }
    let known = KNOWN.iter().find(|(names, _)| names.contains(&name));
    let Some((_, consequence)) = known else {
        return Err(
            statement.fault("there is no such plugin: is it misspelled? (docs/dns.md lists them)")
        );
    };
    reader.note(statement, *consequence);
    Ok(())
}
