//! The cluster's names, as the DNS server of a node gives them: the same zone, made of the same objects.
//!
//! What a Corefile says besides is not known here; it is taken to be the usual one.

use sealane_message::{Kind, Name, Question};
use sealane_objects::{DnsTarget, EndpointDns, ObjectName, PortDns, ServiceDns, SliceDns};
use sealane_zone::{Client, Found, PodRecords, SearchSettings, Settings, Subject, Zone};

use crate::trace::Death;
use crate::{ServiceView, SliceView, Snapshot};

/// The zone of a snapshot.
pub(crate) struct Names {
    zone: Zone,
    settings: Settings,
}

impl Names {
    pub(crate) fn of(world: &Snapshot) -> Self {
        let mut zone = Zone::new();
        for service in &world.services {
            zone.set_service(&service.name, Some(service_dns(service)));
        }
        for slice in &world.slices {
            zone.set_slice(&slice.name, Some(slice_dns(slice)));
        }
        let domain = world.settings.domain.parse();
        let settings = Settings {
            zones: domain.into_iter().collect(),
            pods: PodRecords::Insecure,
            ..Settings::default()
        };
        Self { zone, settings }
    }

    /// The names that a pod asks for, one after the other, when `typed` is looked up in it.
    pub(crate) fn tried(
        &self,
        world: &Snapshot,
        pod: &ObjectName,
        typed: &str,
    ) -> Result<Vec<Name>, Death> {
        let dns = world.pod(pod).map(|pod| pod.dns.clone());
        let settings = SearchSettings {
            domain: world.settings.domain.clone(),
            ..SearchSettings::default()
        };
        let client = Client::new(pod, &dns.unwrap_or_default(), &settings);
        let tries = client.tries(typed);
        let tries = tries.map_err(|fault| {
            Death::new(fault.to_string()).next("write a name as the pod would, or an address")
        })?;
        Ok(tries.into_iter().map(|each| each.name).collect())
    }

    /// Whether a client that looks for addresses ends its search at a name.
    pub(crate) fn is_there(&self, name: &Name) -> bool {
        [Kind::A, Kind::AAAA].into_iter().any(|kind| {
            match self.zone.find(&self.settings, &Question::new(*name, kind)) {
                Found::Outside => false,
                Found::Inside(answer) => answer.has_records() || answer.go_on().is_some(),
            }
        })
    }

    pub(crate) fn is_outside(&self, name: &Name) -> bool {
        let question = Question::new(*name, Kind::A);
        matches!(self.zone.find(&self.settings, &question), Found::Outside)
    }

    pub(crate) fn subject(&self, name: &Name) -> Option<Subject> {
        self.zone.subject(&self.settings, name)
    }

    /// What a Service's name stands for in the end.
    pub(crate) fn end_of(&self, service: &ObjectName) -> Option<Subject> {
        let domain = self.settings.domain()?;
        let labels = [service.name.as_str(), service.namespace.as_str(), "svc"];
        let labels = labels.iter().map(|label| label.as_bytes());
        let name = Name::from_labels(labels.chain(domain.labels())).ok()?;
        let question = Question::new(name, Kind::A);
        let Found::Inside(answer) = self.zone.find(&self.settings, &question) else {
            return None;
        };
        let last = answer.chain().last().unwrap_or(&name);
        self.subject(last)
    }

    /// Why a name in the cluster's domain is not there, in few words.
    pub(crate) fn why(&self, name: &Name) -> Option<String> {
        if self.is_outside(name) {
            return None;
        }
        let explained = self
            .zone
            .explain(&self.settings, &Question::new(*name, Kind::A));
        let because = explained.last()?.1.last()?;
        Some(because.to_string())
    }
}

fn service_dns(service: &ServiceView) -> ServiceDns {
    let target = match service.kind.as_str() {
        "ExternalName" => DnsTarget::Name(service.external_name.clone()),
        _ if service.headless => DnsTarget::Endpoints,
        _ => DnsTarget::Addresses(service.net.cluster_ips.clone()),
    };
    let ports = service.net.ports.iter().map(|port| PortDns {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
    });
    ServiceDns {
        target,
        ports: ports.collect(),
    }
}

fn slice_dns(slice: &SliceView) -> SliceDns {
    let hostname = |address| {
        let mut known = slice.hostnames.iter();
        let known = known.find(|(known, _)| *known == address);
        known.map(|(_, hostname)| hostname.clone())
    };
    let endpoints = slice.net.endpoints.iter().map(|endpoint| EndpointDns {
        address: endpoint.address,
        ready: endpoint.ready,
        hostname: hostname(endpoint.address),
        pod: None,
    });
    let ports = slice.net.ports.iter().map(|port| PortDns {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
    });
    SliceDns {
        service: slice.net.service.clone(),
        ports: ports.collect(),
        endpoints: endpoints.collect(),
    }
}
