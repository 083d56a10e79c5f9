//! dnsperf.

use std::{fs, path::Path, process::Command};

use crate::Server;

/// Queries in a second while it is looked how long they take.
pub const CALM_RATE: u32 = 10_000;

pub struct Load<'a> {
    pub names: &'a Path,
    pub protocol: &'a str,
}

#[derive(Clone, Debug)]
pub struct Result {
    pub per_cpu_second: f64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub lost: u64,
}

impl Load<'_> {
    /// Asks for each name once, and requires an answer.
    pub fn warm(&self, server: &Server) {
        let text = self.dnsperf(server, &["-n", "1", "-c", "1", "-q", "10"]);
        assert_eq!(
            number(&text, "Queries lost:"),
            0.0,
            "{}: {text}",
            server.name
        );
        assert!(!text.contains("SERVFAIL"), "{}: {text}", server.name);
    }

    /// As many as it can answer, and then few.
    pub fn run(&self, server: &Server) -> Result {
        let before = cpu_seconds(server);
        let text = self.dnsperf(server, &["-l", "2", "-c", "4", "-q", "200"]);
        let cpu = cpu_seconds(server) - before;
        let rate = CALM_RATE.to_string();
        let calm = self.dnsperf(server, &["-v", "-l", "1", "-c", "4", "-Q", &rate]);
        let mut times: Vec<f64> = calm
            .lines()
            .filter(|line| line.starts_with('>'))
            .filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok())
            .map(|seconds| seconds * 1e6)
            .collect();
        times.sort_by(f64::total_cmp);
        let part = |share: f64| {
            let at = (times.len() as f64 * share) as usize;
            times.get(at).copied().unwrap_or(f64::NAN)
        };
        Result {
            per_cpu_second: number(&text, "Queries completed:") / cpu,
            per_second: number(&text, "Queries per second:"),
            p50_us: part(0.5),
            p99_us: part(0.99),
            lost: number(&text, "Queries lost:") as u64,
        }
    }

    fn dnsperf(&self, server: &Server, arguments: &[&str]) -> String {
        let output = Command::new("dnsperf")
            .args(["-s", "127.0.0.1", "-e", "-m", self.protocol, "-p"])
            .arg(server.port.to_string())
            .arg("-d")
            .arg(self.names)
            .args(arguments)
            .output()
            .expect("run dnsperf (apt-get install dnsperf)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The number behind `words`.
fn number(text: &str, words: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(words));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{words} NUMBER in {text}"))
}

/// What a process has used.
fn cpu_seconds(server: &Server) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.process.id())).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    // USER_HZ, which is 100 on every architecture that we run on.
    ticks / 100.0
}
