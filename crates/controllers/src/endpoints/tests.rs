//! Services, their pods, and what is written of them.

use std::time::Instant;

use sealane_kube::Change;
use sealane_objects::ObjectName;
use serde_json::{Value, json};

use super::service::{EndpointsView, Service};
use super::slice::Slice;
use super::*;
use crate::pools::Pools;
use crate::testing::{name, node};

/// The controller in a world that carries out all its requests at once.
struct Story {
    controller: EndpointSlices,
    objects: BTreeMap<(Kind, ObjectName), Value>,
    versions: u64,
    writes: Vec<String>,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            controller: EndpointSlices::new(1),
            objects: BTreeMap::new(),
            versions: 0,
            writes: Vec::new(),
        };
        let mut here = node("n");
        here.labels.insert(ZONE.into(), "zone-a".into());
        story.tell(&Input::Nodes(Change::Reset(vec![(
            name("", "node-1"),
            here,
        )])));
        story.tell(&Input::Pods(Change::Reset(vec![])));
        story.tell(&Input::Workloads(News::Services(Change::Reset(vec![]))));
        story.tell(&Input::Workloads(News::Slices(Change::Reset(vec![]))));
        story.tell(&Input::Workloads(News::Endpoints(Change::Reset(vec![]))));
        story
    }

    fn tell(&mut self, input: &Input) {
        let now = Instant::now();
        let mut actions = Vec::new();
        self.controller.handle(input, now, &mut actions);
        for action in actions {
            self.perform(&action);
            self.tell(&Input::Ended(action, Outcome::Done));
        }
    }

    fn perform(&mut self, action: &Action) {
        match action {
            Action::Create {
                kind, name, object, ..
            } => {
                self.writes.push(format!("create {kind}"));
                self.put(*kind, name.clone(), *object.clone());
            }
            Action::Patch {
                kind, name, patch, ..
            } => {
                self.writes.push(format!("change {kind}"));
                let mut object = self.objects[&(*kind, name.clone())].clone();
                for (field, value) in patch.as_object().unwrap() {
                    if field != "metadata" {
                        object[field] = value.clone();
                    }
                }
                let annotations = patch["metadata"]["annotations"].as_object();
                for (key, value) in annotations.into_iter().flatten() {
                    object["metadata"]["annotations"][key] = value.clone();
                }
                self.put(*kind, name.clone(), object);
            }
            Action::Delete { kind, name, .. } => {
                self.writes.push(format!("delete {kind}"));
                self.remove(*kind, name);
            }
            other => panic!("{other}"),
        }
    }

    fn put(&mut self, kind: Kind, name: ObjectName, mut object: Value) {
        self.versions += 1;
        object["metadata"]["namespace"] = json!(name.namespace);
        object["metadata"]["name"] = json!(name.name);
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("u{}", self.versions));
        }
        self.objects.insert((kind, name.clone()), object.clone());
        let input = match kind {
            Kind::Pod => Input::Pods(Change::Applied(
                name,
                Arc::new(PodView::of(
                    serde_json::from_value(object).unwrap(),
                    &mut Pools::default(),
                )),
            )),
            _ => Input::Workloads(news(kind, object, |object| Change::Applied(name, object))),
        };
        self.tell(&input);
    }

    fn remove(&mut self, kind: Kind, name: &ObjectName) {
        let object = self.objects.remove(&(kind, name.clone())).unwrap();
        let input = match kind {
            Kind::Pod => Input::Pods(Change::Deleted(
                name.clone(),
                Arc::new(PodView::of(
                    serde_json::from_value(object).unwrap(),
                    &mut Pools::default(),
                )),
            )),
            _ => {
                let gone = |object| Change::Deleted(name.clone(), object);
                Input::Workloads(news(kind, object, gone))
            }
        };
        self.tell(&input);
    }

    fn service(&mut self, spec: Value) {
        let service = json!({"metadata": {"labels": {"team": "a"}}, "spec": spec});
        self.put(Kind::Service, name("default", "web"), service);
    }

    fn pod(&mut self, pod: &str, ip: Option<&str>, ready: bool, more: Value) {
        let ips: Vec<_> = ip.iter().map(|ip| json!({"ip": ip})).collect();
        let status = if ready { "True" } else { "False" };
        let mut object = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIPs": ips, "conditions": [{"type": "Ready", "status": status}]},
        });
        for (part, fields) in more.as_object().unwrap() {
            for (field, value) in fields.as_object().unwrap() {
                object[part][field] = value.clone();
            }
        }
        self.put(Kind::Pod, name("default", pod), object);
    }

    fn all(&self, kind: Kind) -> Vec<&Value> {
        let all = self.objects.iter().filter(|((k, _), _)| *k == kind);
        all.map(|(_, object)| object).collect()
    }

    /// Conditions of each address: ready, serving, terminating.
    fn seen(&self) -> Vec<String> {
        let slices = self.all(Kind::EndpointSlice).into_iter();
        let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap());
        let mut seen: Vec<_> = endpoints
            .map(|endpoint| {
                let conditions = ["ready", "serving", "terminating"];
                let conditions = conditions.map(|c| match endpoint["conditions"][c].as_bool() {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "-",
                });
                let address = endpoint["addresses"][0].as_str().unwrap();
                format!("{address} {}", conditions.join(" "))
            })
            .collect();
        seen.sort();
        seen
    }

    fn writes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }
}

