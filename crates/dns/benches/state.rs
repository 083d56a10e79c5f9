//! What the state on disk costs a worker: `cargo bench -p sealane-dns --bench state`.
//!
//! 10,000 Services with 10 endpoints each; 100 of their EndpointSlices change each second, for `STATE_SECONDS` (60). How
//! often a file is written is seen by looking whether another has taken its place; what it costs is the processor
//! time of this process, less what the same changes cost without a writer; what goes to the disk is what the kernel
//! has counted (`write_bytes`), so the folder for temporary files should be on one.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should panic"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sealane_dns::fuzzing;
use sealane_net::Protocol;
use sealane_objects::{DnsTarget, EndpointDns, ObjectName, PortDns, ServiceDns, SliceDns};
use sealane_zone::Zone;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const CHANGES_EACH_SECOND: u32 = 100;
const LOOK: Duration = Duration::from_millis(10);

fn main() {
    let seconds = std::env::var("STATE_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(60);
    let lasts = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    let zone = Arc::new(RwLock::new(cluster()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();

    let quiet = Span::of(|| runtime.block_on(change(&zone, lasts)));
    let path = folder.path().join("dns");
    let names = path.join("names");
    let mut files = 0;
    let busy = Span::of(|| {
        runtime.block_on(async {
            tokio::select! {
                kept = fuzzing::keep(&path, Arc::clone(&zone)) => kept.unwrap(),
                () = change(&zone, lasts) => {}
                () = count(&names, &mut files) => {}
            }
        });
    });
    let bytes = fs::metadata(&names).unwrap().len();
    println!(
        "{SERVICES} Services x {ENDPOINTS}, {CHANGES_EACH_SECOND} slices changed each second, {seconds} s:"
    );
    println!("a file: {bytes} bytes");
    println!(
        "files written: {files}, one each {:.1} s",
        lasts.as_secs_f64() / f64::from(files)
    );
    let processor = busy.processor.saturating_sub(quiet.processor);
    println!(
        "processor time: {:.1} ms for a file, {:.2}% of one processor",
        processor.as_secs_f64() * 1e3 / f64::from(files),
        processor.as_secs_f64() / lasts.as_secs_f64() * 100.0,
    );
    println!("to the disk: {} KB/s", busy.written / 1000 / seconds);
}

/// What a piece of work took.
struct Span {
    processor: Duration,
    written: u64,
}

impl Span {
    fn of(work: impl FnOnce()) -> Self {
        let (processor, written) = (processor_time(), written());
        work();
        Self {
            processor: processor_time() - processor,
            written: self::written() - written,
        }
    }
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.try_into().unwrap())
}

/// Bytes that this process has had written to disks.
fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

/// Counts files that take the place of `path`.
async fn count(path: &Path, files: &mut u32) {
    let mut last = 0;
    loop {
        let now =
            fs::metadata(path).map_or(0, |meta| meta.ino() ^ meta.mtime_nsec().unsigned_abs());
        *files += u32::from(now != last);
        last = now;
        tokio::time::sleep(LOOK).await;
    }
}

async fn change(zone: &RwLock<Zone>, lasts: Duration) {
    let begun = Instant::now();
    let mut next = tokio::time::interval(Duration::from_secs(1) / CHANGES_EACH_SECOND);
    for number in 0.. {
        next.tick().await;
        if begun.elapsed() > lasts {
            return;
        }
        let service = number * 7919 % SERVICES;
        zone.write()
            .unwrap()
            .set_slice(&name(service), Some(slice(service, number)));
    }
}

fn cluster() -> Zone {
    let mut zone = Zone::new();
    for number in 0..SERVICES {
        let service = ServiceDns {
            target: DnsTarget::Addresses(vec![address(10 << 24 | 96 << 16, number)]),
            ports: vec![port(80)],
        };
        zone.set_service(&name(number), Some(service));
        zone.set_slice(&name(number), Some(slice(number, 0)));
    }
    zone
}

fn slice(service: u32, change: u32) -> SliceDns {
    let endpoint = |number| EndpointDns {
        address: address(10 << 24 | 128 << 16, service * ENDPOINTS + number),
        ready: true,
        hostname: None,
        pod: None,
    };
    let mut endpoints: Vec<_> = (0..ENDPOINTS).map(endpoint).collect();
    endpoints[0].address = address(11 << 24, change % (1 << 24));
    SliceDns {
        service: format!("service-{service}").into(),
        ports: vec![port(8080)],
        endpoints,
    }
}

fn name(service: u32) -> ObjectName {
    ObjectName::new(format!("ns-{}", service % 50), format!("service-{service}"))
}

fn port(number: u16) -> PortDns {
    PortDns {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: number,
    }
}

fn address(base: u32, number: u32) -> IpAddr {
    Ipv4Addr::from_bits(base + number).into()
}
