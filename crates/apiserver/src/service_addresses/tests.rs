//! Which addresses and ports Services get, and what changes of type and family do to them.

use std::cell::RefCell;

use super::*;

/// Pools, and the IPAddresses that there would be.
struct World {
    of: ServiceAddresses,
    ranges: Vec<IpNet>,
    taken: RefCell<BTreeSet<IpAddr>>,
}

impl World {
    fn new(ranges: &[&str]) -> Self {
        let ranges: Vec<IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        Self {
            of: ServiceAddresses::new(&ranges, 30000..=30031, std::iter::empty()),
            ranges,
            taken: RefCell::default(),
        }
    }

    fn try_out<'a>(
        &'a self,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reservation<'a>, String> {
        let is_taken = |address: IpAddr| self.taken.borrow().contains(&address);
        let view = View {
            ranges: self.ranges.clone(),
            is_taken: &is_taken,
        };
        let admitted = self.of.admit(&view, new, old);
        admitted.map_err(|error| error.message)
    }

    /// Admits and keeps; the spec.
    fn admit(&self, spec: Value, old: Option<&Value>) -> Result<Value, String> {
        let mut new = service(spec);
        let old = old.map(|spec| service(spec.clone()));
        let reservation = self.try_out(&mut new, old.as_ref())?;
        let mut taken = self.taken.borrow_mut();
        taken.extend(reservation.new_addresses());
        taken.retain(|address| !reservation.left_addresses().contains(address));
        reservation.keep();
        Ok(new["spec"].take())
    }

    fn made(&self, spec: Value) -> Value {
        self.admit(spec, None).unwrap()
    }

    fn refused(&self, spec: Value, old: Option<&Value>, expected: &str) {
        let refused = self.admit(spec.clone(), old).unwrap_err();
        assert!(refused.contains(expected), "{spec}: {refused}");
    }
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": spec})
}

/// `spec` with these fields instead.
fn but(spec: &Value, changes: Value) -> Value {
    let mut changed = spec.clone();
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            spec::remove(&mut changed, field);
        } else {
            changed[field] = value.clone();
        }
    }
    changed
}

const DUAL: [&str; 2] = ["10.96.0.0/12", "fd00:10:96::/112"];

#[test]
fn services_get_addresses_of_their_families() {
    let two = World::new(&DUAL);
    let single = two.made(json!({"ports": []}));
    assert_eq!(single["clusterIP"], "10.96.1.1");
    assert_eq!(single["clusterIPs"], json!(["10.96.1.1"]));
    assert_eq!(single["ipFamilies"], json!(["IPv4"]));
    assert_eq!(single["ipFamilyPolicy"], "SingleStack");
    let dual = two.made(json!({"ipFamilyPolicy": "RequireDualStack"}));
    assert_eq!(dual["clusterIPs"], json!(["10.96.1.2", "fd00:10:96::101"]));
    let six = two.made(json!({"ipFamilies": ["IPv6"]}));
    assert_eq!(six["clusterIP"], "fd00:10:96::102");
    let one = World::new(&["10.96.0.0/12"]);
    let prefer = one.made(json!({"ipFamilyPolicy": "PreferDualStack"}));
    assert_eq!(prefer["ipFamilies"], json!(["IPv4"]));
    one.refused(
        json!({"ipFamilyPolicy": "RequireDualStack"}),
        None,
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
    );
    one.refused(
        json!({"clusterIP": "fd00::1"}),
        None,
        "IPv6 is not configured on this cluster",
    );
}

#[test]
fn chosen_addresses_are_checked() {
    let of = World::new(&["10.96.0.0/24"]);
    assert_eq!(of.of.first().unwrap().to_string(), "10.96.0.1");
    let dns = of.made(json!({"clusterIP": "10.96.0.10"}));
    assert_eq!(dns["clusterIPs"], json!(["10.96.0.10"]));
    for (address, why) in [
        (
            "10.96.0.10",
            "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated",
        ),
        (
            "10.97.0.1",
            "the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/24",
        ),
        ("10.96.0.255", "not in the valid range"),
        ("10.96.0.0", "not in the valid range"),
        ("x", "must be a valid IP address"),
    ] {
        of.refused(json!({"clusterIP": address}), None, why);
    }
}

