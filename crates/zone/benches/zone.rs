//! The zone of a large cluster: `cargo bench -p sealane-zone`.
//!
//! 10,000 Services and 100,000 endpoints in 10,000 slices, of which a tenth is a headless Service's with
//! hostnames. Bytes are what the allocator was asked for; times are the processor's for this one thread
//! (`/proc/thread-self/schedstat`), so that what else the machine does counts little.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sealane_message::{Kind, Name, Question, Request, SAFE_UDP_BYTES, Writer};
use sealane_net::Protocol;
use sealane_objects::{DnsTarget, EndpointDns, ObjectName, PodDns, PortDns, ServiceDns, SliceDns};
use sealane_zone::{Client, Found, SearchSettings, Settings, Zone};

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const HEADLESS: usize = 10;
/// Endpoints of one large headless Service, a hundred to a slice.
const LARGE: usize = 5000;
const LASTS: Duration = Duration::from_millis(500);

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to what `alloc` asks of him.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to what `dealloc` asks of him.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let (bytes, resident) = (BYTES.load(Ordering::Relaxed), resident_kib());
    let begun = processor_nanos();
    let mut zone = cluster();
    let took = processor_nanos() - begun;
    let (services, endpoints) = zone.size();
    let held = BYTES.load(Ordering::Relaxed) - bytes;
    println!(
        "{services} Services, {endpoints} endpoints: {:.1} MB asked for, {:.1} MB more resident, filled in {:.0} ms",
        held as f64 / 1e6,
        (resident_kib() - resident) as f64 * 1024.0 / 1e6,
        took as f64 / 1e6
    );
    let settings = settings();
    answers(&zone, &settings);
    changes(&mut zone);
    large(&mut zone, &settings);
    searches(&zone, &settings);
}

fn settings() -> Settings {
    let zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"];
    Settings {
        zones: zones.iter().map(|zone| zone.parse().unwrap()).collect(),
        ttl: 30,
        ..Settings::default()
    }
}

fn name(n: usize) -> ObjectName {
    ObjectName::new(format!("team-{}", n % 100), format!("service-{n}"))
}

fn is_headless(n: usize) -> bool {
    n.is_multiple_of(HEADLESS)
}

fn port() -> PortDns {
    PortDns {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 8080,
    }
}

fn service(n: usize) -> ServiceDns {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 2)) + n as u32);
    ServiceDns {
        target: match is_headless(n) {
            true => DnsTarget::Endpoints,
            false => DnsTarget::Addresses(vec![address.into()]),
        },
        ports: vec![port()],
    }
}

fn endpoint(n: usize, host: Option<String>) -> EndpointDns {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 1)) + n as u32);
    EndpointDns {
        address: IpAddr::V4(address),
        ready: true,
        hostname: host.map(Into::into),
        pod: Some(format!("service-7d9f8-{n:05}").into()),
    }
}

fn slice(n: usize, first: usize) -> SliceDns {
    let numbers = first..first + ENDPOINTS;
    let host = |e: usize| is_headless(n).then(|| format!("service-{n}-{e}"));
    SliceDns {
        service: name(n).name.into(),
        ports: vec![port()],
        endpoints: numbers
            .map(|e| endpoint(n * ENDPOINTS + e, host(e)))
            .collect(),
    }
}

fn slice_name(n: usize) -> ObjectName {
    let name = name(n);
    ObjectName::new(name.namespace, format!("{}-x7x7x", name.name))
}

fn cluster() -> Zone {
    let mut zone = Zone::new();
    for n in 0..SERVICES {
        zone.set_service(&name(n), Some(service(n)));
        zone.set_slice(&slice_name(n), Some(slice(n, 0)));
    }
    zone
}

/// Runs `work` until its time is up: nanoseconds and allocations of one.
fn measure(mut work: impl FnMut(usize)) -> (f64, f64) {
    let (begun, calls) = (Instant::now(), CALLS.load(Ordering::Relaxed));
    let before = processor_nanos();
    let mut done = 0;
    while begun.elapsed() < LASTS {
        for _ in 0..256 {
            work(done);
            done += 1;
        }
    }
    let calls = CALLS.load(Ordering::Relaxed) - calls;
    let nanos = (processor_nanos() - before) as f64 / done as f64;
    (nanos, calls as f64 / done as f64)
}

fn answers(zone: &Zone, settings: &Settings) {
    let of_service = |n: usize, before: &str| {
        let name = name(n);
        format!("{before}{}.{}.svc.cluster.local", name.name, name.namespace)
    };
    let plain = |n: usize| if is_headless(n) { n + 1 } else { n };
    let headless = |n: usize| n - n % HEADLESS;
    type Asked<'a> = (&'a str, Box<dyn Fn(usize) -> String + 'a>, Kind);
    let questions: [Asked<'_>; 8] = [
        (
            "A of a cluster IP",
            Box::new(|n| of_service(plain(n), "")),
            Kind::A,
        ),
        (
            "AAAA that there is none of",
            Box::new(|n| of_service(plain(n), "")),
            Kind::AAAA,
        ),
        (
            "A of a name that is not there",
            Box::new(|n| of_service(n, "www.example.com.")),
            Kind::A,
        ),
        (
            "SRV of a cluster IP",
            Box::new(|n| of_service(plain(n), "_http._tcp.")),
            Kind::SRV,
        ),
        (
            "A of a headless Service, 10 endpoints",
            Box::new(|n| of_service(headless(n), "")),
            Kind::A,
        ),
        (
            "A of an endpoint's hostname",
            Box::new(|n| of_service(headless(n), &format!("service-{}-3.", headless(n)))),
            Kind::A,
        ),
        (
            "SRV of a headless Service, 10 endpoints",
            Box::new(|n| of_service(headless(n), "_http._tcp.")),
            Kind::SRV,
        ),
        (
            "PTR of an endpoint",
            Box::new(|n| Name::reverse(endpoint(n * ENDPOINTS, None).address).to_string()),
            Kind::PTR,
        ),
    ];
    for (what, name, kind) in questions {
        let requests: Vec<Request> = (0..SERVICES)
            .map(|n| {
                Request::new(
                    0,
                    Question::new(name(n * 7 % SERVICES).parse().unwrap(), kind),
                )
            })
            .collect();
        report(zone, settings, what, &requests);
    }
}

