//! From what a Corefile says to the settings of who does it.

use std::net::IpAddr;
use std::time::Duration;

use sealane_corefile::{
    Cache, Fallthrough, Forward, Kubernetes, PodNames, Policy, Server, Share, To,
};
use sealane_forward as forward;
use sealane_zone as zone;

use super::Surroundings;

/// What stands for the node's resolvers in most Corefiles.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Fewer answers are not kept, as with `CoreDNS`.
const LEAST_ANSWERS: u32 = 1024;

pub fn zone(kubernetes: &Kubernetes, servers: &[IpAddr], first_serial: u32) -> zone::Settings {
    zone::Settings {
        zones: kubernetes.zones.clone(),
        ttl: kubernetes.ttl,
        pods: match kubernetes.pods {
            PodNames::Disabled => zone::PodRecords::Disabled,
            PodNames::Insecure => zone::PodRecords::Insecure,
            PodNames::Verified => zone::PodRecords::Verified,
        },
        namespaces: kubernetes.namespaces.clone(),
        no_endpoints: kubernetes.no_endpoints,
        ignore_empty_service: kubernetes.ignore_empty,
        fallthrough: match &kubernetes.fallthrough {
            Fallthrough::Never => zone::Fallthrough::Never,
            Fallthrough::Always => zone::Fallthrough::Always,
            Fallthrough::Within(zones) => zone::Fallthrough::Zones(zones.clone()),
        },
        servers: servers.to_vec(),
        first_serial,
    }
}

pub fn forward(server: &Server, surroundings: &Surroundings) -> forward::Settings {
    let forwards = server.forwards.iter();
    forward::Settings {
        zones: server.zones(),
        forwards: forwards.map(|one| one_forward(one, surroundings)).collect(),
        cache: server.cache.as_ref().map(cache),
    }
}

fn one_forward(said: &Forward, surroundings: &Surroundings) -> forward::Forward {
    let default = forward::Forward::default();
    let to = said.to.iter().map(|to| match to {
        To::Address(address) => forward::To::Address(*address),
        To::ResolvConf(path) if path == RESOLV_CONF => {
            forward::To::ResolvConf(surroundings.resolv_conf.clone())
        }
        To::ResolvConf(path) => forward::To::ResolvConf(path.into()),
    });
    forward::Forward {
        from: said.from,
        to: to.collect(),
        except: said.except.clone(),
        force_tcp: said.force_tcp,
        policy: match said.policy {
            Policy::Random => forward::Policy::Random,
            Policy::RoundRobin => forward::Policy::RoundRobin,
            Policy::Sequential => forward::Policy::Sequential,
        },
        max_fails: said.max_fails,
        health_check: forward::HealthCheck {
            interval: said.health_check.interval,
            recursion: said.health_check.recursion,
            name: said.health_check.domain,
        },
        expire: said.expire,
        max_concurrent: match said.max_concurrent {
            // Without a limit, one who never answers would take all sockets.
            0 => default.max_concurrent,
            limit => limit as usize,
        },
        failover: said.failover.clone(),
        failfast_all_unhealthy_upstreams: said.fail_fast,
        ..default
    }
}

fn cache(said: &Cache) -> forward::CacheSettings {
    let default = forward::CacheSettings::default();
    let pool = |share: &Share| forward::PoolSettings {
        bytes: share.capacity.max(LEAST_ANSWERS) as usize
            * forward::CacheSettings::BYTES_PER_ANSWER,
        max_ttl: Duration::from_secs(share.max_ttl.into()),
        min_ttl: Duration::from_secs(share.min_ttl.into()),
    };
    forward::CacheSettings {
        zones: said.zones.clone(),
        success: pool(&said.success),
        denial: pool(&said.denial),
        prefetch: match said.prefetch {
            None => default.prefetch,
            Some(prefetch) if prefetch.amount == 0 => None,
            Some(prefetch) => Some(forward::Prefetch {
                amount: prefetch.amount,
                gap: prefetch.gap,
                percentage: prefetch.percentage,
            }),
        },
        serve_stale: match said.serve_stale {
            None => default.serve_stale,
            Some(stale) if stale.limit.is_zero() => None,
            Some(stale) => Some(forward::ServeStale {
                within: stale.limit,
                mode: if stale.verify {
                    forward::StaleMode::Verified
                } else {
                    forward::StaleMode::Immediate
                },
            }),
        },
        servfail: said.servfail,
    }
}
