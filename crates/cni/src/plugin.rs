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
mod parent;

use std::{
    env,
    ffi::OsString,
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
use parent::Parent;

pub use agent::call as ask_agent;
pub(crate) use bridge::BridgeConf;
pub use parent::PARENT_VARIABLE;

/// Room for a configuration; reading it in one piece saves the kernel some calls.
const CONFIGURATION: usize = 4096;

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
    let parent = Parent::watch().map_err(latest)?;
    match read(|name| env::var_os(name), &mut io::stdin())? {
        Asks::Answered(value) => Ok(Some(value)),
        Asks::For(call) => {
            let version = call.conf.cni_version;
            call.perform(&parent)
                .map_err(|error| Refused { version, error })
        }
    }
}

/// What the environment and standard input ask for.
pub(crate) enum Asks {
    /// It is answered with this alone.
    Answered(Value),
    For(Box<Call>),
}

/// A call that was checked as far as that is possible without the kernel.
pub(crate) struct Call {
    pub(crate) params: Params,
    pub(crate) conf: PluginConf,
    /// The whole configuration, for keys of mode `bridge`.
    pub(crate) keys: Value,
}

/// Reads and checks a call; `get` is the environment.
///
/// # Errors
/// As [`Params::read`] and [`PluginConf::parse`], 5 when standard input cannot
/// be read, and 1 for a command that the version does not have.
pub(crate) fn read(
    get: impl Fn(&str) -> Option<OsString>,
    input: &mut impl Read,
) -> Result<Asks, Refused> {
    let latest = |error| Refused {
        version: Version::LATEST,
        error,
    };
    let params = Params::read(get).map_err(latest)?;
    let mut text = Vec::with_capacity(CONFIGURATION);
    input.read_to_end(&mut text).map_err(|e| {
        latest(
            CniError::new(
                code::IO_FAILURE,
                format!("read network configuration from standard input: {e}"),
            )
            .with_details("the runtime must write it there and close it"),
        )
    })?;
    if params.command == Command::Version {
        return Ok(Asks::Answered(versions(&text)));
    }
    let conf = PluginConf::parse(&text)?;
    let version = conf.cni_version;
    exists_in(params.command, version).map_err(|error| Refused { version, error })?;
    let keys = match conf.mode {
        Mode::Bridge => serde_json::from_slice(&text).unwrap_or_default(),
        Mode::Agent => Value::Null,
    };
    Ok(Asks::For(Box::new(Call { params, conf, keys })))
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

impl Call {
    /// What the agent is asked.
    pub(crate) fn request(&self) -> Request {
        let (params, conf) = (&self.params, &self.conf);
        let netns = params.netns.as_deref().map(Path::to_string_lossy);
        Request {
            command: params.command,
            network: conf.name.clone(),
            container_id: params.container_id.clone(),
            ifname: params.ifname.clone(),
            netns: netns.unwrap_or_default().into_owned(),
            args: params.args.clone(),
            runtime_config: conf.runtime_config.clone(),
            prev_result: conf
                .prev_result
                .clone()
                .filter(|_| params.command == Command::Check),
            valid_attachments: conf.valid_attachments.clone(),
        }
    }

    fn perform(self, parent: &Parent) -> Result<Option<Value>, CniError> {
        let netns = match (self.params.command, &self.params.netns) {
            (Command::Add | Command::Check, Some(path)) => Some(netns::open(path)?),
            _ => None,
        };
        let request = self.request();
        let conf = self.conf;
        parent.is_waiting()?;
        if conf.mode == Mode::Bridge {
            let made = bridge::call(&request, &self.keys, netns)?;
            return Ok(made.map(|made| printed(made, conf)));
        }
        let socket = conf.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET));
        let answer = match agent::call(socket, &request, netns.as_ref().map(AsFd::as_fd)) {
            Ok(answer) => answer,
            Err(away) if request.command == Command::Del => {
                let spool = Spool::new(conf.spool.unwrap_or_else(|| DEFAULT_SPOOL.into()));
                return leave(&spool, request, away).map(|()| None);
            }
            Err(away) => return Err(for_command(request.command, away)),
        };
        match answer {
            Response::Added(made) => Ok(Some(printed(made, conf))),
            Response::Done => Ok(None),
            Response::Failed(error) => Err(error),
        }
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

/// What was made as the runtime wants it: behind the result of the chain, with the DNS
/// of the runtime or of the configuration.
fn printed(made: AddResult, conf: PluginConf) -> Value {
    let asked = || dns_of(&conf.runtime_config).unwrap_or(conf.dns);
    let ours = AddResult {
        dns: if made.dns.is_empty() {
            asked()
        } else {
            made.dns
        },
        ..made
    };
    ours.appended_to(conf.prev_result)
        .to_value(conf.cni_version)
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
        let conf = json!({"cniVersion": "1.0.0", "name": "a", "dns": {"domain": "cluster.local"}});
        let conf = PluginConf::parse(conf.to_string().as_bytes()).unwrap();
        let result = printed(AddResult::default(), conf);
        assert_eq!(
            result,
            json!({"cniVersion": "1.0.0", "dns": {"domain": "cluster.local"}})
        );
    }
}