fn report(zone: &Zone, settings: &Settings, what: &str, requests: &[Request]) {
    let mut message = Vec::with_capacity(4096);
    let find = |some: usize| {
        let (nanos, _) = measure(|n| {
            let question = &requests[n % some].question;
            black_box(zone.find(settings, question));
        });
        nanos
    };
    let (hot, cold) = (find(requests.len().min(16)), find(requests.len()));
    let (both, calls) = measure(|n| {
        let request = &requests[n % requests.len()];
        message.clear();
        let mut writer = Writer::reply(&mut message, request, SAFE_UDP_BYTES);
        if let Found::Inside(answer) = zone.find(settings, &request.question) {
            let _ = answer.write(&request.question, &mut writer);
        }
        black_box(writer.finish());
    });
    let bytes = message.len();
    println!(
        "{what}: find {cold:.0} ns ({hot:.0} ns among 16 names), with a reply of {bytes} bytes {both:.0} ns, {calls:.1} allocations"
    );
}

fn changes(zone: &mut Zone) {
    let slices: Vec<[SliceDns; 2]> = (0..SERVICES).map(|n| [slice(n, 0), slice(n, 1)]).collect();
    let (clone, _) = measure(|n| {
        black_box(slices[n % SERVICES][n / SERVICES % 2].clone());
    });
    let (nanos, calls) = measure(|n| {
        let at = n % SERVICES;
        let slice = slices[at][(n / SERVICES + 1) % 2].clone();
        zone.set_slice(&slice_name(at), Some(slice));
    });
    println!(
        "a slice of {ENDPOINTS} changes two of them: {:.1} µs, {calls:.0} allocations (the test's own copy: {:.1} µs)",
        nanos / 1e3,
        clone / 1e3
    );
    let (nanos, _) = measure(|n| {
        let at = n % SERVICES;
        let service = (n / SERVICES % 2 == 1).then(|| service(at));
        zone.set_service(&name(at), service);
    });
    println!("a Service goes or comes: {:.1} µs", nanos / 1e3);
}

fn large(zone: &mut Zone, settings: &Settings) {
    let name = ObjectName::new("team-0", "large");
    let object = ServiceDns {
        target: DnsTarget::Endpoints,
        ports: vec![port()],
    };
    zone.set_service(&name, Some(object));
    let slice = |number: usize, off: usize| SliceDns {
        service: "large".into(),
        ports: vec![port()],
        endpoints: (0..100)
            .filter(|e| *e != off)
            .map(|e| endpoint(1_000_000 + number * 100 + e, None))
            .collect(),
    };
    let named = |number: usize| ObjectName::new("team-0", format!("large-{number}"));
    let numbers = LARGE / 100;
    for number in 0..numbers {
        zone.set_slice(&named(number), Some(slice(number, 100)));
    }
    let (nanos, _) = measure(|n| {
        zone.set_slice(
            &named(n % numbers),
            Some(slice(n % numbers, n / numbers % 100)),
        );
    });
    let (own, _) = measure(|n| {
        black_box(slice(n % numbers, n / numbers % 100));
    });
    println!(
        "one of {LARGE} endpoints goes, another comes, in a slice of 100: {:.1} µs (of that, the test's own making of it: {:.1} µs)",
        nanos / 1e3,
        own / 1e3
    );
    let asked = "large.team-0.svc.cluster.local".parse().unwrap();
    let request = Request::new(0, Question::new(asked, Kind::A));
    report(
        zone,
        settings,
        &format!("A of {LARGE} endpoints, as many as fit"),
        &[request],
    );
}

fn searches(zone: &Zone, settings: &Settings) {
    let search = SearchSettings {
        domain: "cluster.local".into(),
        node_searches: vec!["corp.example".into()],
        node_ndots: None,
    };
    let client = Client::new(
        &ObjectName::new("team-1", "web"),
        &PodDns::default(),
        &search,
    );
    let asked = "www.example.com.team-1.svc.cluster.local".parse().unwrap();
    let question = Question::new(asked, Kind::A);
    let (nanos, calls) = measure(|_| {
        let rest = client.rest(zone, settings, &question).unwrap();
        for name in &rest {
            black_box(zone.find(settings, &Question::new(*name, Kind::A)));
        }
    });
    println!(
        "a search's four other names, made and looked for: {nanos:.0} ns, {calls:.1} allocations"
    );
}

fn processor_nanos() -> u64 {
    // To be scheduled anew brings the number up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.unwrap().parse().unwrap()
}
