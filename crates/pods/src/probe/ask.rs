//! Edge: asking a container, the way its probe says.
//!
//! Connections are made from the node's network to the pod's address, as the kubelet does.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sealane_runtime::Shim;
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::inside;

/// What a container is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// A command that must end with 0.
    Exec(Vec<String>),
    /// A request that must be answered with 200 to 399.
    Http(http::Get),
    /// A connection that must be accepted.
    Tcp {
        /// Where.
        host: String,
        /// On which port.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check`, which must say SERVING.
    Grpc {
        /// Where.
        host: String,
        /// On which port.
        port: u16,
        /// About what.
        service: String,
    },
    /// Nothing: wait.
    Sleep(Duration),
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod's address.
    pub ip: Option<IpAddr>,
    /// Its shim.
    pub shim: Shim,
    /// The container's name.
    pub container: String,
}

/// An answer that is not bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A good one.
    Good,
    /// A good one that people should look at, in the kubelet's words.
    Odd(String),
    /// None: the container could not be asked, which says nothing about it.
    Missing(String),
}

impl Answer {
    /// The same for whom no answer is a bad one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn given(self) -> Result<(), Bad> {
        match self {
            Self::Good | Self::Odd(_) => Ok(()),
            Self::Missing(why) => Err(Bad(why)),
        }
    }
}

/// A bad answer, in the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad(pub String);

impl Question {
    /// The question of a probe; `None` when it asks nothing that is known.
    ///
    /// # Errors
    /// A port that the container does not have.
    pub fn of_probe(probe: &Probe, container: &Container, ip: Option<IpAddr>) -> Result<Self, Bad> {
        if let Some(exec) = &probe.exec {
            return Ok(Self::exec(exec));
        }
        if let Some(get) = &probe.http_get {
            return Self::http(get, container, ip, "kube-probe");
        }
        if let Some(tcp) = &probe.tcp_socket {
            return Self::tcp(tcp, container, ip);
        }
        match &probe.grpc {
            Some(grpc) => Self::grpc(grpc, ip),
            None => Err(Bad(format!("missing probe handler for {}", container.name))),
        }
    }

    /// The action of a lifecycle hook.
    ///
    /// # Errors
    /// As for probes.
    pub fn of_hook(
        hook: &LifecycleHandler,
        container: &Container,
        ip: Option<IpAddr>,
    ) -> Result<Self, Bad> {
        if let Some(exec) = &hook.exec {
            return Ok(Self::exec(exec));
        }
        if let Some(get) = &hook.http_get {
            return Self::http(get, container, ip, "kube-lifecycle");
        }
        if let Some(tcp) = &hook.tcp_socket {
            return Self::tcp(tcp, container, ip);
        }
        match &hook.sleep {
            Some(sleep) => Ok(Self::Sleep(Duration::from_secs(
                sleep.seconds.try_into().unwrap_or(0),
            ))),
            None => Err(Bad("cannot run handler: unknown type".to_owned())),
        }
    }

    fn exec(exec: &ExecAction) -> Self {
        Self::Exec(exec.command.clone().unwrap_or_default())
    }

    fn http(
        get: &HTTPGetAction,
        container: &Container,
        ip: Option<IpAddr>,
        agent: &str,
    ) -> Result<Self, Bad> {
        let headers = get.http_headers.iter().flatten();
        Ok(Self::Http(http::Get {
            tls: get.scheme.as_deref() == Some("HTTPS"),
            host: host(get.host.as_deref(), ip)?,
            port: port(&get.port, container)?,
            path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
            headers: headers
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            agent: format!("{agent}/{}", crate::node_status::kubernetes_minor()),
        }))
    }

    fn tcp(tcp: &TCPSocketAction, container: &Container, ip: Option<IpAddr>) -> Result<Self, Bad> {
        Ok(Self::Tcp {
            host: host(tcp.host.as_deref(), ip)?,
            port: port(&tcp.port, container)?,
        })
    }

    fn grpc(grpc: &GRPCAction, ip: Option<IpAddr>) -> Result<Self, Bad> {
        Ok(Self::Grpc {
            host: host(None, ip)?,
            port: port(&IntOrString::Int(grpc.port), &Container::default())?,
            service: grpc.service.clone().unwrap_or_default(),
        })
    }

    /// Asks, and waits for the answer no longer than this.
    ///
    /// # Errors
    /// Why the answer is not good.
    pub async fn ask(&self, target: &Target, timeout: Duration) -> Result<Answer, Bad> {
        match self {
            Self::Exec(command) => return exec(target, command, timeout).await,
            Self::Http(get) => return http::get(get, timeout).await,
            Self::Tcp { host, port } => tcp(host, *port, timeout).await?,
            Self::Grpc {
                host,
                port,
                service,
            } => grpc::check(host, *port, service, timeout).await?,
            Self::Sleep(pause) => tokio::time::sleep(*pause).await,
        }
        Ok(Answer::Good)
    }
}

fn host(given: Option<&str>, ip: Option<IpAddr>) -> Result<String, Bad> {
    let given = given.filter(|host| !host.is_empty()).map(str::to_owned);
    let host = given.or_else(|| ip.map(|ip| ip.to_string()));
    host.ok_or_else(|| Bad("the pod has no address".to_owned()))
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, Bad> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_ref() == Some(name));
            named
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| match port {
            IntOrString::String(name) => {
                Bad(format!("strconv.Atoi: parsing {name:?}: invalid syntax"))
            }
            IntOrString::Int(number) => Bad(format!("invalid port number: {number}")),
        })
}

async fn exec(target: &Target, command: &[String], timeout: Duration) -> Result<Answer, Bad> {
    let run = inside::run(&target.shim, &target.container, command);
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok((0, _))) => Ok(Answer::Good),
        Ok(Ok((_, output))) => Err(Bad(output)),
        // A command that does not exist, for one.
        Ok(Err(why)) => Ok(Answer::Missing(why)),
        Err(_) => Err(Bad(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        ))),
    }
}

async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<(), Bad> {
    connect(host, port, timeout).await.map(drop)
}

/// Opens a connection; errors are worded as Go words them, since people search for that.
pub(super) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Bad> {
    let address = address(host, port);
    let dialled = |why: &str| Bad(format!("dial tcp {address}: {why}"));
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(dialled(&in_go(&error))),
        Err(_) => Err(dialled("i/o timeout")),
    }
}

pub(super) fn address(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

fn in_go(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_found_by_number_and_name() {
        let container = serde_json::from_value(json!({
            "name": "c", "ports": [{"name": "web", "containerPort": 8080}],
        }))
        .unwrap();
        let named = |name: &str| port(&IntOrString::String(name.into()), &container);
        assert_eq!(named("web"), Ok(8080));
        assert_eq!(named("81"), Ok(81));
        let wrong = "strconv.Atoi: parsing \"x\": invalid syntax";
        assert_eq!(named("x"), Err(Bad(wrong.into())));
        assert_eq!(port(&IntOrString::Int(80), &container), Ok(80));
        assert!(port(&IntOrString::Int(0), &container).is_err());
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_go_tells_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let timeout = Duration::from_secs(5);
        tcp("127.0.0.1", port, timeout).await.unwrap();
        drop(listener);
        let Bad(why) = tcp("127.0.0.1", port, timeout).await.unwrap_err();
        assert_eq!(
            why,
            format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
        );
    }
}
