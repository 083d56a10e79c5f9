//! The CNI plugin: what a container runtime executes.
//!
//! It checks parameters and configuration, opens the network namespace, hands
//! both to the agent and prints the answer in the version that was asked for.
//! Everything that needs state or privileges happens in the agent.
//!
//! DEL does not open the namespace: the agent removes the host's end of the
//! pod's link, by a name that follows from container and interface, and the
//! kernel removes the other end with it. So DEL works when the namespace is
//! gone, and cannot touch another one that has taken its path. A DEL that
//! finds no agent is left for it, see [`spool`](crate::spool).

mod agent;
mod bridge;
mod netns;

use std::{
    env,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
};

use serde_json::{Map, Value, json};

use crate::{
    protocol::{DEFAULT_SOCKET, Request, Response},
    spool::{DEFAULT_SPOOL, Deletion, Spool},
    types::{AddResult, CniError, Command, Dns, Mode, Params, PluginConf, Refused, Version, code},
};

pub use agent::call as ask_agent;

/// Runs the plugin as the environment and standard input say.
///
/// Exits with 0 and a result on standard output, or with 1 and an error
/// object there, as the specification asks.
pub fn main() -> ExitCode {
    let (value, exit) = match run() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(result)) => (result, ExitCode::SUCCESS),
        Err(failure) => (failure.error.to_value(failure.version), ExitCode::FAILURE),
    };
    let mut text = value.to_string();
    text.push('\n');
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => exit,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> Result<Option<Value>, Refused> {
    let latest = |error| Refused {
        version: Version::LATEST,
        error,
    };
    let params = Params::read(|name| env::var_os(name)).map_err(latest)?;
    let mut stdin = Vec::new();
    io::stdin().read_to_end(&mut stdin).map_err(|e| {
        latest(CniError::new(
            code::IO_FAILURE,
            format!("read network configuration from standard input: {e}"),
        ))
    })?;
    if params.command == Command::Version {
        return Ok(Some(versions(&stdin)));
    }
    let conf = PluginConf::parse(&stdin)?;
    let version = conf.cni_version;
    exists_in(params.command, version)
        .and_then(|()| call(params, conf, &stdin))
        .map_err(|error| Refused { version, error })
}

/// VERSION: what is spoken, repeating the version that was asked with.
fn versions(stdin: &[u8]) -> Value {
    let asked = serde_json::from_slice::<Value>(stdin)
        .ok()
        .and_then(|conf| conf.get("cniVersion")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| Version::LATEST.to_string());
    json!({
        "cniVersion": asked,
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}

/// CHECK came with 0.4.0, GC and STATUS with 1.1.0.
fn exists_in(command: Command, version: Version) -> Result<(), CniError> {
    let since = match command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    Err(CniError::new(
        code::INCOMPATIBLE_VERSION,
        format!("{command} with cniVersion {version}: it exists since {since}"),
    )
    .with_details("call it with a newer cniVersion, or not at all"))
}

fn call(params: Params, conf: PluginConf, stdin: &[u8]) -> Result<Option<Value>, CniError> {
    let netns = match (params.command, &params.netns) {
        (Command::Add | Command::Check, Some(path)) => Some(netns::open(path)?),
        _ => None,
    };
    let socket = conf.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET));
    let request = Request {
        command: params.command,
        network: conf.name,
        container_id: params.container_id,
        ifname: params.ifname,
        netns: params
            .netns
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        args: params.args,
        runtime_config: conf.runtime_config.clone(),
        prev_result: conf
            .prev_result
            .clone()
            .filter(|_| params.command == Command::Check),
        valid_attachments: conf.valid_attachments,
    };
    if conf.mode == Mode::Bridge {
        let keys = serde_json::from_slice(stdin).unwrap_or_default();
        let result = bridge::call(&request, &keys, netns)?;
        let dns = dns_of(&conf.runtime_config).unwrap_or(conf.dns);
        return Ok(result.map(|made| printed(made, conf.prev_result, dns, conf.cni_version)));
    }
    let answer = match agent::call(socket, &request, netns.as_ref().map(AsFd::as_fd)) {
        Ok(answer) => answer,
        Err(away) if request.command == Command::Del => {
            let spool = Spool::new(conf.spool.unwrap_or_else(|| DEFAULT_SPOOL.into()));
            return leave(&spool, request, away).map(|()| None);
        }
        Err(away) => return Err(for_command(request.command, away)),
    };
    match answer {
        Response::Added(result) => Ok(Some(printed(
            result,
            conf.prev_result,
            dns_of(&conf.runtime_config).unwrap_or(conf.dns),
            conf.cni_version,
        ))),
        Response::Done => Ok(None),
        Response::Failed(error) => Err(error),
    }
}

