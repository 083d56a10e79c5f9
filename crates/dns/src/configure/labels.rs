//! What metrics call a server block, as CoreDNS does.

use std::net::{IpAddr, SocketAddr};

use sealane_corefile::Server;
use sealane_message::Name;

/// The labels that all metrics of a block have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The address that it says, and its port: `dns://:53`, or with `bind 10.96.0.10` `dns://10.96.0.10:53`.
    pub server: String,
    /// Its first zone.
    pub zone: String,
}

impl Labels {
    /// Those of a block that is served at `port`.
    #[must_use]
    pub fn of(server: &Server, port: u16) -> Self {
        let mut bound = server
            .bind
            .iter()
            .filter_map(|text| text.parse::<IpAddr>().ok());
        let at = match bound.next() {
            Some(address) => SocketAddr::new(address, port).to_string(),
            None => format!(":{port}"),
        };
        let mut here = server.keys.iter().filter(|key| key.port == port);
        let zone = here.next().map_or(Name::ROOT, |key| key.zone);
        Self {
            server: format!("dns://{at}"),
            zone: zone.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealane_corefile::{Given, parse};

    use super::*;

    #[test]
    fn a_block_is_called_by_its_address_its_port_and_its_first_zone() {
        for (text, server, zone) in [
            (".:53 {\n}\n", "dns://:53", "."),
            (
                "a.example b.example {\n bind fd94::53 lo\n}\n",
                "dns://[fd94::53]:53",
                "a.example.",
            ),
            (
                "a.example:54 b.example:53 {\n bind lo\n}\n",
                "dns://:53",
                "b.example.",
            ),
        ] {
            let config = parse(text, &Given::default()).unwrap();
            let labels = Labels::of(&config.servers[0], 53);
            assert_eq!((&*labels.server, &*labels.zone), (server, zone), "{text}");
        }
    }
}
