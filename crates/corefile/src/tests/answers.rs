//! `hosts` and `acl`: questions in, answers out.

use super::*;

fn addresses(list: &[&str]) -> HostsFound<'static> {
    HostsFound::Addresses(list.iter().map(|text| text.parse().unwrap()).collect())
}

const HOSTS: &str = "hosts {
  192.0.2.1 a.org www.a.org
  192.0.2.2 a.org
  2001:db8::1 a.org
  fe80::1%eth0 link.org
  0.0.0.0 ads.org
  ttl 60
}";

#[test]
fn names_and_addresses_are_found_in_both_directions() {
    let (server, notices) = server(HOSTS);
    assert_eq!(notices, [] as [&str; 0]);
    let hosts = server.hosts.unwrap();
    let [first, second] = [name("a.org"), name("www.a.org")];
    for (of, kind, expected) in [
        ("A.org", Kind::A, addresses(&["192.0.2.1", "192.0.2.2"])),
        ("a.org", Kind::AAAA, addresses(&["2001:db8::1"])),
        ("www.a.org", Kind::AAAA, HostsFound::NoData),
        ("a.org", Kind::TXT, HostsFound::NoData),
        ("link.org", Kind::AAAA, addresses(&["fe80::1"])),
        ("b.org", Kind::A, HostsFound::Fail),
        (
            "1.2.0.192.in-addr.arpa",
            Kind::PTR,
            HostsFound::Names(&[first, second]),
        ),
        ("9.2.0.192.in-addr.arpa", Kind::PTR, HostsFound::Pass),
        ("0.0.0.0.in-addr.arpa", Kind::PTR, HostsFound::Pass),
        ("a.org", Kind::PTR, HostsFound::Pass),
    ] {
        assert_eq!(hosts.find(&question(of, kind)), expected, "{of} {kind}");
    }
    assert_eq!((hosts.len(), hosts.ttl), (4, 60));
}

#[test]
fn hosts_keeps_to_its_zones_and_falls_through() {
    let config = config(
        "a.org {\n hosts {\n 192.0.2.1 a.org b.org\n no_reverse\n fallthrough x.a.org\n }\n}\n",
    );
    let hosts = config.servers[0].hosts.as_ref().unwrap();
    for (of, kind, expected) in [
        ("a.org", Kind::A, addresses(&["192.0.2.1"])),
        ("b.org", Kind::A, HostsFound::Pass),
        ("y.a.org", Kind::A, HostsFound::Fail),
        ("y.x.a.org", Kind::A, HostsFound::Pass),
        ("1.2.0.192.in-addr.arpa", Kind::PTR, HostsFound::Pass),
    ] {
        assert_eq!(hosts.find(&question(of, kind)), expected, "{of} {kind}");
    }
}

#[test]
fn a_file_of_hosts_is_read_where_there_are_no_lines() {
    for (text, expected) in [
        ("hosts", Some("/etc/hosts")),
        ("hosts {\n fallthrough\n }", Some("/etc/hosts")),
        ("hosts {\n 192.0.2.1 a\n }", None),
        ("hosts /my/hosts {\n 192.0.2.1 a\n }", Some("/my/hosts")),
    ] {
        let (server, notices) = server(text);
        assert_eq!(server.hosts.unwrap().file.as_deref(), expected, "{text}");
        assert_eq!(
            notices.len(),
            usize::from(expected.is_some()),
            "{notices:?}"
        );
    }
}

#[test]
fn the_first_policy_that_matches_counts_and_all_rules_have_to_allow() {
    let (server, _) = server(
        "acl a.org {
           allow net 10.0.1.0/24
           block type A AAAA net 10.0.0.0/8
           filter type TXT
         }
         acl {
           drop net 2001:db8::/32 192.0.2.66
         }",
    );
    for (of, kind, client, expected) in [
        ("x.a.org", Kind::A, "10.0.1.1", Access::Allow),
        ("x.a.org", Kind::A, "10.0.2.1", Access::Block),
        ("x.a.org", Kind::MX, "10.0.2.1", Access::Allow),
        ("x.a.org", Kind::TXT, "192.0.2.1", Access::Filter),
        ("b.org", Kind::A, "10.0.2.1", Access::Allow),
        ("b.org", Kind::A, "192.0.2.66", Access::Drop),
        ("b.org", Kind::A, "2001:db8::1", Access::Drop),
    ] {
        let client = client.parse().unwrap();
        assert_eq!(
            server.acl.access(&question(of, kind), client),
            expected,
            "{of} {client}"
        );
    }
}