#[test]
fn the_low_band_is_handed_out_last_and_further_ranges_after_it() {
    let of = World::new(&["10.0.0.0/27", "10.9.0.0/30"]);
    let got: Vec<String> = std::iter::from_fn(|| of.admit(json!({}), None).ok())
        .map(|spec| spec["clusterIP"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(got.len(), 30 + 2);
    assert_eq!((&*got[0], &*got[13]), ("10.0.0.17", "10.0.0.30"));
    assert_eq!((&*got[14], &*got[29]), ("10.0.0.1", "10.0.0.16"));
    assert_eq!(got[30..], ["10.9.0.1", "10.9.0.2"]);
    of.refused(
        json!({}),
        None,
        "failed to allocate a serviceIP: range is full",
    );
}

#[test]
fn what_is_given_back_can_be_had_again() {
    let of = World::new(&["10.96.0.0/24"]);
    let chosen = json!({"clusterIP": "10.96.0.9"});
    let mut tried = service(chosen.clone());
    drop(of.try_out(&mut tried, None).unwrap());
    let reservation = of.try_out(&mut service(chosen.clone()), None).unwrap();
    of.refused(chosen.clone(), None, "provided IP is already allocated");
    drop(reservation);
    of.made(chosen);
}

#[test]
fn updates_keep_what_they_do_not_name() {
    let of = World::new(&["10.96.0.0/24"]);
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let old = of.made(json!({"type": "NodePort", "ports": ports}));
    assert_eq!(old["ports"][0]["nodePort"], 30016);
    let new = of.admit(json!({"type": "NodePort", "ports": ports}), Some(&old));
    assert_eq!(new.unwrap(), old);
    let moved = json!([{"port": 8080, "protocol": "TCP"}]);
    let new = of
        .admit(but(&old, json!({"ports": moved})), Some(&old))
        .unwrap();
    assert_eq!(
        new["ports"][0]["nodePort"], 30016,
        "a port is the same by its name"
    );
}

#[test]
fn a_new_type_loses_what_it_has_no_use_for() {
    let of = World::new(&["10.96.0.0/24"]);
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let balanced = of.made(json!({
        "type": "LoadBalancer", "ports": ports, "externalTrafficPolicy": "Local",
        "allocateLoadBalancerNodePorts": true, "loadBalancerClass": "a/b",
    }));
    assert_eq!(balanced["healthCheckNodePort"], 30017);
    let plain = of
        .admit(
            but(&balanced, json!({"type": "ClusterIP"})),
            Some(&balanced),
        )
        .unwrap();
    assert_eq!(plain["clusterIP"], balanced["clusterIP"]);
    for gone in [
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
        "loadBalancerClass",
    ] {
        assert_eq!(plain.get(gone), None, "{gone}");
    }
    assert_eq!(plain["ports"][0].get("nodePort"), None);
    // Both ports are free again.
    let again = json!([{"port": 1, "nodePort": 30016}, {"port": 2, "nodePort": 30017}]);
    of.made(json!({"type": "NodePort", "ports": again}));
    let named = but(&plain, json!({"type": "ExternalName", "externalName": "x"}));
    let named = of.admit(named, Some(&plain)).unwrap();
    for gone in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(named.get(gone), None, "{gone}");
    }
    assert!(
        of.taken.borrow().len() == 1,
        "only the other Service has an address"
    );
    let back = of
        .admit(but(&named, json!({"type": "ClusterIP"})), Some(&named))
        .unwrap();
    assert!(back["clusterIP"].is_string());
}

#[test]
fn a_second_family_comes_and_goes() {
    let of = World::new(&DUAL);
    let single = of.made(json!({}));
    let dual = of
        .admit(
            but(&single, json!({"ipFamilyPolicy": "PreferDualStack"})),
            Some(&single),
        )
        .unwrap();
    assert_eq!(dual["clusterIPs"][0], single["clusterIPs"][0]);
    assert_eq!(dual["ipFamilies"], json!(["IPv4", "IPv6"]));
    let second: IpAddr = dual["clusterIPs"][1].as_str().unwrap().parse().unwrap();
    assert!(of.taken.borrow().contains(&second));
    of.refused(
        but(&dual, json!({"clusterIPs": [dual["clusterIP"]]})),
        Some(&dual),
        "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary cluster IP",
    );
    let narrowed = of
        .admit(
            but(&dual, json!({"ipFamilyPolicy": "SingleStack"})),
            Some(&dual),
        )
        .unwrap();
    assert_eq!(narrowed["clusterIPs"], single["clusterIPs"]);
    assert_eq!(narrowed["ipFamilies"], json!(["IPv4"]));
    assert!(!of.taken.borrow().contains(&second));
    of.refused(
        json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}),
        None,
        "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
    );
}

