//! `kubernetes` and `autopath`: the cluster's own names.

use super::Reader;
use crate::config::{Fallthrough, Kubernetes, PodNames, Server};
use crate::fault::Fault;
use crate::tree::Statement;

/// What `CoreDNS` gives records that are not told otherwise, in seconds.
const DEFAULT_TTL: u32 = 5;

pub fn kubernetes(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    if server.kubernetes.is_some() {
        return Err(statement.fault("is there already: expected one in a server block"));
    }
    let mut kubernetes = Kubernetes {
        zones: statement.zones_or(&statement.args, &reader.zones)?,
        pods: PodNames::Disabled,
        endpoint_pod_names: false,
        ttl: DEFAULT_TTL,
        namespaces: Vec::new(),
        labels: None,
        namespace_labels: None,
        no_endpoints: false,
        ignore_empty: false,
        fallthrough: Fallthrough::Never,
    };
    for option in &statement.options {
        kubernetes_option(reader, option, &mut kubernetes)?;
    }
    server.kubernetes = Some(kubernetes);
    Ok(())
}

fn kubernetes_option(
    reader: &mut Reader<'_>,
    option: &Statement,
    kubernetes: &mut Kubernetes,
) -> Result<(), Fault> {
    match option.name.as_str() {
        "pods" => kubernetes.pods = pods(option)?,
        "endpoint_pod_names" => {
            option.none()?;
            kubernetes.endpoint_pod_names = true;
        }
        "ttl" => {
            let seconds = option.one("a number of seconds")?;
            kubernetes.ttl = option.number(seconds, 0..=3600, "a number of seconds")?;
        }
        "namespaces" => {
            let names = option.some("names of namespaces")?;
            kubernetes.namespaces.extend(names.iter().cloned());
        }
        "labels" => {
            kubernetes.labels = Some(option.some("a label selector")?.join(" "));
            reader.note(
                option,
                "is not supported: Services are served whatever their labels",
            );
        }
        "namespace_labels" => {
            kubernetes.namespace_labels = Some(option.some("a label selector")?.join(" "));
            reader.note(
                option,
                "is not supported: namespaces are served whatever their labels; name them with `namespaces`",
            );
        }
        "noendpoints" => {
            option.none()?;
            kubernetes.no_endpoints = true;
        }
        "ignore" => {
            if option.one("empty_service")? != "empty_service" {
                return Err(
                    option.fault(format!("expected empty_service, not {:?}", option.args[0]))
                );
            }
            kubernetes.ignore_empty = true;
        }
        "fallthrough" => kubernetes.fallthrough = option.fallthrough()?,
        "endpoint" | "tls" | "kubeconfig" => reader.note(
            option,
            "is left out: give `--kubeconfig` or `--api-server` to sealane dns",
        ),
        "multicluster" => reader.note(
            option,
            "is not supported: names of ServiceImports are not there",
        ),
        "startup_timeout"
        | "resyncperiod"
        | "upstream"
        | "transfer"
        | "apiserver_qps"
        | "apiserver_burst"
        | "apiserver_max_inflight" => {
            reader.note(option, "has no effect: there is nothing like it");
        }
        _ => {
            return Err(option.unknown(
                "pods, ttl, fallthrough, endpoint_pod_names, namespaces, noendpoints and ignore",
            ));
        }
    }
    Ok(())
}

fn pods(option: &Statement) -> Result<PodNames, Fault> {
    match option.one("disabled, insecure or verified")? {
        "disabled" => Ok(PodNames::Disabled),
        "insecure" => Ok(PodNames::Insecure),
        "verified" => Ok(PodNames::Verified),
        other => {
            let problem = format!("expected disabled, insecure or verified, not {other:?}");
            Err(option.fault(problem))
        }
    }
}

pub fn autopath(
    reader: &mut Reader<'_>,
    statement: &Statement,
    server: &mut Server,
) -> Result<(), Fault> {
    let what = statement.some("zones and @kubernetes")?.last();
    server.autopath = true;
    let consequence = if what.is_some_and(|what| what == "@kubernetes") {
        "needs not be said: a pod's search list is always answered in one round trip"
    } else {
        "search lists are those of pods, and no file's"
    };
    reader.note(statement, consequence);
    Ok(())
}
