//! What the API says of the cluster's DNS: its Service, and the Corefile that all nodes follow.
//!
//! Each is made when it is not there, and never changed again: it is the user's from then on. For questions nobody is
//! behind the Service, since each node answers at its address itself; it is there for who looks for it, and so that no
//! other Service gets the address. For metrics the nodes are: who collects them finds all of them by its slices.

use std::net::IpAddr;

use anyhow::Context;
use kube::api::PostParams;
use sealane_kube::k8s_openapi::api::core::v1::{ConfigMap, Service};
use sealane_kube::k8s_openapi::api::discovery::v1::EndpointSlice;
use sealane_kube::{Access, Api, Backoff, Client, client, explain};
use sealane_net::{ClusterDomain, Family};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::layout::Layout;
use crate::plan::Plan;

const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "kube-dns";
const METRICS: &str = "metrics";
const METRICS_PORT: u16 = 9153;
const HTTP_CONFLICT: u16 = 409;

/// Makes what is missing, however long the API server takes to answer.
///
/// # Errors
/// When there is no usable kubeconfig, or the API server does not want it: another Service has the address.
pub async fn ensure(layout: &Layout, plan: &Plan) -> anyhow::Result<()> {
    let addresses = plan.dns_addresses();
    if addresses.is_empty() {
        return Ok(());
    }
    let client = client(&Access::from_kubeconfig(layout.kubeconfig()), "supervisor").await?;
    make::<Service>(&client, "service", &service(&addresses)).await?;
    make::<ConfigMap>(&client, "configmap", &config_map(&plan.cluster_domain)).await?;
    for slice in slices(plan) {
        make::<EndpointSlice>(&client, "endpointslice", &slice).await?;
    }
    Ok(())
}

async fn make<K>(client: &Client, kind: &str, object: &Value) -> anyhow::Result<()>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let typed: K = serde_json::from_value(object.clone())?;
    let api = Api::<K>::namespaced(client.clone(), NAMESPACE);
    let mut backoff = Backoff::reconnect();
    loop {
        match api.create(&PostParams::default(), &typed).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == HTTP_CONFLICT => return Ok(()),
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
                let error = kube::Error::Api(status);
                let why = explain(&error).to_string();
                return Err(anyhow::anyhow!(why))
                    .with_context(|| format!("make {kind} {NAMESPACE}/{name}"));
            }
            Err(error) => tracing::debug!("make {kind} {name}: {}", explain(&error)),
        }
        sleep(backoff.next_delay()).await;
    }
}

/// As kubeadm makes it, but for the selector.
fn service(addresses: &[IpAddr]) -> Value {
    let families = addresses.iter().map(|address| match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    });
    let policy = match addresses.len() {
        1 => "SingleStack",
        _ => "RequireDualStack",
    };
    let port = |name: &str, protocol: &str, port: u16| json!({"name": name, "protocol": protocol, "port": port, "targetPort": port});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": families.collect::<Vec<_>>(),
            "ipFamilyPolicy": policy,
            "ports": [port("dns", "UDP", 53), port("dns-tcp", "TCP", 53), port(METRICS, "TCP", METRICS_PORT)],
        },
    })
}

/// Where each node tells metrics: a slice for each family of the Service.
fn slices(plan: &Plan) -> Vec<Value> {
    let families = plan.dns_addresses().into_iter().map(Family::from);
    families.map(|family| slice(plan, family)).collect()
}

fn slice(plan: &Plan, family: Family) -> Value {
    let kind = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let nodes = plan.node_plans();
    let endpoints = nodes.iter().map(|node| {
        let own = node.addresses.iter().map(|address| address.addr());
        let own: Vec<IpAddr> = own.filter(|ip| Family::from(*ip) == family).collect();
        json!({
            "addresses": own,
            "nodeName": node.name,
            "conditions": {"ready": true, "serving": true, "terminating": false},
        })
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{SERVICE}-nodes-{}", kind.to_lowercase()),
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": "supervisor.sealane.io",
            },
        },
        "addressType": kind,
        "ports": [{"name": METRICS, "protocol": "TCP", "port": METRICS_PORT}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn config_map(domain: &ClusterDomain) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": NAMESPACE},
        "data": {"Corefile": sealane_corefile::usual(domain.as_str())},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Asked, IpFamily, Observed, resolve};

    #[test]
    fn what_is_made_is_what_kubernetes_understands() {
        let addresses = ["10.96.0.10", "fd00:10:96::a"].map(|ip| ip.parse().unwrap());
        let made: Service = serde_json::from_value(service(&addresses)).unwrap();
        let spec = made.spec.unwrap();
        assert_eq!(spec.cluster_ips.unwrap(), ["10.96.0.10", "fd00:10:96::a"]);
        assert_eq!(spec.ip_families.unwrap(), ["IPv4", "IPv6"]);
        let asked = Asked {
            ip_family: Some(IpFamily::Dual),
            ..Asked::default()
        };
        let plan = resolve(&asked, &Observed::default()).unwrap();
        let made = slices(&plan).into_iter().map(serde_json::from_value);
        let made: Vec<EndpointSlice> = made.collect::<Result<_, _>>().unwrap();
        let first =
            |slice: &EndpointSlice| slice.endpoints.as_ref().unwrap()[0].addresses.join(" ");
        let firsts: Vec<String> = made.iter().map(first).collect();
        assert_eq!(firsts, ["172.29.0.2", "fd00:172:29::2"]);
        let domain = "k8s.example".parse().unwrap();
        let made: ConfigMap = serde_json::from_value(config_map(&domain)).unwrap();
        assert!(made.data.unwrap()["Corefile"].contains("kubernetes k8s.example in-addr"));
    }
}
