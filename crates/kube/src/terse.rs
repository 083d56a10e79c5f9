//! Services and EndpointSlices as lists and watches bring them, read as far as serving them needs.
//!
//! An agent that starts reads all of them before it is in step, and a client of the whole API makes a value of each
//! field first: of who manages which, of the pod behind each endpoint. Here those are skipped where they stand, and an
//! address is parsed where its text is.

mod spec;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use futures::Stream;
use k8s_openapi::api::core::v1::{Service, ServiceSpec, ServiceStatus};
use k8s_openapi::api::discovery::v1::{
    EndpointConditions, EndpointHints, EndpointPort, EndpointSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Api, Client, Resource};
use sealane_objects::{ServiceNet, SliceNet};
use serde::{Deserialize, Deserializer, de};

use crate::services::{AddressTold, Told, service_words, slice_words};
use crate::{Change, Filter, watch_as};

/// Watches what serving Services needs to know of them.
pub fn watch_services(
    client: Client,
    filter: &Filter,
) -> impl Stream<Item = Change<ServiceNet>> + Send + use<> {
    let api = Api::<TerseService>::all(client);
    watch_as(api, filter, |service| service.words())
}

/// Watches what serving Services needs to know of EndpointSlices.
pub fn watch_slices(
    client: Client,
    filter: &Filter,
) -> impl Stream<Item = Change<SliceNet>> + Send + use<> {
    let api = Api::<TerseSlice>::all(client);
    watch_as(api, filter, |slice| slice.words())
}

#[derive(Clone, Debug, Deserialize)]
struct TerseService {
    #[serde(default, deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "spec::read")]
    spec: Option<ServiceSpec>,
    status: Option<ServiceStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TerseSlice {
    #[serde(default, deserialize_with = "metadata")]
    metadata: ObjectMeta,
    address_type: Option<String>,
    ports: Option<Vec<EndpointPort>>,
    endpoints: Option<Vec<TerseEndpoint>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TerseEndpoint {
    #[serde(default, deserialize_with = "first_address")]
    addresses: Option<Address>,
    conditions: Option<EndpointConditions>,
    node_name: Option<Arc<str>>,
    hints: Option<EndpointHints>,
}

impl TerseService {
    fn words(&self) -> ServiceNet {
        service_words(&self.metadata, self.spec.as_ref(), self.status.as_ref())
    }
}

impl TerseSlice {
    fn words(&self) -> SliceNet {
        let endpoints = self.endpoints.iter().flatten().map(|endpoint| Told {
            address: endpoint.addresses.as_ref().map(Address::as_told),
            conditions: endpoint.conditions.as_ref(),
            node: endpoint.node_name.as_ref(),
            hints: endpoint.hints.as_ref(),
        });
        let kind = self.address_type.as_deref().unwrap_or_default();
        let ports = self.ports.as_deref().unwrap_or_default();
        slice_words(&self.metadata, kind, ports, endpoints)
    }
}

/// An address, or what should be one.
#[derive(Clone, Debug)]
enum Address {
    Parsed(IpAddr),
    Odd(String),
}

impl Address {
    fn as_told(&self) -> AddressTold<'_> {
        match self {
            Self::Parsed(address) => AddressTold::Parsed(*address),
            Self::Odd(text) => AddressTold::Text(text),
        }
    }
}

/// What a watch and words are made from.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let read = Option::<Metadata>::deserialize(from)?.unwrap_or_default();
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        resource_version: read.resource_version,
        creation_timestamp: read.creation_timestamp,
        labels: read.labels,
        annotations: read.annotations,
        ..ObjectMeta::default()
    })
}

/// All addresses of an endpoint are the same endpoint.
fn first_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Address>, D::Error> {
    struct First;
    impl<'de> de::Visitor<'de> for First {
        type Value = Option<Address>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("addresses")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let first = all.next_element::<Text>()?;
            while all.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(first.map(|Text(address)| address))
        }
    }
    from.deserialize_any(First)
}

