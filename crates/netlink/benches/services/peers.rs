//! What kube-proxy would have the kernel hold, by the tools that it uses.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use sealane_iptables::{Choices, Loaded, compile, diff};
use sealane_net::Family;

use crate::gauge::{Kernel, Took, milliseconds, quantile_us, tell};
use crate::ours::Place;
use crate::world::{self, ENDPOINTS};

const CHANGES: usize = 10;

/// A file that goes away with this value.
struct Input(PathBuf);

impl Input {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sl-bench-rules-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A chain for each Service and each endpoint, and a map of verdicts that leads there.
pub fn nft(services: usize) {
    let mut text = String::from(
        "table ip kube-proxy {\n\
         map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n\
         chain mark-for-masquerade { mark set mark or 0x4000; }\n\
         chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }\n\
         chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n\
         chain nat-output { type nat hook output priority -100; jump services; }\n\
         chain nat-postrouting { type nat hook postrouting priority srcnat; meta mark & 0x4000 == 0 return; masquerade fully-random; }\n\
         }\n",
    );
    for n in 0..services {
        (0..ENDPOINTS).for_each(|e| endpoint_chain(&mut text, n, e));
        service_chain(&mut text, n, ENDPOINTS);
        let (ip, chain) = (world::cluster_ip(n), service_chain_name(n));
        let _ = writeln!(
            text,
            "add element ip kube-proxy service-ips {{ {ip} . tcp . 80 : goto {chain} }}"
        );
    }
    compared("nft -f", services, &text, |n, endpoints| {
        let mut text = String::new();
        if endpoints > ENDPOINTS {
            endpoint_chain(&mut text, n, ENDPOINTS);
        }
        let _ = writeln!(text, "flush chain ip kube-proxy {}", service_chain_name(n));
        service_chain(&mut text, n, endpoints);
        if endpoints == ENDPOINTS {
            let _ = writeln!(
                text,
                "delete chain ip kube-proxy {}",
                endpoint_chain_name(n, ENDPOINTS)
            );
        }
        text
    });
}

fn service_chain_name(n: usize) -> String {
    let name = world::service_name(n);
    format!(
        "service-{:08X}-{}/{}/tcp/http",
        n * 7_919,
        name.namespace,
        name.name
    )
}

fn endpoint_chain_name(n: usize, e: usize) -> String {
    let (name, ip) = (world::service_name(n), world::endpoint(n, e));
    format!(
        "endpoint-{:08X}-{}/{}/tcp/http__{ip}/8080",
        n * 7_919 + e,
        name.namespace,
        name.name
    )
}

fn endpoint_chain(text: &mut String, n: usize, e: usize) {
    let (ip, chain) = (world::endpoint(n, e), endpoint_chain_name(n, e));
    let _ = writeln!(
        text,
        "add chain ip kube-proxy {chain}\n\
         add rule ip kube-proxy {chain} ip saddr {ip} jump mark-for-masquerade\n\
         add rule ip kube-proxy {chain} meta l4proto tcp dnat to {ip}:8080"
    );
}

fn service_chain(text: &mut String, n: usize, endpoints: usize) {
    let (ip, chain) = (world::cluster_ip(n), service_chain_name(n));
    let to = (0..endpoints).map(|e| format!("{e} : goto {}", endpoint_chain_name(n, e)));
    let to = to.collect::<Vec<_>>().join(", ");
    let _ = writeln!(
        text,
        "add chain ip kube-proxy {chain}\n\
         add rule ip kube-proxy {chain} ip daddr {ip} tcp dport 80 ip saddr != 10.128.0.0/24 jump mark-for-masquerade\n\
         add rule ip kube-proxy {chain} numgen random mod {endpoints} vmap {{ {to} }}"
    );
}

/// kube-proxy's chains, as our own agent writes them in this mode: `iptables-legacy` or `iptables-nft`.
pub fn iptables(variant: &str, services: usize) {
    let mut table = world::Objects::new(services).table();
    let choices = Choices {
        pods: world::pods(),
        ..Choices::new(Family::V4)
    };
    let program = compile(table.iter(), &choices);
    let mut loaded = Loaded::default();
    loaded.replace(&program);
    compared(
        &format!("{variant}-restore --noflush"),
        services,
        &program.text(),
        |n, endpoints| {
            table.set_slice(&world::slice_name(n), Some(world::slice(n, endpoints)));
            let program = compile(table.iter(), &choices);
            let text = diff(&loaded, &program).text;
            loaded.replace(&program);
            text
        },
    );
}

/// Loads all, then has an endpoint come and go again, by a tool that is given a file.
fn compared(
    tool: &str,
    services: usize,
    all: &str,
    mut change: impl FnMut(usize, usize) -> String,
) {
    let place = Place::new();
    let held = Kernel::new();
    let load = |text: &str| -> Took {
        let input = Input::new(text);
        place.run(&format!("{tool} {}", input.path().display()))
    };
    let took = load(all);
    tell("all Services, ms", milliseconds(took.wall));
    tell(
        "of it the processor, ms",
        milliseconds(processor_of_children()),
    );
    held.tell("kernel memory, MB");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    tell(
        "memory of the process at most, MB",
        peak as f64 * 1024.0 / 1e6,
    );
    let mut times = Vec::new();
    for n in world::scattered(services, CHANGES) {
        for endpoints in [ENDPOINTS + 1, ENDPOINTS] {
            let text = change(n, endpoints);
            times.push(load(&text).wall);
        }
    }
    tell("one change, p50, us", quantile_us(&times, 0.5));
    tell("one change, p99, us", quantile_us(&times, 0.99));
}

fn processor_of_children() -> Duration {
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
