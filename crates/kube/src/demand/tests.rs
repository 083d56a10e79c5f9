use serde_json::{Value, json};

use super::*;

fn placement(spec: Value) -> Placement {
    let mut spec = spec;
    spec["containers"] = json!([]);
    super::placement(&serde_json::from_value(spec).unwrap())
}

#[test]
fn one_term_must_hold_with_all_its_requirements() {
    let allows = |terms: Value| {
        let required = json!({"nodeSelectorTerms": terms});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        let labels = BTreeMap::from([("zone".into(), "a".into()), ("cores".into(), "8".into())]);
        placement(json!({"affinity": {"nodeAffinity": affinity}})).allows("node-1", &labels)
    };
    let label = |key: &str, operator: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
    assert!(allows(label("zone", "In", json!(["a", "b"]))));
    assert!(!allows(label("zone", "NotIn", json!(["a"]))));
    assert!(allows(label("disk", "DoesNotExist", json!(null))));
    assert!(!allows(label("disk", "Exists", json!(null))));
    assert!(allows(label("cores", "Gt", json!(["4"]))));
    assert!(!allows(label("cores", "Lt", json!(["4"]))));
    let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
    assert!(allows(json!([named("node-1")])));
    assert!(!allows(json!([named("node-2")])));
    assert!(allows(json!([named("node-2"), named("node-1")])));
    assert!(!allows(json!([{}])));
}

#[test]
fn a_taint_is_borne_by_key_value_and_effect() {
    let taint = Taint {
        key: "dedicated".into(),
        value: "db".into(),
        effect: Effect::NoSchedule,
    };
    let bears = |toleration: Value| {
        let placement = placement(json!({"tolerations": [toleration]}));
        let effects = [Effect::NoSchedule, Effect::NoExecute];
        placement
            .untolerated(std::slice::from_ref(&taint), &effects)
            .is_none()
    };
    assert!(bears(json!({"key": "dedicated", "value": "db"})));
    assert!(bears(json!({"key": "dedicated", "operator": "Exists"})));
    assert!(bears(json!({"operator": "Exists"})));
    assert!(!bears(json!({"key": "dedicated", "value": "web"})));
    assert!(!bears(
        json!({"key": "dedicated", "value": "db", "effect": "NoExecute"})
    ));
    assert!(!bears(json!({"key": "other", "operator": "Exists"})));
}

fn demand_of(spec: Value, labels: &[(&str, &str)]) -> Demand {
    let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    demand(
        &serde_json::from_value(spec).unwrap(),
        "shop",
        &labels.collect(),
    )
}

fn asking(cpu: &str, memory: &str) -> Value {
    json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
}

#[test]
fn requests_count_init_containers_sidecars_overhead_and_the_pod_as_a_whole() {
    let sidecar =
        json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}});
    let cases = [
        (
            json!({"containers": [asking("1", "1Gi"), asking("500m", "1Gi")]}),
            (1500, 2 << 30),
        ),
        (
            json!({"containers": [asking("1", "1Gi")], "initContainers": [asking("2", "1Mi")]}),
            (2000, 1 << 30),
        ),
        (
            json!({"containers": [asking("1", "1Ki")], "initContainers": [sidecar, asking("2", "0")]}),
            (2100, 1024),
        ),
        (
            json!({"containers": [asking("1", "1Ki")], "overhead": {"cpu": "250m", "memory": "1Ki"}}),
            (1250, 2048),
        ),
        (
            json!({"containers": [asking("1", "1Ki")], "resources": {"requests": {"cpu": "3"}}}),
            (3000, 1024),
        ),
        (json!({"containers": [{"name": "c"}]}), (0, 0)),
    ];
    for (spec, (cpu, memory)) in cases {
        let requests = demand_of(spec.clone(), &[]).requests;
        assert_eq!(
            (requests.cpu_millis, requests.memory_bytes),
            (cpu, memory),
            "{spec}"
        );
    }
}

#[test]
fn a_container_that_asks_for_nothing_weighs_a_little_and_one_that_asks_for_zero_nothing() {
    let weight = |container: Value| demand_of(json!({"containers": [container]}), &[]).weight;
    let silent = weight(json!({"name": "c"}));
    assert_eq!((silent.cpu_millis, silent.memory_bytes), (100, 200 << 20));
    let zero = weight(asking("0", "0"));
    assert_eq!((zero.cpu_millis, zero.memory_bytes), (0, 0));
}

#[test]
fn ports_of_the_node_are_those_of_containers_that_stay() {
    let port = |number: u16, ip: Value| json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": number, "hostIP": ip, "protocol": "UDP"}]});
    let demand = demand_of(
        json!({
            "containers": [port(80, json!("0.0.0.0")), {"name": "d", "ports": [{"containerPort": 5}]}],
            "initContainers": [port(81, json!("10.0.0.1"))],
        }),
        &[],
    );
    let all = HostPort {
        ip: None,
        protocol: "UDP".into(),
        port: 80,
    };
    assert_eq!(demand.ports, std::slice::from_ref(&all));
    let one = HostPort {
        ip: "10.0.0.1".parse().ok(),
        ..all.clone()
    };
    let other = HostPort {
        ip: "10.0.0.2".parse().ok(),
        ..all.clone()
    };
    let tcp = HostPort {
        protocol: "TCP".into(),
        ..all.clone()
    };
    assert!(all.conflicts(&one) && one.conflicts(&all) && one.conflicts(&one));
    assert!(!one.conflicts(&other) && !all.conflicts(&tcp));
}

#[test]
fn terms_are_resolved_with_the_pods_own_namespace_and_labels() {
    let term = json!({
        "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["hash", "absent"], "mismatchLabelKeys": ["tenant"],
    });
    let elsewhere = json!({"topologyKey": "zone", "namespaceSelector": {}, "namespaces": ["a"]});
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let demand = demand_of(
        json!({"containers": [], "affinity": {"podAffinity": {required: [term, elsewhere]}},
        "topologySpreadConstraints": [{
            "topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {}, "matchLabelKeys": ["hash"],
        }]}),
        &[("hash", "7"), ("tenant", "t")],
    );
    let [first, second] = demand.near.required.as_slice() else {
        panic!("{demand:?}");
    };
    assert!(first.namespaces.contains("shop") && first.namespace_selector.is_none());
    let labels = |text: &str| -> Labels {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(k, v)| (k.into(), v.into())).collect()
    };
    let selects = |text: &str| first.selector.as_ref().unwrap().matches(&labels(text));
    assert!(selects("app=web,hash=7"));
    assert!(selects("app=web,hash=7,tenant=other"));
    assert!(!selects("app=web,hash=8") && !selects("app=web,hash=7,tenant=t"));
    assert_eq!(second.selector, None);
    assert!(second.namespaces.contains("a") && !second.namespaces.contains("shop"));
    let [spread] = demand.spread.as_slice() else {
        panic!("{demand:?}");
    };
    assert!(spread.hard && spread.honours_affinity && !spread.honours_taints);
    let selector = spread.selector.as_ref().unwrap();
    assert!(selector.matches(&labels("hash=7")) && !selector.matches(&labels("hash=8")));
}
