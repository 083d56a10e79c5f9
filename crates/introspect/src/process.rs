//! What the kernel says of this process, under the names that every Prometheus client uses.

use std::fs;

use crate::metrics::{render_counter, render_gauge};

/// Bytes of a page on the architectures that we run on (x86-64, arm64 with 4 KiB pages); `statm` counts pages.
const PAGE_BYTES: f64 = 4096.0;
/// Clock ticks a second in `/proc/PID/stat`, fixed for user space (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

const MEMORY: (&str, &str) = (
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
);
const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);
const FILES: (&str, &str) = ("process_open_fds", "Number of open file descriptors.");

pub(crate) fn render(out: &mut String) {
    if let Some(pages) = resident_pages(&read("/proc/self/statm")) {
        render_gauge(out, MEMORY, &[], pages * PAGE_BYTES);
    }
    if let Some(ticks) = cpu_ticks(&read("/proc/self/stat")) {
        render_counter(out, CPU, ticks / TICKS_PER_SECOND);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        render_gauge(out, FILES, &[], open.count() as f64);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// proc_pid_statm(5): total, resident, …
fn resident_pages(statm: &str) -> Option<f64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

/// proc_pid_stat(5): fields 14 and 15, counted behind the last `)` since a command may contain anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        assert_eq!(resident_pages("5000 1234 900 1 0 2 0"), Some(1234.0));
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 9 1 1";
        assert_eq!(cpu_ticks(stat), Some(12.0));
        assert_eq!(cpu_ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let mut text = String::new();
        render(&mut text);
        for name in [
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "process_open_fds",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{text}");
        }
    }
}
