//! Names.

use std::{collections::HashMap, net::IpAddr};

use proptest::prelude::*;
use sealane_message::{Name, NameFault, Spelling};

use crate::name;

#[test]
fn a_name_is_read_in_any_case_and_written_in_lower_case() {
    for (text, shown) in [
        ("Kubernetes.Default.SVC", "kubernetes.default.svc."),
        ("a.", "a."),
        (".", "."),
        (r"a\.b.c", r"a\.b.c."),
        (r"a\\b", r"a\\b."),
        (r"\000\032x\255", r"\000\032x\255."),
        ("_http._tcp.web", "_http._tcp.web."),
    ] {
        assert_eq!(name(text).to_string(), shown, "{text}");
        assert_eq!(name(shown), name(text), "{text}");
    }
    assert_eq!(name("A.b").without_dot(), "a.b");
    assert_eq!(name(".").without_dot(), ".");
}

#[test]
fn what_is_no_name_is_refused_with_its_reason() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".");
    for (text, reason) in [
        ("", r#"name "" has an empty label"#),
        ("a..b", r#"name "a..b" has an empty label"#),
        (".a", r#"name ".a" has an empty label"#),
        (
            r"a\25",
            r#"name "a\\25" has a backslash that escapes nothing: write \. or three digits up to 255"#,
        ),
        (
            r"a\256",
            r#"name "a\\256" has a backslash that escapes nothing: write \. or three digits up to 255"#,
        ),
        (
            r"a\",
            r#"name "a\\" has a backslash that escapes nothing: write \. or three digits up to 255"#,
        ),
        (&long_label, "longer than 63 bytes"),
        (&long_name, "longer than 255 bytes"),
    ] {
        let error = text.parse::<Name>().expect_err(text).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn the_longest_name_is_255_bytes() {
    let labels = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ];
    let longest = Name::from_labels(&labels).expect("a name");
    assert_eq!(longest.len(), 255);
    assert_eq!(Name::from_wire(longest.as_wire()), Ok(longest));
    assert_eq!(longest.child("e"), Err(NameFault::LongName));
    let mut wire = longest.as_wire().to_vec();
    wire.truncate(254);
    assert_eq!(Name::from_wire(&wire), Err(NameFault::Short));
    wire.extend_from_slice(b"\x01e\0");
    assert_eq!(Name::from_wire(&wire), Err(NameFault::LongName));
}

#[test]
fn parents_and_what_lies_within() {
    let zone = name("cluster.local");
    let service = name("web.default.svc.cluster.local");
    assert!(service.is_within(&zone) && zone.is_within(&zone));
    assert!(service.is_within(&Name::ROOT) && Name::ROOT.is_within(&Name::ROOT));
    assert!(!zone.is_within(&service) && !name("local").is_within(&zone));
    assert!(!name("mycluster.local").is_within(&zone));
    // The label ends in bytes that look like the zone.
    assert!(!name(r"a\007cluster\005local").is_within(&zone));
    let labels: Vec<_> = service.labels_before(&zone).expect("within").collect();
    assert_eq!(labels, [&b"web"[..], b"default", b"svc"]);
    assert_eq!(zone.labels_before(&zone).expect("itself").count(), 0);
    assert_eq!(zone.parent(), Some(name("local")));
    assert_eq!(name("local").parent(), Some(Name::ROOT));
    assert_eq!(Name::ROOT.parent(), None);
    assert_eq!(name("default").child("Web"), Ok(name("web.default")));
    let before = service.labels_before(&zone).expect("within");
    assert_eq!(
        Name::join(before, &name("test")),
        Ok(name("web.default.svc.test"))
    );
}

#[test]
fn a_map_is_asked_for_a_parent_without_making_it() {
    let zones = HashMap::from([(name("cluster.local"), 1), (name("local"), 2)]);
    let asked = name("a.cluster.local");
    let found: Vec<_> = asked
        .suffixes()
        .filter_map(|suffix| zones.get(suffix))
        .collect();
    assert_eq!(found, [&1, &2]);
}

#[test]
fn addresses_have_names() {
    for (address, text) in [
        ("10.96.0.1", "1.0.96.10.in-addr.arpa"),
        (
            "fd00:10:96::a",
            "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa",
        ),
    ] {
        let address: IpAddr = address.parse().expect("an address");
        assert_eq!(Name::reverse(address), name(text));
        assert_eq!(name(text).address(), Some(address));
    }
    for text in [
        "0.96.10.in-addr.arpa",
        "01.0.96.10.in-addr.arpa",
        "256.0.96.10.in-addr.arpa",
        "+1.0.96.10.in-addr.arpa",
        "1.0.96.10.in-addr.arpa.example",
        "f.ip6.arpa",
        "in-addr.arpa",
        ".",
    ] {
        assert_eq!(name(text).address(), None, "{text}");
    }
}

#[test]
fn a_pointer_leads_backwards_or_nowhere() {
    let message = b"\x03www\x07example\0\x01a\xc0\x04\xc0\x0d\xc0\x11";
    assert_eq!(Name::from_message(message, 13), Ok((name("a.example"), 17)));
    assert_eq!(Name::from_message(message, 17), Ok((name("a.example"), 19)));
    // One that leads forward, one to itself, two that would go in circles, and one to a byte before it, from which
    // the pointer itself would be a label, and what follows it another.
    for (bytes, at) in [
        (&b"\xc0\x02\0"[..], 0),
        (b"\xc0\x00", 0),
        (b"\x01a\xc0\x00", 0),
        (b"\xc0\x02\xc0\x00", 2),
        (b"\x01\xc0\x00\0", 1),
    ] {
        assert_eq!(
            Name::from_message(bytes, at),
            Err(NameFault::Pointer),
            "{bytes:?}"
        );
    }
    assert_eq!(Name::from_message(b"\xc0", 0), Err(NameFault::Short));
    assert_eq!(Name::from_message(b"\x40a\0", 0), Err(NameFault::LabelType));
}

proptest! {
    #[test]
    fn wire_and_text_and_back(labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6)) {
        let made = Name::from_labels(&labels).expect("short enough");
        prop_assert_eq!(Name::from_wire(made.as_wire()), Ok(made));
        prop_assert_eq!(made.to_string().parse::<Name>(), Ok(made));
        prop_assert_eq!(made.labels().count(), labels.len());
        prop_assert_eq!(made.suffixes().count(), labels.len() + 1);
    }

    #[test]
    fn spelling_gives_back_what_it_took(label in "[a-zA-Z0-9-]{1,63}", bits in any::<[u64; 4]>()) {
        let made = name(&label);
        let mut wire = vec![label.len() as u8];
        wire.extend_from_slice(label.as_bytes());
        wire.push(0);
        let mut spelled = made.as_wire().to_vec();
        Spelling::of(&wire).apply(&mut spelled);
        prop_assert_eq!(&spelled, &wire);
        let chosen = Spelling::chosen(&made, bits);
        chosen.apply(&mut spelled);
        prop_assert_eq!(Name::from_wire(&spelled), Ok(made));
        let mut other = made.as_wire().to_vec();
        chosen.apply(&mut other);
        prop_assert_eq!(Spelling::of(&other), chosen);
    }
}
