use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sealane_net::{Family, IpNet, names};
use sealane_netlink::{Alarm, Batch, Direct, Nft, netns};
use sealane_ruleset::dns_table;

use crate::place::Place;

/// Whether it rings before the deadline; `soon` for what must not happen.
fn rings(alarm: &Alarm, soon: bool) -> bool {
    let mut fds = alarm
        .descriptors()
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let patience = PollTimeout::from(if soon { 50_u16 } else { 10_000 });
    poll(&mut fds, patience).unwrap() > 0 && alarm.rang()
}

#[tokio::test]
async fn it_rings_for_addresses_and_rules_and_not_for_elements_and_what_is_wrong_is_mended() {
    let place = Place::new().await;
    let netns = place.netns.try_clone().unwrap();
    let run = |line: &str| drop(place.run(line));
    netns::run_in(netns, || {
        let addresses = ["10.96.0.10".parse().unwrap()];
        let tables = [dns_table(Family::V4, &addresses).unwrap()];
        let (mut nft, mut direct) = (Nft::open().unwrap(), Direct::open().unwrap());
        assert!(nft.keep(names::DNS_TABLE, &tables).unwrap());
        assert!(!nft.keep(names::DNS_TABLE, &tables).unwrap(), "twice");
        let address = IpNet::from(addresses[0]);
        let lo = direct.index_of(names::DNS_LINK).unwrap();
        let mut batch = Batch::new();
        batch.add_numbered_address(lo, address, names::DNS_PROTOCOL);
        direct.run_all(batch).unwrap();
        let mine = direct.addresses().unwrap();
        let mine = mine.iter().find(|a| a.address == address).unwrap();
        assert_eq!(mine.protocol, names::DNS_PROTOCOL);

        let mut batch = Batch::new();
        batch.add_numbered_address(lo, "fd94::53/128".parse().unwrap(), names::DNS_PROTOCOL);
        direct.run_all(batch).unwrap();
        let routes = place.run("ip -6 route show");
        assert!(
            !routes.contains("fd94::53"),
            "only the table of local addresses has it: {routes}"
        );

        let alarm = Alarm::open().unwrap();
        run("nft add table ip foreign");
        run("nft add set ip foreign many { type ipv4_addr; }");
        alarm.rang();
        run("nft add element ip foreign many { 192.0.2.1 }");
        assert!(!rings(&alarm, true), "an element of somebody else's set");
        run("ip address delete 10.96.0.10/32 dev lo");
        assert!(rings(&alarm, false));
        for edit in [
            "flush chain ip sealane-dns output",
            "delete table ip sealane-dns",
        ] {
            run(&format!("nft {edit}"));
            assert!(rings(&alarm, false), "{edit}");
            assert!(nft.keep(names::DNS_TABLE, &tables).unwrap(), "{edit}");
            assert!(!nft.keep(names::DNS_TABLE, &tables).unwrap(), "{edit}");
        }
        let mut batch = Batch::new();
        batch.delete_address(lo, address);
        assert!(direct.run_all(batch).unwrap_err().is_absent());
        assert!(nft.keep(names::DNS_TABLE, &[]).unwrap());
    })
    .unwrap();
}
