//! What is counted, under CoreDNS's names, so that its dashboards and alerts go on to work.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use sealane_introspect::{Counter, Histogram, Introspect};
use sealane_message::{Kind, Rcode};

use crate::{
    configure::{Labels, Live},
    serve::{Ask, Sent, Transport},
};

/// Seconds: from a quarter of a millisecond, doubling.
const DURATIONS: [f64; 16] = {
    let mut ends = [0.000_25; 16];
    let mut at = 1;
    while at < ends.len() {
        ends[at] = ends[at - 1] * 2.0;
        at += 1;
    }
    ends
};
const SIZES: [f64; 14] = [
    0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3,
];

/// Kinds that are counted by name; all others are `other`.
const KINDS: [Kind; 16] = [
    Kind::A,
    Kind::AAAA,
    Kind::PTR,
    Kind::SRV,
    Kind::TXT,
    Kind::CNAME,
    Kind::NS,
    Kind::SOA,
    Kind::MX,
    Kind::ANY,
    Kind::HTTPS,
    Kind::SVCB,
    Kind::NAPTR,
    Kind::DS,
    Kind::DNSKEY,
    Kind::CAA,
];
const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

/// Which plugin answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Plugin {
    None,
    Acl,
    Rewrite,
    Template,
    Hosts,
    Kubernetes,
    Autopath,
    Forward,
    Whoami,
}

const PLUGINS: [&str; 9] = [
    "",
    "acl",
    "rewrite",
    "template",
    "hosts",
    "kubernetes",
    "autopath",
    "forward",
    "whoami",
];

/// Counters of all blocks that are in force.
pub struct Meters {
    introspect: Introspect,
    /// Of the blocks of one configuration; made anew when another one is in force.
    blocks: ArcSwap<OfLive>,
    /// Of what is no question.
    dropped: BlockMeters,
}

/// Counters of the blocks of one configuration.
pub struct OfLive {
    live: Option<Arc<Live>>,
    blocks: Vec<BlockMeters>,
}

/// Counters of one block. Each is registered when it counts for the first time.
pub struct BlockMeters {
    introspect: Introspect,
    labels: Labels,
    requests: Box<[[[OnceLock<Counter>; KINDS.len() + 1]; 2]; 2]>,
    responses: Box<[[OnceLock<Counter>; 24]; PLUGINS.len()]>,
    dnssec_ok: OnceLock<Counter>,
    durations: OnceLock<Histogram>,
    sizes: [[OnceLock<Histogram>; 2]; 2],
}

impl Meters {
    pub fn new(introspect: &Introspect) -> Self {
        let none = OfLive {
            live: None,
            blocks: Vec::new(),
        };
        Self {
            introspect: introspect.clone(),
            blocks: ArcSwap::from_pointee(none),
            dropped: BlockMeters::new(introspect, no_block()),
        }
    }

    /// A reply was made by a block of `live`.
    pub fn sent(&self, live: &Arc<Live>, ask: &Ask, sent: &Sent<'_>) {
        let mut blocks = self.blocks.load();
        if !blocks.live.as_ref().is_some_and(|of| Arc::ptr_eq(of, live)) {
            let labels = live.blocks.iter().map(|block| block.labels.clone());
            let meters = labels.map(|labels| BlockMeters::new(&self.introspect, labels));
            self.blocks.store(Arc::new(OfLive {
                live: Some(Arc::clone(live)),
                blocks: meters.collect(),
            }));
            blocks = self.blocks.load();
        }
        let block = blocks.blocks.get(usize::from(sent.tag.block));
        block.unwrap_or(&self.dropped).sent(ask, sent);
    }

    /// What was no question gets this, or nothing.
    pub fn refused(&self, client: SocketAddr, transport: Transport, rcode: Option<Rcode>) {
        self.dropped.request(client, transport, KINDS.len()).inc();
        if let Some(rcode) = rcode {
            self.dropped.response(0, rcode).inc();
        }
    }
}

