//! Resolvers out of a `resolv.conf` (resolv.conf(5)).
//!
//! The file is read again every few seconds instead of being watched: it is often a link into a folder that
//! another program fills, and each part of the way there may be replaced.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

const PORT: u16 = 53;

/// More than any other program reads.
const MOST: usize = 15;

/// The resolvers that a file names; `None` when it cannot be read, or names none.
pub fn read(path: &Path) -> Option<Vec<SocketAddr>> {
    let text = fs::read_to_string(path).ok()?;
    let named = parse(&text, |link| {
        let file = Path::new("/sys/class/net").join(link).join("ifindex");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    (!named.is_empty()).then_some(named)
}

/// The resolvers that a text names. `index` gives the number of a link, which `fe80::1%eth0` needs.
pub fn parse(text: &str, index: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let lines = text.lines().map(str::split_whitespace);
    let named = lines.filter_map(|mut words| {
        (words.next()? == "nameserver").then_some(())?;
        address(words.next()?, &index)
    });
    named.take(MOST).collect()
}

fn address(text: &str, index: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, link)) = text.split_once('%') else {
        return Some((text.parse::<IpAddr>().ok()?, PORT).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let safe = !link.contains(['/', '.']);
    let scope = link.parse().ok().or_else(|| index(link).filter(|_| safe))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_resolvers_are_named() {
        let text = "# nameserver 192.0.2.9\n\
                    search example.org\n\
                    nameserver 192.0.2.1\n\
                    \tnameserver   2001:db8::1 ; the other\n\
                    nameserver fe80::1%eth0\n\
                    nameserver fe80::2%7\n\
                    nameserver fe80::3%gone\n\
                    nameserver nonsense\n\
                    nameservers 192.0.2.8\n\
                    options ndots:5\n";
        let index = |link: &str| (link == "eth0").then_some(3);
        let shown: Vec<_> = parse(text, index).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "192.0.2.1:53",
                "[2001:db8::1]:53",
                "[fe80::1%3]:53",
                "[fe80::2%7]:53"
            ]
        );
    }

    #[test]
    fn a_file_that_names_none_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        assert_eq!(read(&path), None);
        fs::write(&path, "search example.org\n").unwrap();
        assert_eq!(read(&path), None);
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
    }
}
