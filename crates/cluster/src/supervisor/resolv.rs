//! This machine's real resolvers.
//!
//! A stub on loopback (systemd-resolved, NetworkManager's dnsmasq) answers this
//! machine alone; a pod has another loopback. Both programs keep a second file
//! with the servers that they ask themselves.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

const CANDIDATES: [&str; 3] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
];

/// The first file that names a server beyond this machine, and no stub.
pub fn upstreams() -> PathBuf {
    let usable = |path: &str| fs::read_to_string(path).is_ok_and(|text| names_upstreams(&text));
    let found = CANDIDATES.into_iter().find(|path| usable(path));
    PathBuf::from(found.unwrap_or(CANDIDATES[0]))
}

fn names_upstreams(text: &str) -> bool {
    let servers: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .collect();
    !servers.is_empty() && servers.iter().all(|server| !server.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_stub_is_no_upstream() {
        for (text, expected) in [
            ("nameserver 192.0.2.53\n", true),
            (
                "# nameserver 1.1.1.1\nnameserver 127.0.0.53\noptions edns0\n",
                false,
            ),
            ("nameserver ::1\n", false),
            ("search example.org\n", false),
            ("nameserver\t192.0.2.1\nnameserver 192.0.2.2\n", true),
        ] {
            assert_eq!(names_upstreams(text), expected, "{text}");
        }
    }
}
