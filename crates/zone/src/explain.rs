//! Answers in words: what a name comes to, and which objects make it so.
//!
//! Every name on the way gets its sentences: the asked one, then those that it stands for. They
//! tell of what [`Zone::find`] has decided and decide nothing themselves, so whoever asks for an
//! explanation asks for the answer, too.

mod service;

use std::fmt;
use std::net::IpAddr;

use sealane_message::{Kind, Name, Question, Rcode};
use sealane_objects::ObjectName;

use crate::find::Found;
use crate::label::{join, parts, text, undashed};
use crate::path::Path;
use crate::settings::is_reverse;
use crate::{Fallthrough, PodRecords, Settings, Zone};

/// A sentence about a name, and the objects that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// Without a capital and a full stop.
    pub text: String,
    /// The objects, as they are named in the text.
    pub objects: Vec<Cause>,
}

/// An object that makes an answer what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// `Service`, `EndpointSlice`, `Pod`, `Namespace`.
    pub kind: &'static str,
    /// Its name; a Namespace's has no namespace.
    pub name: ObjectName,
}

/// What a name is the name of, whether it is there at this moment or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A Service, or one of its ports.
    Service(ObjectName),
    /// A ready endpoint of a Service, with its addresses.
    Endpoint(ObjectName, Vec<IpAddr>),
    /// An address that is spelled by the name.
    Address(IpAddr),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.namespace.is_empty() {
            true => write!(f, "{} {}", self.kind, self.name.name),
            false => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn plain(text: impl Into<String>) -> Because {
    Because {
        text: text.into(),
        objects: Vec::new(),
    }
}

fn of(cause: Cause, rest: impl fmt::Display) -> Because {
    Because {
        text: format!("{cause} {rest}"),
        objects: vec![cause],
    }
}

fn service_cause(key: &[u8]) -> Cause {
    let (name, namespace) = parts(key);
    Cause {
        kind: "Service",
        name: ObjectName::new(text(namespace), text(name)),
    }
}

impl Zone {
    /// Why a question gets the answer that [`Zone::find`] finds: for the asked name, and for each name
    /// that it stands for.
    #[must_use]
    pub fn explain(&self, settings: &Settings, question: &Question) -> Vec<(Name, Vec<Because>)> {
        let mut names = vec![question.name];
        let mut circle = false;
        if let Found::Inside(answer) = self.find(settings, question) {
            names.extend(answer.chain());
            circle = answer.rcode() == Rcode::SERVFAIL;
        }
        let explained = names.into_iter().map(|name| {
            let mut because = self.explain_name(settings, &name);
            if circle {
                because.push(plain("the names that it stands for lead round in a circle"));
            }
            (name, because)
        });
        explained.collect()
    }

    /// The object that a name in a domain of the cluster speaks of, if there is one.
    #[must_use]
    pub fn subject(&self, settings: &Settings, name: &Name) -> Option<Subject> {
        let path = Path::new(name, settings.zone_of(name)?)?;
        let labels = path.labels_in_order();
        let [before @ .., service, namespace, b"svc"] = &labels[..] else {
            let [spelled, _, b"pod"] = labels[..] else {
                return None;
            };
            return undashed(spelled).map(Subject::Address);
        };
        let (_, known) = self.services.get_key_value(&*join(service, namespace))?;
        known.object.as_ref()?;
        let object = ObjectName::new(text(namespace), text(service));
        match before {
            [] | [[b'_', ..], ..] => Some(Subject::Service(object)),
            [host] => {
                let addresses = known.addresses_of(host);
                (!addresses.is_empty()).then_some(Subject::Endpoint(object, addresses))
            }
            _ => None,
        }
    }

    fn explain_name(&self, settings: &Settings, name: &Name) -> Vec<Because> {
        let Some(apex) = settings.zone_of(name) else {
            let zones = settings.zones.iter().map(Name::without_dot);
            let zones = zones.collect::<Vec<_>>().join(", ");
            return vec![plain(format!(
                "is not within the cluster's zones ({zones})"
            ))];
        };
        let mut because = match Path::new(name, apex) {
            Some(path) if path.is_apex() => vec![plain("is one of the cluster's zones")],
            Some(_) if is_reverse(apex) => self.explain_address(settings, name),
            Some(path) => self.explain_path(settings, &path),
            None => Vec::new(),
        };
        let is_there = match self.find(settings, &Question::new(*name, Kind::A)) {
            Found::Outside => false,
            Found::Inside(answer) => !answer.is_no_name(),
        };
        if !is_there && settings.falls_through(name) {
            let which = match settings.fallthrough {
                Fallthrough::Zones(_) => "names of its zone",
                _ => "all names",
            };
            because.push(plain(format!(
                "others are asked, since the Corefile has fallthrough for {which} that are not there"
            )));
        }
        because
    }

    fn explain_path(&self, settings: &Settings, path: &Path<'_>) -> Vec<Because> {
        let labels: Vec<&[u8]> = path.labels_in_order();
        match labels[..] {
            [b"dns-version"] => vec![plain("tells which specification the records keep to")],
            [b"svc" | b"pod" | b"dns"] => vec![plain("is only the beginning of names")],
            [b"ns", b"dns"] => vec![plain("is where the cluster's names are asked for")],
            [.., namespace, b"svc"] if !settings.exposes(namespace) => {
                let namespace = text(namespace);
                vec![plain(format!(
                    "namespace {namespace} is none of those that the Corefile shows"
                ))]
            }
            [namespace, b"svc" | b"pod"] => vec![self.explain_namespace(namespace)],
            [.., service, namespace, b"svc"] => {
                let before = &labels[..labels.len() - 3];
                self.explain_service(settings, before, service, namespace)
            }
            [spelled, namespace, b"pod"] => self.explain_pod(settings, spelled, namespace),
            _ => vec![plain(
                "is no name that the cluster has: write NAME.NAMESPACE.svc before its domain",
            )],
        }
    }

    fn explain_namespace(&self, namespace: &[u8]) -> Because {
        let there = self.namespaces.get(namespace);
        let cause = Cause {
            kind: "Namespace",
            name: ObjectName::new("", text(namespace)),
        };
        match there.is_some_and(|known| known.exists()) {
            true => of(
                cause,
                "is there: the name is the beginning of those of its Services",
            ),
            false => of(cause, "is not there"),
        }
    }

    fn explain_pod(&self, settings: &Settings, spelled: &[u8], namespace: &[u8]) -> Vec<Because> {
        let known = self.namespaces.get(namespace);
        if !known.is_some_and(|known| known.exists()) {
            return vec![self.explain_namespace(namespace)];
        }
        let address = undashed(spelled);
        vec![match (settings.pods, address) {
            (PodRecords::Disabled, _) => plain("the Corefile has no names of pods (pods disabled)"),
            (_, None) => plain(format!(
                "{} spells no address: write it with hyphens",
                text(spelled)
            )),
            (PodRecords::Insecure, Some(address)) => plain(format!(
                "spells {address}; the Corefile takes any address (pods insecure)"
            )),
            (PodRecords::Verified, Some(address)) => {
                let namespace = text(namespace);
                match self.pods_at(address).find(|pod| pod.namespace == namespace) {
                    Some(pod) => of(
                        Cause {
                            kind: "Pod",
                            name: pod.clone(),
                        },
                        format!("has {address}"),
                    ),
                    None => plain(format!("no pod of namespace {namespace} has {address}")),
                }
            }
        }]
    }

    fn explain_address(&self, settings: &Settings, name: &Name) -> Vec<Because> {
        let Some(address) = name.address() else {
            return vec![plain("is the beginning of addresses' names, or of none")];
        };
        let holders = self.holders.range((address, std::sync::Arc::default())..);
        let holders = holders.take_while(|(held, _)| *held == address);
        let because: Vec<Because> = holders
            .filter(|(_, key)| settings.exposes(parts(key).1))
            .map(|(_, key)| {
                let service = self.services.get(&**key);
                let object = service.and_then(|service| service.object.as_ref());
                match object {
                    Some(object) if object.addresses().contains(&address) => of(
                        service_cause(key),
                        format!("has {address} as its cluster IP"),
                    ),
                    Some(_) => of(service_cause(key), format!("has an endpoint at {address}")),
                    None => of(service_cause(key), "is not there, but slices of it are"),
                }
            })
            .collect();
        match because.is_empty() {
            true => vec![plain(format!(
                "no Service, and no ready endpoint, has {address}"
            ))],
            false => because,
        }
    }
}
