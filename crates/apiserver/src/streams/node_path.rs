//! What a node is asked: the paths and parameters of the kubelet.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::log_options;
use crate::{kinds::NodeStream, request::Query, status::ApiError};

/// The annotation that says which container is meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The path on the node, with its parameters.
pub fn node_path(stream: NodeStream, pod: &Value, query: &Query) -> Result<String, ApiError> {
    let place = |service: &str| {
        let (namespace, name) = (crate::object::namespace(pod), crate::object::name(pod));
        format!("/{service}/{namespace}/{name}")
    };
    Ok(match stream {
        NodeStream::Log => {
            let container = container(pod, query)?;
            let parameters = [
                "follow",
                "previous",
                "sinceSeconds",
                "sinceTime",
                "timestamps",
                "tailLines",
                "limitBytes",
                "stream",
            ];
            log_options::check(crate::object::name(pod), query)?;
            let parameters = parameters.iter().map(|name| (*name, *name));
            format!(
                "{}/{container}{}",
                place("containerLogs"),
                forwarded(query, parameters)
            )
        }
        NodeStream::Exec | NodeStream::Attach => {
            let container = container(pod, query)?;
            let mut wanted = Vec::new();
            for (ours, nodes) in [
                ("stdin", "input"),
                ("stdout", "output"),
                ("stderr", "error"),
                ("tty", "tty"),
            ] {
                if query.flag(ours)?.unwrap_or(false) {
                    wanted.push((nodes, "1"));
                }
            }
            if !wanted.iter().any(|(name, _)| *name != "tty") {
                let why = "you must specify at least 1 of stdin, stdout, stderr";
                return Err(ApiError::bad_request(why));
            }
            let command: Vec<&str> = query.all("command").collect();
            if stream == NodeStream::Exec && command.is_empty() {
                return Err(ApiError::bad_request(
                    "you must specify a command to execute",
                ));
            }
            wanted.extend(command.into_iter().map(|word| ("command", word)));
            let service = if stream == NodeStream::Exec {
                "exec"
            } else {
                "attach"
            };
            format!("{}/{container}{}", place(service), encoded(&wanted))
        }
        NodeStream::PortForward => {
            let ports: Vec<(&str, &str)> = query
                .all("ports")
                .flat_map(|ports| ports.split(','))
                .map(|port| ("port", port))
                .collect();
            format!("{}{}", place("portForward"), encoded(&ports))
        }
    })
}

/// The container that is meant.
fn container(pod: &Value, query: &Query) -> Result<String, ApiError> {
    let names = |part: &str| -> Vec<&str> {
        let containers = pod["spec"][part].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let name = crate::object::name(pod);
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    match (query.get("container"), main.as_slice()) {
        (Some(asked), _) if main.contains(&asked) || init.contains(&asked) => Ok(asked.into()),
        (Some(asked), _) => Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        (None, [only]) => Ok((*only).into()),
        (None, _) => match annotated.filter(|annotated| main.contains(annotated)) {
            Some(annotated) => Ok(annotated.into()),
            None => {
                let mut choice = format!("choose one of: [{}]", main.join(" "));
                if !init.is_empty() {
                    let _ = write!(
                        choice,
                        " or one of the init containers: [{}]",
                        init.join(" ")
                    );
                }
                Err(ApiError::bad_request(format!(
                    "a container name must be specified for pod {name}, {choice}"
                )))
            }
        },
    }
}

fn forwarded<'a>(query: &'a Query, names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<(&str, &str)> = names
        .filter_map(|(ours, nodes)| Some((nodes, query.get(ours)?)))
        .collect();
    encoded(&pairs)
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: Value) -> Value {
        json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {"containers": containers}})
    }

    fn path(stream: NodeStream, pod: &Value, query: &str) -> String {
        node_path(stream, pod, &Query::parse(Some(query))).unwrap_or_else(|error| error.message)
    }

    #[test]
    fn requests_are_said_in_the_nodes_words() {
        let one = pod(json!([{"name": "c"}]));
        let two = pod(json!([{"name": "a"}, {"name": "b"}]));
        for (stream, pod, query, expected) in [
            (NodeStream::Log, &one, "", "/containerLogs/ns/p/c"),
            (
                NodeStream::Log,
                &two,
                "container=b&follow=true&tailLines=5",
                "/containerLogs/ns/p/b?follow=true&tailLines=5",
            ),
            (
                NodeStream::Log,
                &two,
                "",
                "a container name must be specified for pod p, choose one of: [a b]",
            ),
            (
                NodeStream::Log,
                &one,
                "container=x",
                "container x is not valid for pod p",
            ),
            (
                NodeStream::Exec,
                &one,
                "command=sh&command=-c&command=a%26b+c&stdin=true&stdout=true&tty=true",
                "/exec/ns/p/c?input=1&output=1&tty=1&command=sh&command=%2Dc&command=a%26b%20c",
            ),
            (
                NodeStream::Exec,
                &one,
                "stdout=true",
                "you must specify a command to execute",
            ),
            (
                NodeStream::Exec,
                &one,
                "command=sh",
                "you must specify at least 1 of stdin, stdout, stderr",
            ),
            (
                NodeStream::Attach,
                &one,
                "stdout=1&stderr=1",
                "/attach/ns/p/c?output=1&error=1",
            ),
            (
                NodeStream::PortForward,
                &one,
                "ports=80,81",
                "/portForward/ns/p?port=80&port=81",
            ),
        ] {
            assert_eq!(path(stream, pod, query), expected, "{query}");
        }
        let mut annotated = two;
        annotated["metadata"]["annotations"] = json!({ DEFAULT_CONTAINER: "b" });
        assert_eq!(
            path(NodeStream::Log, &annotated, ""),
            "/containerLogs/ns/p/b"
        );
    }
}