/// Text that should be an address, and is kept if it is none.
struct Text(Address);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Parse;
        impl de::Visitor<'_> for Parse {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                let parsed = text.parse::<IpAddr>();
                let odd = |_| Address::Odd(text.to_owned());
                Ok(Text(parsed.map_or_else(odd, Address::Parsed)))
            }
        }
        from.deserialize_str(Parse)
    }
}

/// As what the server knows it.
macro_rules! read_as {
    ($terse:ty, $whole:ty) => {
        impl Resource for $terse {
            type DynamicType = ();
            type Scope = k8s_openapi::NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                <$whole as Resource>::kind(&())
            }

            fn group(_: &()) -> Cow<'_, str> {
                <$whole as Resource>::group(&())
            }

            fn version(_: &()) -> Cow<'_, str> {
                <$whole as Resource>::version(&())
            }

            fn plural(_: &()) -> Cow<'_, str> {
                <$whole as Resource>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

read_as!(TerseService, Service);
read_as!(TerseSlice, EndpointSlice);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{service_net, slice_net};

    /// What a server sends beside what serving needs.
    fn metadata(name: &str) -> serde_json::Value {
        json!({
            "name": name, "namespace": "shop", "uid": "5f1c2c4e", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "1970-01-01T00:01:00Z", "ownerReferences": [{"kind": "Service", "name": "web"}],
            "labels": {"kubernetes.io/service-name": "web"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:00:01Z"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:ports": {".": {}}}}}],
        })
    }

    #[test]
    fn a_slice_comes_to_the_same_as_by_the_whole_type() {
        for object in [
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": metadata("web-1"), "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}, {"port": null}],
                "endpoints": [
                    {"addresses": ["10.244.1.2", "10.244.1.9"], "nodeName": "node-1", "zone": "a",
                     "targetRef": {"kind": "Pod", "name": "web-1"}, "hints": {"forZones": [{"name": "a"}]}},
                    {"addresses": ["10.244.1.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                    {"addresses": ["nowhere"]}, {"addresses": []},
                ],
            }),
            json!({"metadata": metadata("none"), "addressType": "IPv6", "ports": null, "endpoints": null}),
            json!({"metadata": metadata("names"), "addressType": "FQDN", "ports": [],
                   "endpoints": [{"addresses": ["a.example"]}]}),
        ] {
            let whole = slice_net(&serde_json::from_value(object.clone()).unwrap());
            let slice: TerseSlice = serde_json::from_str(&object.to_string()).unwrap();
            assert_eq!(slice.meta().resource_version.as_deref(), Some("7"));
            assert_eq!(slice.words(), whole, "{object}");
        }
    }

    #[test]
    fn a_service_comes_to_the_same_as_by_the_whole_type() {
        for spec in [
            json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"],
                   "externalIPs": ["192.0.2.1"], "loadBalancerSourceRanges": ["198.51.100.0/24"],
                   "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
                   "healthCheckNodePort": 30099, "selector": {"app": "web"}, "ipFamilies": ["IPv4", "IPv6"],
                   "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}},
                   "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": "http"},
                             {"port": 53, "protocol": "UDP", "name": null}, {"port": null}]}),
            json!({"type": "ExternalName", "externalName": "a.example"}),
            json!({"clusterIP": "None", "ports": null}),
            json!(null),
        ] {
            let status = json!({"loadBalancer": {"ingress": [{"ip": "172.29.0.200"}]}});
            let object = json!({"metadata": metadata("web"), "spec": spec, "status": status});
            let whole = service_net(&serde_json::from_value(object.clone()).unwrap());
            let service: TerseService = serde_json::from_str(&object.to_string()).unwrap();
            assert_eq!(service.words(), whole, "{object}");
        }
    }

    #[test]
    fn they_are_asked_for_where_the_whole_ones_are() {
        let path = |terse: &str, whole: &str| assert_eq!(terse, whole);
        path(
            &TerseSlice::url_path(&(), None),
            &EndpointSlice::url_path(&(), None),
        );
        path(
            &TerseService::url_path(&(), Some("a")),
            &Service::url_path(&(), Some("a")),
        );
    }
}
