//! What the EndpointSlices of a Service say.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sealane_testkit::history::{Change, Deed, version_of};
use sealane_testkit::{Cluster, LATER, eventually};
use serde_json::Value;

use crate::{PODS, SLICES};

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of its pod.
    pub pod: String,
    /// Its pod.
    pub uid: String,
    /// Where it is.
    pub ip: IpAddr,
    /// New requests go there.
    pub ready: bool,
    /// It answers, ready or on its way out.
    pub serving: bool,
    /// It is on its way out.
    pub terminating: bool,
}

impl Endpoint {
    fn of(value: &Value) -> Self {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = &value["conditions"];
        Self {
            pod: word(&value["targetRef"]["name"]),
            uid: word(&value["targetRef"]["uid"]),
            ip: word(&value["addresses"][0]).parse().unwrap(),
            ready: conditions["ready"] == true,
            serving: conditions["serving"] == true,
            terminating: conditions["terminating"] == true,
        }
    }
}

/// All slices of a Service at one version.
#[derive(Debug, Default)]
pub struct Listing(BTreeMap<String, Vec<Endpoint>>);

impl Listing {
    /// Takes in a change of a slice; false when it is none of this Service.
    pub fn take(&mut self, change: &Change, service: &str) -> bool {
        let metadata = &change.object["metadata"];
        if metadata["labels"]["kubernetes.io/service-name"] != service {
            return false;
        }
        let name = metadata["name"].as_str().unwrap().to_owned();
        if change.deed == Deed::Deleted {
            self.0.remove(&name);
            return true;
        }
        let endpoints = change.object["endpoints"].as_array();
        let endpoints = endpoints.into_iter().flatten().map(Endpoint::of).collect();
        self.0.insert(name, endpoints);
        true
    }

    /// Every endpoint.
    pub fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.values().flatten()
    }
}

/// Waits until the slices of a Service name its pods as they are; the version of the newest slice.
#[track_caller]
pub fn wait_for_rest(cluster: &Cluster, service: &str) -> u64 {
    eventually(LATER, "slices and pods agree", || {
        let query = format!("{SLICES}?labelSelector=kubernetes.io/service-name%3D{service}");
        let slices = cluster.api().get(&query)?;
        let pods = cluster
            .api()
            .get(&format!("{PODS}?labelSelector=app%3D{service}"))?;
        let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
        let mut listed: Vec<String> = items(&slices)
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
            .map(|endpoint| Endpoint::of(&endpoint))
            .filter(|endpoint| endpoint.ready)
            .map(|endpoint| endpoint.pod)
            .collect();
        let mut there: Vec<String> = items(&pods)
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        listed.sort();
        there.sort();
        let newest = items(&slices).iter().map(version_of).max();
        if listed == there {
            Ok(newest.unwrap_or(0))
        } else {
            Err(format!("listed {listed:?}, there {there:?}"))
        }
    })
}

/// The version of the newest of the pods behind a Service.
#[track_caller]
pub fn newest(cluster: &Cluster, service: &str) -> u64 {
    let query = format!("{PODS}?labelSelector=app%3D{service}");
    let pods = cluster.api().get(&query).unwrap();
    let items = pods["items"].as_array().unwrap();
    items.iter().map(version_of).max().unwrap()
}