impl BlockMeters {
    fn new(introspect: &Introspect, labels: Labels) -> Self {
        Self {
            introspect: introspect.clone(),
            labels,
            requests: Box::default(),
            responses: Box::new([const { [const { OnceLock::new() }; 24] }; PLUGINS.len()]),
            dnssec_ok: OnceLock::new(),
            durations: OnceLock::new(),
            sizes: Default::default(),
        }
    }

    fn sent(&self, ask: &Ask, sent: &Sent<'_>) {
        let kind = ask.request.question.kind;
        let kind = KINDS.iter().position(|known| *known == kind);
        self.request(ask.client, ask.transport, kind.unwrap_or(KINDS.len()))
            .inc();
        self.response(usize::from(sent.tag.plugin), sent.rcode)
            .inc();
        self.duration().observe(sent.elapsed.as_secs_f64());
        let [request, response] = &self.sizes;
        self.size(request, ask.transport, "coredns_dns_request_size_bytes")
            .observe(ask.bytes.into());
        self.size(response, ask.transport, "coredns_dns_response_size_bytes")
            .observe(sent.message.len() as f64);
        if ask.request.edns.is_some_and(|edns| edns.dnssec_ok) {
            self.dnssec_ok().inc();
        }
    }

    fn request(&self, client: SocketAddr, transport: Transport, kind: usize) -> &Counter {
        let family = usize::from(!client.ip().to_canonical().is_ipv4());
        let protocol = transport as usize;
        let cell = &self.requests[protocol][family][kind];
        cell.get_or_init(|| {
            let kind = KINDS.get(kind).and_then(|kind| kind.known());
            self.introspect.counter(
                "coredns_dns_requests_total",
                "Counter of DNS requests made per zone, protocol and family.",
                &[
                    ("family", FAMILIES[family]),
                    ("proto", PROTOCOLS[protocol]),
                    ("server", &self.labels.server),
                    ("type", kind.unwrap_or("other")),
                    ("view", ""),
                    ("zone", &self.labels.zone),
                ],
            )
        })
    }

    fn response(&self, plugin: usize, rcode: Rcode) -> &Counter {
        let plugin = plugin.min(PLUGINS.len() - 1);
        let of_plugin = &self.responses[plugin];
        let cell = &of_plugin[usize::from(rcode.0).min(of_plugin.len() - 1)];
        cell.get_or_init(|| {
            self.introspect.counter(
                "coredns_dns_responses_total",
                "Counter of response status codes.",
                &[
                    ("plugin", PLUGINS[plugin]),
                    ("rcode", &rcode.to_string()),
                    ("server", &self.labels.server),
                    ("view", ""),
                    ("zone", &self.labels.zone),
                ],
            )
        })
    }

    fn dnssec_ok(&self) -> &Counter {
        self.dnssec_ok.get_or_init(|| {
            self.introspect.counter(
                "coredns_dns_do_requests_total",
                "Counter of DNS requests with DO bit set per zone.",
                &[
                    ("server", &self.labels.server),
                    ("view", ""),
                    ("zone", &self.labels.zone),
                ],
            )
        })
    }

    fn duration(&self) -> &Histogram {
        self.durations.get_or_init(|| {
            self.introspect.histogram(
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
                &[
                    ("server", &self.labels.server),
                    ("view", ""),
                    ("zone", &self.labels.zone),
                ],
                &DURATIONS,
            )
        })
    }

    fn size<'c>(
        &self,
        cells: &'c [OnceLock<Histogram>; 2],
        transport: Transport,
        name: &'static str,
    ) -> &'c Histogram {
        let protocol = transport as usize;
        cells[protocol].get_or_init(|| {
            self.introspect.histogram(
                name,
                "Size of the EDNS0 UDP buffer or of the message in bytes (64K for TCP) per zone and protocol.",
                &[
                    ("proto", PROTOCOLS[protocol]),
                    ("server", &self.labels.server),
                    ("view", ""),
                    ("zone", &self.labels.zone),
                ],
                &SIZES,
            )
        })
    }
}

/// What is no question belongs to no block.
fn no_block() -> Labels {
    Labels {
        server: "dns://:53".into(),
        zone: "dropped".into(),
    }
}
