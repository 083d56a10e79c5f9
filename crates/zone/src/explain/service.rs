//! What is said of a Service, of its ports and of its endpoints.

use std::net::IpAddr;

use sealane_objects::ObjectName;

use super::{Because, Cause, of, plain, service_cause};
use crate::label::{Key, join, parts, text};
use crate::service::{Object, Port, Service, Target};
use crate::{Settings, Zone};

/// How many objects that may have been meant are named.
const SUGGESTED: usize = 3;

impl Zone {
    pub(super) fn explain_service(
        &self,
        settings: &Settings,
        before: &[&[u8]],
        name: &[u8],
        namespace: &[u8],
    ) -> Vec<Because> {
        let service = self.services.get_key_value(&*join(name, namespace));
        let Some((key, service, object)) =
            service.and_then(|(key, service)| Some((key, service, service.object.as_ref()?)))
        else {
            return self.explain_missing(name, namespace, service.is_some());
        };
        let mut because = explain_target(settings, key, service, object);
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
}

/// What a Service's name stands for, and whether that makes it one.
fn explain_target(
    settings: &Settings,
    key: &Key,
    service: &Service,
    object: &Object,
) -> Vec<Because> {
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
    because
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

fn port_text(port: &Port) -> String {
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
