//! Which addresses and ports Services get.

use super::*;

fn all(ranges: &[&str]) -> ServiceAddresses {
    let ranges: Vec<IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    ServiceAddresses::new(&ranges, 30000..=30031, std::iter::empty())
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": spec})
}

/// Admits and keeps.
fn admit(of: &ServiceAddresses, spec: Value, old: Option<&Value>) -> Result<Value, String> {
    let mut new = service(spec);
    let reservation = of.admit(&mut new, old).map_err(|error| error.message)?;
    reservation.keep();
    Ok(new)
}

#[test]
fn services_get_addresses_of_their_families() {
    let two = all(&["10.96.0.0/12", "fd00:10:96::/112"]);
    let single = admit(&two, json!({"ports": []}), None).unwrap();
    assert_eq!(single["spec"]["clusterIP"], "10.96.1.1");
    assert_eq!(single["spec"]["clusterIPs"], json!(["10.96.1.1"]));
    assert_eq!(single["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(single["spec"]["ipFamilyPolicy"], "SingleStack");
    let dual = admit(&two, json!({"ipFamilyPolicy": "RequireDualStack"}), None).unwrap();
    assert_eq!(
        dual["spec"]["clusterIPs"],
        json!(["10.96.1.2", "fd00:10:96::101"])
    );
    let six = admit(&two, json!({"ipFamilies": ["IPv6"]}), None).unwrap();
    assert_eq!(six["spec"]["clusterIP"], "fd00:10:96::102");
    let one = all(&["10.96.0.0/12"]);
    let prefer = admit(&one, json!({"ipFamilyPolicy": "PreferDualStack"}), None).unwrap();
    assert_eq!(prefer["spec"]["ipFamilies"], json!(["IPv4"]));
    let refused = admit(&one, json!({"ipFamilyPolicy": "RequireDualStack"}), None).unwrap_err();
    assert!(
        refused.contains("this cluster is not configured for dual-stack services"),
        "{refused}"
    );
}

#[test]
fn chosen_addresses_are_checked() {
    let of = all(&["10.96.0.0/24"]);
    assert_eq!(of.first().unwrap().to_string(), "10.96.0.1");
    let dns = admit(&of, json!({"clusterIP": "10.96.0.10"}), None).unwrap();
    assert_eq!(dns["spec"]["clusterIPs"], json!(["10.96.0.10"]));
    for (address, why) in [
        ("10.96.0.10", "provided IP is already allocated"),
        ("10.97.0.1", "The range of valid IPs is 10.96.0.0/24"),
        ("10.96.0.255", "not in the valid range"),
        ("10.96.0.0", "not in the valid range"),
        ("x", "must be a valid IP address"),
    ] {
        let refused = admit(&of, json!({"clusterIP": address}), None).unwrap_err();
        assert!(refused.contains(why), "{address}: {refused}");
    }
}

#[test]
fn what_is_given_back_can_be_had_again() {
    let of = all(&["10.96.0.0/24"]);
    let mut tried = service(json!({"clusterIP": "10.96.0.9"}));
    drop(of.admit(&mut tried, None).unwrap());
    let kept = admit(&of, json!({"clusterIP": "10.96.0.9"}), None).unwrap();
    assert!(admit(&of, json!({"clusterIP": "10.96.0.9"}), None).is_err());
    of.removed(&kept);
    assert!(admit(&of, json!({"clusterIP": "10.96.0.9"}), None).is_ok());
}

#[test]
fn updates_keep_what_they_do_not_name() {
    let of = all(&["10.96.0.0/24"]);
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let old = admit(&of, json!({"type": "NodePort", "ports": ports}), None).unwrap();
    let port = old["spec"]["ports"][0]["nodePort"].clone();
    assert!(
        port.as_u64()
            .is_some_and(|port| (30000..=30031).contains(&port))
    );
    let new = admit(&of, json!({"type": "NodePort", "ports": ports}), Some(&old)).unwrap();
    assert_eq!(new["spec"], old["spec"]);
    let refused = admit(
        &of,
        json!({"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}),
        Some(&old),
    );
    assert!(refused.unwrap_err().contains("may not change once set"));
    let plain = admit(
        &of,
        json!({"type": "ClusterIP", "ports": ports}),
        Some(&old),
    )
    .unwrap();
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    let again = json!([{"port": 1, "nodePort": port}]);
    assert!(admit(&of, json!({"type": "NodePort", "ports": again}), None).is_ok());
    let name = admit(
        &of,
        json!({"type": "ExternalName", "externalName": "x"}),
        Some(&plain),
    )
    .unwrap();
    assert_eq!(name["spec"].get("clusterIP"), None);
}

#[test]
fn headless_services_have_none() {
    let of = all(&["10.96.0.0/24"]);
    let headless = admit(&of, json!({"clusterIP": "None"}), None).unwrap();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(headless["spec"]["ipFamilies"], json!(["IPv4"]));
}

#[test]
fn a_restart_knows_what_is_taken() {
    let had = service(json!({"clusterIPs": ["10.96.0.5"], "ports": [{"nodePort": 30007}]}));
    let range = ["10.96.0.0/24".parse().unwrap()];
    let of = ServiceAddresses::new(&range, 30000..=30031, std::iter::once(had));
    assert!(admit(&of, json!({"clusterIP": "10.96.0.5"}), None).is_err());
    let ports = json!([{"port": 1, "nodePort": 30007}]);
    assert!(admit(&of, json!({"type": "NodePort", "ports": ports}), None).is_err());
}