fn news(kind: Kind, object: Value, of: impl FnOnce(Arc<()>) -> Change<Arc<()>>) -> News {
    fn turn<T>(change: Change<Arc<()>>, object: T) -> Change<Arc<T>> {
        match change {
            Change::Applied(name, _) => Change::Applied(name, Arc::new(object)),
            Change::Deleted(name, _) => Change::Deleted(name, Arc::new(object)),
            Change::Reset(_) => Change::Reset(vec![]),
        }
    }
    let change = of(Arc::new(()));
    let mut typed = object;
    typed["apiVersion"] = json!(kind.api_version());
    typed["kind"] = json!(kind.to_string());
    let object = serde_json::from_value(typed).unwrap();
    match kind {
        Kind::Service => News::Services(turn(change, Service::of(object))),
        Kind::EndpointSlice => News::Slices(turn(change, Slice::of(object))),
        _ => News::Endpoints(turn(change, EndpointsView::of(object))),
    }
}

fn web() -> Value {
    json!({
        "selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"],
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}],
    })
}

#[test]
fn a_slice_and_endpoints_are_what_kubernetes_would_write() {
    let mut story = Story::new();
    story.service(web());
    story.pod("a", Some("10.0.0.1"), true, json!({}));
    let slices = story.all(Kind::EndpointSlice);
    assert_eq!(slices.len(), 1);
    let slice = slices[0];
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"team": "a", "kubernetes.io/service-name": "web",
               "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(
        slice["ports"],
        json!([{"name": "", "port": 8080, "protocol": "TCP"}])
    );
    let uid = &story.objects[&(Kind::Pod, name("default", "a"))]["metadata"]["uid"];
    assert_eq!(
        slice["endpoints"],
        json!([{
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "node-1", "zone": "zone-a",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": uid},
        }])
    );
    let endpoints = story.all(Kind::Endpoints)[0];
    assert_eq!(
        endpoints["subsets"],
        json!([{
            "addresses": [{"ip": "10.0.0.1", "nodeName": "node-1",
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": uid}}],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }])
    );
}

#[test]
fn a_pod_is_followed_from_birth_to_end() {
    let mut story = Story::new();
    story.service(web());
    assert_eq!(story.writes(), ["create EndpointSlice", "create Endpoints"]);
    story.pod("a", None, false, json!({}));
    assert_eq!(story.seen(), [""; 0]);
    story.pod("a", Some("10.0.0.1"), false, json!({}));
    assert_eq!(story.seen(), ["10.0.0.1 no no no"]);
    story.writes();
    story.pod("a", Some("10.0.0.1"), true, json!({}));
    assert_eq!(story.seen(), ["10.0.0.1 yes yes no"]);
    assert_eq!(story.writes(), ["change EndpointSlice", "change Endpoints"]);
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-11-21T00:00:00Z"}});
    story.pod("a", Some("10.0.0.1"), true, deleting.clone());
    assert_eq!(story.seen(), ["10.0.0.1 no yes yes"]);
    assert_eq!(story.all(Kind::Endpoints)[0]["subsets"], json!([]));
    story.pod("a", Some("10.0.0.1"), false, deleting);
    assert_eq!(story.seen(), ["10.0.0.1 no no yes"]);
    story.remove(Kind::Pod, &name("default", "a"));
    assert_eq!(story.seen(), [""; 0]);
    assert_eq!(story.all(Kind::EndpointSlice).len(), 1);
    story.writes();
    story.remove(Kind::Service, &name("default", "web"));
    assert_eq!(story.writes(), ["delete Endpoints"]);
}

#[test]
fn a_pod_that_has_ended_or_is_of_another_label_is_none() {
    let mut story = Story::new();
    story.service(web());
    story.pod(
        "done",
        Some("10.0.0.1"),
        false,
        json!({"status": {"phase": "Succeeded"}}),
    );
    story.pod(
        "other",
        Some("10.0.0.2"),
        true,
        json!({"metadata": {"labels": {"app": "other"}}}),
    );
    assert_eq!(story.seen(), [""; 0]);
    story.pod("other", Some("10.0.0.2"), true, json!({}));
    assert_eq!(story.seen(), ["10.0.0.2 yes yes no"]);
    story.pod(
        "other",
        Some("10.0.0.2"),
        true,
        json!({"metadata": {"labels": {"app": "other"}}}),
    );
    assert_eq!(story.seen(), [""; 0]);
}

#[test]
fn a_service_that_publishes_pods_that_are_not_ready_does() {
    let mut story = Story::new();
    let mut spec = web();
    spec["publishNotReadyAddresses"] = json!(true);
    story.service(spec);
    story.pod("a", Some("10.0.0.1"), false, json!({}));
    assert_eq!(story.seen(), ["10.0.0.1 yes no no"]);
    assert!(story.all(Kind::Endpoints)[0]["subsets"][0]["addresses"].is_array());
}

#[test]
fn two_families_have_slices_of_their_own() {
    let mut story = Story::new();
    let mut spec = web();
    spec["ipFamilies"] = json!(["IPv4", "IPv6"]);
    story.service(spec);
    let both = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
    story.pod("a", None, true, json!({"status": {"podIPs": both}}));
    assert_eq!(story.seen(), ["10.0.0.1 yes yes no", "fd00::1 yes yes no"]);
    let mut families: Vec<_> = story
        .all(Kind::EndpointSlice)
        .iter()
        .map(|s| s["addressType"].to_string())
        .collect();
    families.sort();
    assert_eq!(families, ["\"IPv4\"", "\"IPv6\""]);
    let addresses = &story.all(Kind::Endpoints)[0]["subsets"][0]["addresses"];
    assert_eq!(addresses.as_array().unwrap().len(), 1);
}

#[test]
fn pods_of_a_headless_service_have_names() {
    let mut story = Story::new();
    let mut spec = web();
    spec["clusterIP"] = json!("None");
    story.service(spec);
    story.pod(
        "a",
        Some("10.0.0.1"),
        true,
        json!({"spec": {"hostname": "web-0", "subdomain": "web"}}),
    );
    let slice = story.all(Kind::EndpointSlice)[0];
    assert_eq!(
        slice["metadata"]["labels"]["service.kubernetes.io/headless"],
        ""
    );
    assert_eq!(slice["endpoints"][0]["hostname"], "web-0");
}

#[test]
fn a_service_without_a_selector_is_left_alone_and_its_endpoints_are_mirrored() {
    let mut story = Story::new();
    let mut spec = web();
    spec["selector"] = json!({});
    story.service(spec.clone());
    assert_eq!(story.writes(), [""; 0]);
    let by_hand = |ip: &str| {
        json!({"subsets": [{"addresses": [{"ip": ip}], "notReadyAddresses": [{"ip": "192.0.2.9"}],
                            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]})
    };
    let place = name("default", "web");
    story.put(Kind::Endpoints, place.clone(), by_hand("192.0.2.1"));
    assert_eq!(story.seen(), ["192.0.2.1 yes - -", "192.0.2.9 no - -"]);
    let labels = &story.all(Kind::EndpointSlice)[0]["metadata"]["labels"];
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    story.put(Kind::Endpoints, place.clone(), by_hand("192.0.2.2"));
    assert_eq!(story.seen(), ["192.0.2.2 yes - -", "192.0.2.9 no - -"]);
    story.remove(Kind::Endpoints, &place);
    assert_eq!(story.seen(), [""; 0]);
    assert_eq!(story.all(Kind::EndpointSlice).len(), 0);
}

#[test]
fn slices_that_somebody_else_writes_are_not_touched() {
    let mut story = Story::new();
    let foreign = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    });
    story.put(Kind::EndpointSlice, name("default", "by-hand"), foreign);
    story.service(web());
    assert_eq!(story.writes(), ["create EndpointSlice", "create Endpoints"]);
    assert_eq!(story.seen(), ["192.0.2.1 - - -"]);
}

/// What the slices say of when the change was that they tell.
fn since(story: &Story) -> Value {
    story.all(Kind::EndpointSlice)[0]["metadata"]["annotations"][LAST_CHANGE].clone()
}

#[test]
fn slices_say_since_when_they_were_out_of_date() {
    let mut story = Story::new();
    let turned = |status: &str, at: &str| {
        json!({"status": {"conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": at},
        ]}})
    };
    let service = json!({"metadata": {"creationTimestamp": "2026-11-21T00:00:01Z"}, "spec": web()});
    story.put(Kind::Service, name("default", "web"), service);
    assert_eq!(since(&story), "2026-11-21T00:00:01Z");
    story.pod(
        "a",
        Some("10.0.0.1"),
        true,
        turned("True", "2026-11-21T00:00:05Z"),
    );
    assert_eq!(since(&story), "2026-11-21T00:00:05Z");
    story.pod(
        "a",
        Some("10.0.0.1"),
        false,
        turned("False", "2026-11-21T00:00:09Z"),
    );
    assert_eq!(since(&story), "2026-11-21T00:00:09Z");
    // That a pod goes has no time.
    story.remove(Kind::Pod, &name("default", "a"));
    assert_eq!(since(&story), Value::Null);
}

#[test]
fn clients_are_led_to_what_is_near() {
    let near = json!({"forZones": [{"name": "zone-a"}]});
    let mut nearer = near.clone();
    nearer["forNodes"] = json!([{"name": "node-1"}]);
    for (asked, expected) in [
        ("PreferClose", &near),
        ("PreferSameZone", &near),
        ("PreferSameNode", &nearer),
    ] {
        let mut story = Story::new();
        let mut spec = web();
        spec["trafficDistribution"] = json!(asked);
        story.service(spec.clone());
        story.pod("a", Some("10.0.0.1"), true, json!({}));
        let hints =
            |story: &Story| story.all(Kind::EndpointSlice)[0]["endpoints"][0]["hints"].clone();
        assert_eq!(hints(&story), *expected, "{asked}");
        story.pod("a", Some("10.0.0.1"), false, json!({}));
        assert_eq!(hints(&story), Value::Null, "{asked}, not ready");
        story.pod("a", Some("10.0.0.1"), true, json!({}));
        story.service(web());
        assert_eq!(hints(&story), Value::Null, "no longer asked for");
    }
}
