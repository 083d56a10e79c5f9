//! Which certificates a cluster has. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{ADMIN, APISERVER, APISERVER_KUBELET_CLIENT, CONTROLLERS};
use crate::owner::Owner;
use crate::plan::Plan;

/// What a certificate proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The holder serves under the certificate's names.
    Server,
    /// The holder is the certificate's subject.
    Client,
}

/// A certificate that the cluster needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of its files, without suffix.
    pub file: String,
    /// Common name: the user, to Kubernetes.
    pub common_name: String,
    /// Organisation: the group, to Kubernetes.
    pub organisation: Option<&'static str>,
    /// What it proves.
    pub usage: Usage,
    /// DNS names that it serves under.
    pub names: Vec<String>,
    /// Addresses that it serves under.
    pub addresses: Vec<IpAddr>,
    /// Who may read its key.
    pub owner: Owner,
}

/// Every certificate below the authority.
pub fn requests(plan: &Plan) -> Vec<Request> {
    let mut requests = vec![
        apiserver(plan),
        Request {
            owner: Owner::Apiserver,
            ..client(
                APISERVER_KUBELET_CLIENT,
                "kube-apiserver-kubelet-client",
                "system:masters",
            )
        },
        client(ADMIN, "kubernetes-admin", "system:masters"),
        Request {
            owner: Owner::Controllers,
            ..client(CONTROLLERS, "system:sealane:controllers", "system:sealane")
        },
    ];
    for node in plan.node_plans() {
        let name = &node.name;
        requests.push(Request {
            file: name.clone(),
            common_name: format!("system:node:{name}"),
            organisation: Some("system:nodes"),
            usage: Usage::Server,
            names: vec![name.clone()],
            addresses: node.addresses.iter().map(IpNet::addr).collect(),
            owner: Owner::Root,
        });
        requests.push(client(
            &client_file(name),
            &format!("system:node:{name}"),
            "system:nodes",
        ));
        requests.push(client(
            &format!("agent-{name}"),
            &format!("system:sealane:agent:{name}"),
            "system:sealane:agents",
        ));
        requests.push(client(
            &format!("dns-{name}"),
            &format!("system:sealane:dns:{name}"),
            "system:sealane:dns",
        ));
    }
    requests
}

/// File name of the certificate with which a node's kubelet part is a client;
/// under the node's own name is the one with which it serves.
pub fn client_file(node: &str) -> String {
    format!("{node}-client")
}

fn client(file: &str, common_name: &str, organisation: &'static str) -> Request {
    Request {
        file: file.to_owned(),
        common_name: common_name.to_owned(),
        organisation: Some(organisation),
        usage: Usage::Client,
        names: Vec::new(),
        addresses: Vec::new(),
        owner: Owner::Root,
    }
}

fn apiserver(plan: &Plan) -> Request {
    let whole = format!("kubernetes.default.svc.{}", plan.cluster_domain);
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        &whole,
        "localhost",
    ];
    let mut addresses = plan.kubernetes_service_addresses();
    addresses.extend(plan.machine_addresses().iter().map(IpNet::addr));
    addresses.extend([
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ]);
    Request {
        file: APISERVER.to_owned(),
        common_name: "kube-apiserver".to_owned(),
        organisation: None,
        usage: Usage::Server,
        names: names.map(str::to_owned).to_vec(),
        addresses,
        owner: Owner::Apiserver,
    }
}