#[test]
fn a_service_that_prefers_two_families_is_left_as_it_was() {
    let one = World::new(&["10.96.0.0/12"]);
    let prefers = one.made(json!({"ipFamilyPolicy": "PreferDualStack"}));
    let two = World::new(&DUAL);
    let same = two.admit(prefers.clone(), Some(&prefers)).unwrap();
    assert_eq!(same, prefers);
}

#[test]
fn headless_services_have_none() {
    let of = World::new(&["10.96.0.0/24"]);
    let selected = of.made(json!({"clusterIP": "None", "selector": {"a": "b"}}));
    assert_eq!(selected["clusterIPs"], json!(["None"]));
    assert_eq!(selected["ipFamilies"], json!(["IPv4"]));
    // Whoever writes the endpoints may write them of both families.
    let apart = of.made(json!({"clusterIP": "None"}));
    assert_eq!(apart["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(apart["ipFamilyPolicy"], "RequireDualStack");
}

#[test]
fn node_ports_are_one_for_each_number() {
    let of = World::new(&["10.96.0.0/24"]);
    let port = |name: &str, number: u16, protocol: &str, node: u16| json!({"name": name, "port": number, "protocol": protocol, "nodePort": node});
    let dns = json!([
        port("u", 53, "UDP", 0),
        port("t", 53, "TCP", 0),
        port("m", 9153, "TCP", 0)
    ]);
    let dns = of.made(json!({"type": "NodePort", "ports": dns}));
    let nodes = [0, 1, 2].map(|at| dns["ports"][at]["nodePort"].as_u64().unwrap());
    assert_eq!(
        nodes,
        [30016, 30016, 30017],
        "the same port in two protocols shares one"
    );
    let ports = |ports: Value| json!({"type": "NodePort", "ports": ports});
    of.refused(
        ports(json!([port("a", 1, "TCP", 30016)])),
        None,
        "spec.ports[0].nodePort: Invalid value: 30016: provided port is already allocated",
    );
    of.refused(
        ports(json!([port("a", 1, "TCP", 80)])),
        None,
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30031",
    );
    let later = of.made(ports(json!([
        port("a", 1, "TCP", 0),
        port("b", 1, "UDP", 30005)
    ])));
    assert_eq!(
        later["ports"][0]["nodePort"], 30005,
        "what one asks for holds for the other"
    );
    let none = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [port("a", 1, "TCP", 0)]});
    assert_eq!(of.made(none)["ports"][0]["nodePort"], 0);
}

#[test]
fn load_balancers_that_stay_local_have_a_port_for_their_health() {
    let of = World::new(&["10.96.0.0/24"]);
    let spec = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30003,
        "ports": [{"port": 80}],
    });
    let local = of.made(spec.clone());
    assert_eq!(local["healthCheckNodePort"], 30003);
    of.refused(
        spec,
        None,
        "failed to allocate requested HealthCheck NodePort 30003: provided port is already allocated",
    );
    let kept = of
        .admit(
            but(&local, json!({"healthCheckNodePort": null})),
            Some(&local),
        )
        .unwrap();
    assert_eq!(kept, local);
    of.refused(
        but(&local, json!({"healthCheckNodePort": 30004})),
        Some(&local),
        "spec.healthCheckNodePort: Invalid value: 30004: field is immutable",
    );
    let cluster = of
        .admit(
            but(&local, json!({"externalTrafficPolicy": "Cluster"})),
            Some(&local),
        )
        .unwrap();
    assert_eq!(cluster.get("healthCheckNodePort"), None);
}

#[test]
fn a_restart_knows_which_ports_are_taken() {
    let had = service(json!({"clusterIPs": ["10.96.0.5"], "ports": [{"nodePort": 30007}]}));
    let ranges: Vec<IpNet> = vec!["10.96.0.0/24".parse().unwrap()];
    let of = World {
        of: ServiceAddresses::new(&ranges, 30000..=30031, std::iter::once(had)),
        ranges,
        taken: RefCell::default(),
    };
    let ports = json!([{"port": 1, "nodePort": 30007}]);
    of.refused(
        json!({"type": "NodePort", "ports": ports}),
        None,
        "provided port is already allocated",
    );
}
