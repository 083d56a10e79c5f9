//! What a pod's link says about itself: `ip link` shows it as the alias of the near end.
//!
//! ```text
//! sealane/1 if=eth0 ip=10.244.1.5/24,fd00:10:244:1::5/64 net=sealane id=3f2a… pod=default/web-1/UID
//! sealane/1 if=eth0 ip=10.244.1.6/24 net=sealane id=9c41… pod=default/web-2/UID via=routed
//! ```
//!
//! It is also what tells how the link is attached, since that must be known of a
//! link that is not as it should be.

use sealane_net::Attachment;
use sealane_objects::ObjectName;

use crate::leases::{Lease, PodRef};

/// The form's version, and the sign that a label is ours.
const SIGN: &str = "sealane/1";
/// The kernel takes 255 bytes (`IFALIASZ`).
const LONGEST: usize = 255;

/// The last word of a link that is not attached to the bridge.
const ROUTED: &str = " via=routed";

/// The label of a lease's link; `None` when even the shortest does not fit.
///
/// A pod whose names do not fit is left out: its link is then the only witness of the lease.
pub fn label(lease: &Lease, attachment: Attachment) -> Option<String> {
    let ips: Vec<String> = lease.addresses.iter().map(ToString::to_string).collect();
    // Only one that was asked for: others follow from the address.
    let mac = lease.mac.map(|mac| format!(" mac={mac}"));
    let bare = format!(
        "{SIGN} if={} ip={} net={} id={}{}",
        lease.ifname,
        ips.join(","),
        lease.network,
        lease.container_id,
        mac.unwrap_or_default()
    );
    let whole = lease.pod.as_ref().map(|pod| {
        format!(
            "{bare} pod={}/{}/{}",
            pod.name.namespace, pod.name.name, pod.uid
        )
    });
    let fits = |text: &String| text.len() <= LONGEST && !text.contains(char::is_control);
    let said = whole.into_iter().chain([bare]);
    match attachment {
        Attachment::Bridge => said.into_iter().find(fits),
        // The least that has to be said.
        Attachment::Routed => said
            .chain([SIGN.to_owned()])
            .map(|text| text + ROUTED)
            .find(fits),
    }
}

/// How a link with this label, or none, is attached.
pub fn attachment(alias: Option<&str>) -> Attachment {
    match alias {
        Some(alias) if is_ours(alias) && alias.ends_with(ROUTED) => Attachment::Routed,
        _ => Attachment::Bridge,
    }
}

fn is_ours(alias: &str) -> bool {
    alias.split(' ').next() == Some(SIGN)
}

/// The lease that a label tells of; `None` when it is not one of ours.
pub fn labelled(alias: &str) -> Option<Lease> {
    let mut words = alias.split(' ');
    (words.next() == Some(SIGN)).then_some(())?;
    let mut take = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
    let ifname = take("if")?.to_owned();
    let addresses = take("ip")?
        .split(',')
        .map(|ip| ip.parse().ok())
        .collect::<Option<Vec<_>>>()?;
    let network = take("net")?.to_owned();
    let container_id = take("id")?.to_owned();
    let further = |key: &str| {
        let mut words = words.clone();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let mac = further("mac").and_then(|mac| mac.parse().ok());
    let pod = further("pod").and_then(|pod| {
        let mut parts = pod.splitn(3, '/');
        Some(PodRef {
            name: ObjectName::new(parts.next()?, parts.next()?),
            uid: parts.next()?.to_owned(),
        })
    });
    Some(Lease {
        container_id,
        ifname,
        network,
        pod,
        addresses,
        mac,
        host_ports: vec![],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(id: &str, pod: Option<&str>) -> Lease {
        Lease {
            container_id: id.into(),
            ifname: "eth0".into(),
            network: "sealane".into(),
            pod: pod.map(|name| PodRef {
                name: ObjectName::new("default", name),
                uid: "0b7d".into(),
            }),
            addresses: vec![
                "10.244.1.5/24".parse().unwrap(),
                "fd00:10:244:1::5/64".parse().unwrap(),
            ],
            mac: None,
            host_ports: vec![],
        }
    }

    #[test]
    fn reads_as_people_would_want_it() {
        assert_eq!(
            label(&lease("3f2a", Some("web-1")), Attachment::Bridge).unwrap(),
            "sealane/1 if=eth0 ip=10.244.1.5/24,fd00:10:244:1::5/64 net=sealane id=3f2a pod=default/web-1/0b7d"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_or_not_said_at_all() {
        let long = "p".repeat(200);
        for attachment in [Attachment::Bridge, Attachment::Routed] {
            let text = label(&lease("3f2a", Some(&long)), attachment).unwrap();
            assert_eq!(labelled(&text).unwrap(), lease("3f2a", None));
            assert_eq!(super::attachment(Some(&text)), attachment);
        }
        assert_eq!(label(&lease(&long, None), Attachment::Bridge), None);
        let least = label(&lease(&long, None), Attachment::Routed).unwrap();
        assert_eq!(least, "sealane/1 via=routed");
        assert_eq!(labelled(&least), None);
        assert_eq!(super::attachment(Some(&least)), Attachment::Routed);
    }

    #[test]
    fn foreign_aliases_are_no_labels() {
        for alias in [
            "",
            "uplink to rack 3",
            "uplink via=routed",
            "sealane/1",
            "sealane/2 if=eth0 ip=10.0.0.1/24 net=a id=b",
            "sealane/1 if=eth0 ip=10.0.0.1 net=a id=b",
            "sealane/1 ip=10.0.0.1/24 if=eth0 net=a id=b",
        ] {
            assert_eq!(labelled(alias), None, "{alias}");
            assert_eq!(attachment(Some(alias)), Attachment::Bridge, "{alias}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(mac in proptest::option::of(1_u8..), id in "[a-z0-9][a-zA-Z0-9_.-]{0,63}", pod in proptest::option::of("[a-z0-9][a-z0-9-]{0,40}")) {
            let mac = mac.map(|last| sealane_net::Mac([2, 0, 0, 0, 0, last]));
            let lease = Lease { mac, ..lease(&id, pod.as_deref()) };
            for attachment in [Attachment::Bridge, Attachment::Routed] {
                let text = label(&lease, attachment).unwrap();
                prop_assert_eq!(labelled(&text).unwrap(), lease.clone());
                prop_assert_eq!(super::attachment(Some(&text)), attachment);
            }
        }

        #[test]
        fn never_panics_on_what_others_write(alias in "\\PC{0,80}") {
            let _ = labelled(&alias);
            let _ = labelled(&format!("{SIGN} {alias}"));
        }
    }
}
