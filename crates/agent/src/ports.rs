//! The host ports that the runtime asks for: capability `portMappings` (CNI conventions).

use std::net::IpAddr;

use sealane_cni::{
    protocol::Request,
    types::{CniError, code},
};
use sealane_net::Protocol;
use sealane_objects::PortMapping;
use serde_json::Value;

const FORM: &str = "each has hostPort and containerPort from 1 to 65535, protocol tcp, udp or sctp, \
                    and hostIP, an address of the node or nothing";

/// All of them, each once; an entry without `hostPort` asks for nothing.
///
/// # Errors
/// Code 7 with what was given and what was expected.
pub fn mappings(request: &Request) -> Result<Vec<PortMapping>, CniError> {
    let given = match request.runtime_config.get("portMappings") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(given)) => given,
        Some(other) => return Err(unfit(other)),
    };
    let asked = given
        .iter()
        .filter(|one| one["hostPort"] != 0 && !one["hostPort"].is_null());
    let mappings = asked.map(|one| mapping(one).ok_or_else(|| unfit(one)));
    let mut mappings = mappings.collect::<Result<Vec<_>, _>>()?;
    mappings.sort_unstable();
    mappings.dedup();
    Ok(mappings)
}

fn mapping(given: &Value) -> Option<PortMapping> {
    let port = |key: &str| {
        let number = u16::try_from(given[key].as_u64()?).ok()?;
        (number != 0).then_some(number)
    };
    let protocol = match &given["protocol"] {
        Value::Null => Protocol::Tcp,
        name => name.as_str()?.to_ascii_uppercase().parse().ok()?,
    };
    let host_ip = match &given["hostIP"] {
        Value::Null => None,
        text if text == "" => None,
        text => Some(text.as_str()?.parse::<IpAddr>().ok()?),
    };
    Some(PortMapping {
        protocol,
        host_port: port("hostPort")?,
        container_port: port("containerPort")?,
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
    })
}

fn unfit(given: &Value) -> CniError {
    let what = format!("use runtimeConfig.portMappings: {given} cannot be read");
    CniError::new(code::INVALID_CONFIG, what).with_details(FORM)
}

#[cfg(test)]
mod tests {
    use sealane_cni::types::Command;
    use serde_json::json;

    use super::*;

    fn read(given: Value) -> Result<Vec<String>, String> {
        let request = json!({"command": Command::Add, "network": "sealane", "runtime_config": {"portMappings": given}});
        let request: Request = serde_json::from_value(request).unwrap();
        let mappings = mappings(&request).map_err(|error| error.msg)?;
        let shown = mappings.iter();
        Ok(shown
            .map(|m| format!("{m} {} {}", m.protocol, m.container_port))
            .collect())
    }

    #[test]
    fn reads_what_runtimes_write_and_refuses_what_it_cannot_serve() {
        let all = json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
            {"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": "0.0.0.0"},
            {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "172.29.0.2"},
            {"hostPort": 0, "containerPort": 80},
            {"containerPort": 80},
        ]);
        assert_eq!(
            read(all).unwrap(),
            ["8080 TCP 80", "172.29.0.2:53 UDP 5353"]
        );
        assert_eq!(read(json!(null)).unwrap(), [""; 0]);
        for bad in [
            json!({}),
            json!([{"hostPort": 70000, "containerPort": 80}]),
            json!([{"hostPort": 80}]),
            json!([{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]),
            json!([{"hostPort": 80, "containerPort": 80, "hostIP": "here"}]),
        ] {
            let error = read(bad.clone()).unwrap_err();
            assert!(error.contains("portMappings"), "{bad}: {error}");
        }
    }
}
