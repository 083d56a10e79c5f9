//! Answers in words: what a name comes to, and which objects make it so.
//!
//! Every name on the way gets its sentences: the asked one, then those that it stands for. They
//! tell of what [`Zone::find`] has decided and decide nothing themselves, so whoever asks for an
//! explanation asks for the answer, too.

use std::fmt;
use std::net::IpAddr;

use sealane_message::{Kind, Name, Question, Rcode};
use sealane_objects::ObjectName;

use crate::find::{Found, Path};
use crate::label::{parts, text, undashed};
use crate::service::{Service, Target};
use crate::settings::is_reverse;
use crate::{Fallthrough, PodRecords, Settings, Zone};

/// How many objects that may have been meant are named.
const SUGGESTED: usize = 3;

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

/// `3 endpoints`, `1 endpoint`.
fn endpoints(count: usize) -> String {
    match count {
        1 => "1 endpoint".to_owned(),
        count => format!("{count} endpoints"),
    }
}

fn list(addresses: impl Iterator<Item = IpAddr>) -> String {
    let texts: Vec<String> = addresses.map(|address| address.to_string()).collect();
    texts.join(", ")
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
        let (_, known) = self.services.get_key_value(&*joined(service, namespace))?;
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

    fn explain_service(
        &self,
        settings: &Settings,
        before: &[&[u8]],
        name: &[u8],
        namespace: &[u8],
    ) -> Vec<Because> {
        let key = [
            &[name.len() as u8],
            name,
            &[namespace.len() as u8],
            namespace,
        ]
        .concat();
        let service = self.services.get_key_value(&*key);
        let Some((key, service, object)) =
            service.and_then(|(key, service)| Some((key, service, service.object.as_ref()?)))
        else {
            return self.explain_missing(name, namespace, service.is_some());
        };
        let cause = || service_cause(key);
        let not_ready = service.not_ready as usize;
        let all = service.endpoint_count() + not_ready;
        let mut because = Vec::new();
        match &object.target {
            Target::Name(name) => {
                because.push(of(
                    cause(),
                    format!("is an ExternalName: {}", name.without_dot()),
                ));
            }
            Target::Unusable(wrong) => because.push(of(
                cause(),
                format!("is an ExternalName, and {wrong:?} is no name that DNS can give"),
            )),
            Target::Endpoints => {
                let ready = service.endpoint_count();
                because.push(of(
                    cause(),
                    match (settings.no_endpoints, all) {
                        (true, _) => "is headless, and the Corefile has noendpoints".to_owned(),
                        (_, 0) => "is headless and has no endpoints".to_owned(),
                        _ => format!("is headless: {ready} of {} ready", endpoints(all)),
                    },
                ));
                if ready == 0 && all > 0 {
                    because.push(plain(
                        "a headless Service has a name while one of its endpoints is ready, \
                         or with publishNotReadyAddresses",
                    ));
                }
            }
            Target::Addresses(own) if own.is_empty() => {
                because.push(of(cause(), "has no cluster IP yet"));
            }
            Target::Addresses(own) => {
                let own = list(own.iter().copied());
                because.push(of(cause(), format!("has cluster IP {own}")));
                if settings.ignore_empty_service && service.endpoint_count() == 0 {
                    because.push(plain(
                        "no endpoint of it is ready, and the Corefile has ignore empty_service",
                    ));
                }
            }
        }
        match before {
            [] => {}
            [protocol @ [b'_', ..]] => because.push(plain(format!(
                "{} is the beginning of its ports' names",
                text(protocol)
            ))),
            [port @ [b'_', ..], protocol @ [b'_', ..]] => {
                because.push(explain_port(service, port, protocol));
            }
            [host] => because.extend(self.explain_host(key, service, host)),
            _ => because.push(plain("nothing of that form is below a Service's name")),
        }
        because
    }

    fn explain_missing(&self, name: &[u8], namespace: &[u8], has_slices: bool) -> Vec<Because> {
        let cause = Cause {
            kind: "Service",
            name: ObjectName::new(text(namespace), text(name)),
        };
        let mut because = vec![of(cause, "is not there")];
        if has_slices {
            because.push(plain(
                "there are EndpointSlices of that name, but no Service",
            ));
        }
        if !self
            .namespaces
            .get(namespace)
            .is_some_and(|known| known.exists())
        {
            because.push(self.explain_namespace(namespace));
        }
        let mut near: Vec<Cause> = self
            .services
            .iter()
            .filter(|(_, service)| service.object.is_some())
            .filter(|(key, _)| {
                let (other, elsewhere) = parts(key);
                other == name || (elsewhere == namespace && is_near(other, name))
            })
            .map(|(key, _)| service_cause(key))
            .collect();
        near.sort();
        near.truncate(SUGGESTED);
        because.extend(near.into_iter().map(|near| Because {
            text: format!("there is {near}"),
            objects: vec![near],
        }));
        because
    }

    fn explain_host(&self, key: &[u8], service: &Service, host: &[u8]) -> Vec<Because> {
        let addresses = service.addresses_of(host);
        let host = text(host);
        if addresses.is_empty() {
            let waits = match service.not_ready {
                0 => String::new(),
                count => format!(", but {} not ready", endpoints(count as usize)),
            };
            return vec![plain(format!(
                "it has no ready endpoint called {host}{waits}"
            ))];
        }
        let slices = self.slices_with(key, &addresses);
        let named: Vec<String> = slices.iter().map(ToString::to_string).collect();
        vec![Because {
            text: format!(
                "its endpoint {host} is {} ({})",
                list(addresses.into_iter()),
                named.join(", ")
            ),
            objects: slices,
        }]
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

/// A Service's key, of labels out of a name.
fn joined(name: &[u8], namespace: &[u8]) -> Vec<u8> {
    [
        &[name.len() as u8],
        name,
        &[namespace.len() as u8],
        namespace,
    ]
    .concat()
}

fn explain_port(service: &Service, port: &[u8], protocol: &[u8]) -> Because {
    let (port, protocol) = (text(&port[1..]), text(&protocol[1..]));
    let own = service.object.iter().flat_map(|object| object.ports.iter());
    let of_endpoints = service
        .endpoints()
        .flat_map(|endpoint| endpoint.ports.iter());
    let is_headless = service
        .object
        .as_ref()
        .is_some_and(|object| matches!(object.target, Target::Endpoints));
    let mut all: Vec<String> = match is_headless {
        true => of_endpoints.map(port_text).collect(),
        false => own.map(port_text).collect(),
    };
    all.sort();
    all.dedup();
    let all = match all.is_empty() {
        true => "it has no ports".to_owned(),
        false => format!("its ports are {}", all.join(", ")),
    };
    plain(format!("asks for port {port} over {protocol}; {all}"))
}

fn port_text(port: &crate::service::Port) -> String {
    let name = match port.name.is_empty() {
        true => "one without a name".to_owned(),
        false => text(&port.name),
    };
    format!("{name} ({}/{})", port.number, port.protocol)
}

/// One letter more, less or another; or one begins with the other.
fn is_near(a: &[u8], b: &[u8]) -> bool {
    if a.starts_with(b) || b.starts_with(a) {
        return true;
    }
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    let same = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    a.len() - same <= 1 && b.len() - same <= 1
}