/// A DEL without an agent: it will be carried out, so the runtime may go on.
fn leave(spool: &Spool, request: Request, away: CniError) -> Result<(), CniError> {
    let deletion = Deletion {
        network: request.network,
        container_id: request.container_id,
        ifname: request.ifname,
    };
    spool.put(&deletion).map_err(|error| CniError {
        msg: format!(
            "{}; leave the DEL for it in {}: {error}",
            away.msg,
            spool.dir().display()
        ),
        ..away
    })
}

/// An agent that is away means "try again" to ADD and "not available" to STATUS.
fn for_command(command: Command, error: CniError) -> CniError {
    match (command, error.code) {
        (Command::Status, code::TRY_AGAIN_LATER) => CniError {
            code: code::NOT_AVAILABLE,
            ..error
        },
        _ => error,
    }
}

/// The capability `dns`, which has names of its own (CNI conventions, "dns").
fn dns_of(runtime_config: &Map<String, Value>) -> Option<Dns> {
    let dns = runtime_config.get("dns")?;
    let list = |key: &str| -> Vec<String> {
        let texts = dns.get(key).and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let dns = Dns {
        nameservers: list("servers"),
        search: list("searches"),
        options: list("options"),
        ..Dns::default()
    };
    (!dns.is_empty()).then_some(dns)
}

/// The agent's result as the runtime wants it: behind that of the chain, with the configured DNS.
fn printed(made: AddResult, before: Option<AddResult>, dns: Dns, version: Version) -> Value {
    let ours = AddResult {
        dns: if made.dns.is_empty() { dns } else { made.dns },
        ..made
    };
    ours.appended_to(before).to_value(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_repeats_what_it_was_asked_with_and_survives_rubbish() {
        let all = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
        for (stdin, asked) in [
            (&br#"{"cniVersion":"0.4.0"}"#[..], "0.4.0"),
            (b"", "1.1.0"),
            (b"[", "1.1.0"),
        ] {
            assert_eq!(
                versions(stdin),
                json!({"cniVersion": asked, "supportedVersions": all})
            );
        }
    }

    #[test]
    fn commands_are_refused_in_versions_that_do_not_have_them() {
        for (command, since) in [
            (Command::Check, 1),
            (Command::Gc, 3),
            (Command::Status, 3),
            (Command::Add, 0),
            (Command::Del, 0),
        ] {
            for (n, version) in Version::ALL.into_iter().enumerate() {
                let result = exists_in(command, version);
                assert_eq!(result.is_ok(), n >= since, "{command} in {version}");
                if let Err(error) = result {
                    assert_eq!(error.code, code::INCOMPATIBLE_VERSION);
                }
            }
        }
    }

    #[test]
    fn the_runtimes_dns_is_read_by_the_names_of_its_capability() {
        let config = json!({"dns": {"servers": ["10.96.0.10"], "searches": ["a.local"], "options": ["ndots:5"]}});
        let dns = dns_of(config.as_object().unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(dns).unwrap(),
            json!({"nameservers": ["10.96.0.10"], "search": ["a.local"], "options": ["ndots:5"]})
        );
        for nothing in [json!({}), json!({"dns": {}}), json!({"dns": 7})] {
            assert_eq!(dns_of(nothing.as_object().unwrap()), None);
        }
    }

    #[test]
    fn dns_of_the_configuration_is_passed_on() {
        let dns = Dns {
            domain: "cluster.local".into(),
            ..Dns::default()
        };
        let result = printed(AddResult::default(), None, dns, Version::V1_0_0);
        assert_eq!(
            result,
            json!({"cniVersion": "1.0.0", "dns": {"domain": "cluster.local"}})
        );
    }
}
