//! Which port the API gets.

use std::net::{IpAddr, SocketAddr};

/// How many ports are tried, counted up from the first.
const TRIES: u16 = 200;

/// The first port from `first` on that is free on `address`, given every
/// listening socket of this machine. A socket on the unspecified address holds
/// its port on all addresses.
pub fn first_free(address: IpAddr, first: u16, listeners: &[SocketAddr]) -> Option<u16> {
    (first..first.saturating_add(TRIES)).find(|&port| {
        !listeners
            .iter()
            .any(|held| held.port() == port && (held.ip() == address || held.ip().is_unspecified()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_way_to_the_next() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let local = IpAddr::from([127, 0, 0, 1]);
        for (listeners, expected) in [
            (vec![], 6443),
            (vec![at("127.0.0.1:6443")], 6444),
            (vec![at("0.0.0.0:6443"), at("[::]:6444")], 6445),
            (vec![at("172.29.0.1:6443"), at("127.0.0.1:80")], 6443),
        ] {
            assert_eq!(
                first_free(local, 6443, &listeners),
                Some(expected),
                "{listeners:?}"
            );
        }
    }
}
