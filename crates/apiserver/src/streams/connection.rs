//! What a connection is made with, as webhooks are shown it (`PodExecOptions` and the like).

use serde_json::{Value, json};

use crate::{kinds::NodeStream, request::Query, status::ApiError};

/// The options of a stream; `None` for one that only reads.
///
/// # Errors
///
/// 400 for a parameter that is no truth or no number.
pub fn options(stream: NodeStream, query: &Query) -> Result<Option<Value>, ApiError> {
    let mut options = json!({});
    match stream {
        NodeStream::Log => return Ok(None),
        NodeStream::PortForward => {
            let ports = query.all("ports").flat_map(|ports| ports.split(','));
            let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options["ports"] = json!(ports);
            }
            return Ok(Some(options));
        }
        NodeStream::Exec | NodeStream::Attach => {}
    }
    for name in ["stdin", "stdout", "stderr", "tty"] {
        if query.flag(name)? == Some(true) {
            options[name] = true.into();
        }
    }
    if let Some(container) = query.get("container") {
        options["container"] = container.into();
    }
    if stream == NodeStream::Exec {
        options["command"] = query.all("command").collect();
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_options() {
        for (stream, query, expected) in [
            (NodeStream::Log, "follow=true", None),
            (
                NodeStream::Exec,
                "command=sh&command=-c&stdin=true&tty=false&container=c",
                Some(json!({"command": ["sh", "-c"], "stdin": true, "container": "c"})),
            ),
            (
                NodeStream::Attach,
                "stdout=1",
                Some(json!({"stdout": true})),
            ),
            (
                NodeStream::PortForward,
                "ports=80,81",
                Some(json!({"ports": [80, 81]})),
            ),
        ] {
            assert_eq!(
                options(stream, &Query::parse(Some(query))).unwrap(),
                expected
            );
        }
    }
}
