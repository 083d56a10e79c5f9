use std::{
    collections::BTreeMap, ffi::OsString, fmt, os::unix::ffi::OsStrExt, path::PathBuf, str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{CniError, code, is_valid_identifier};

/// `CNI_COMMAND`, CNI spec 1.1.0 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Command {
    const ALL: [Command; 6] = [
        Command::Add,
        Command::Del,
        Command::Check,
        Command::Status,
        Command::Gc,
        Command::Version,
    ];

    /// The command as `CNI_COMMAND` holds it.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Status => "STATUS",
            Command::Gc => "GC",
            Command::Version => "VERSION",
        }
    }

    /// Whether the command is about one interface of one container.
    pub fn has_attachment(self) -> bool {
        matches!(self, Command::Add | Command::Del | Command::Check)
    }

    /// Whether the command cannot be done without the network namespace.
    fn needs_netns(self) -> bool {
        matches!(self, Command::Add | Command::Check)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Command {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|c| c.as_str() == text).ok_or(())
    }
}

/// The parameters that a plugin gets in its environment.
///
/// Those that the command does not need are empty, whatever was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub command: Command,
    /// `CNI_CONTAINERID`: starts with a letter or digit, then letters, digits, `_`, `.`, `-`.
    pub container_id: String,
    /// `CNI_NETNS`; absent or empty is allowed in DEL alone.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`: a name that Linux accepts for a link.
    pub ifname: String,
    /// `CNI_ARGS`: `A=B;C=D`.
    pub args: BTreeMap<String, String>,
}

impl Params {
    /// Reads and checks the parameters; `get` is the environment.
    ///
    /// # Errors
    /// Code 4, with the name of every variable that is missing or invalid,
    /// since a caller who is told one at a time has to try as many times.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let mut wrong = Vec::new();
        let mut text = |name: &str| match get(name) {
            None => None,
            Some(value) => value.into_string().map_or_else(
                |_| {
                    wrong.push(format!("{name} is not UTF-8"));
                    None
                },
                |value| Some(value).filter(|value| !value.is_empty()),
            ),
        };
        let (command, id, ifname, args) = (
            text("CNI_COMMAND"),
            text("CNI_CONTAINERID"),
            text("CNI_IFNAME"),
            text("CNI_ARGS"),
        );
        let netns = get("CNI_NETNS").filter(|path| !path.is_empty());
        let Some(command) = check_command(command, &mut wrong) else {
            return Err(invalid(&wrong));
        };
        let mut params = Params {
            command,
            container_id: String::new(),
            netns: None,
            ifname: String::new(),
            args: BTreeMap::new(),
        };
        if command.has_attachment() {
            params.container_id = check_container_id(id, &mut wrong);
            params.ifname = check_ifname(ifname, &mut wrong);
            params.args = check_args(args.as_deref(), &mut wrong);
            params.netns = netns.map(PathBuf::from);
            if command.needs_netns() && params.netns.is_none() {
                wrong.push(format!("CNI_NETNS is missing, {command} needs it"));
            }
            if let Some(path) = &params.netns
                && path.as_os_str().as_bytes().contains(&0)
            {
                wrong.push("CNI_NETNS contains a zero byte".into());
            }
        }
        if wrong.is_empty() {
            Ok(params)
        } else {
            Err(invalid(&wrong))
        }
    }
}

fn invalid(wrong: &[String]) -> CniError {
    CniError::new(
        code::INVALID_ENVIRONMENT,
        format!("invalid environment: {}", wrong.join("; ")),
    )
    .with_details("the container runtime sets these variables (CNI spec 1.1.0 §2)")
}

/// What is wrong with the names of an attachment, one phrase each. The agent asks too, since
/// whoever may open its socket need not be our plugin.
pub fn attachment_faults(container_id: &str, ifname: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    check_container_id(Some(container_id.to_owned()), &mut wrong);
    check_ifname(Some(ifname.to_owned()), &mut wrong);
    wrong
}

fn check_command(given: Option<String>, wrong: &mut Vec<String>) -> Option<Command> {
    let list = || Command::ALL.map(Command::as_str).join(", ");
    match given.as_deref().map(str::parse) {
        Some(Ok(command)) => return Some(command),
        Some(Err(())) => wrong.push(format!(
            "CNI_COMMAND is {:?}, expected one of {}",
            given.unwrap_or_default(),
            list()
        )),
        None => wrong.push(format!(
            "CNI_COMMAND is missing, expected one of {}",
            list()
        )),
    }
    None
}

fn check_container_id(given: Option<String>, wrong: &mut Vec<String>) -> String {
    match given {
        Some(id) if is_valid_identifier(&id) => return id,
        Some(id) => wrong.push(format!(
            "CNI_CONTAINERID is {id:?}, expected a letter or digit, then letters, digits, '_', '.' or '-'"
        )),
        None => wrong.push("CNI_CONTAINERID is missing".into()),
    }
    String::new()
}

/// CNI spec 0.4.0 §Parameters, and `dev_valid_name` of the kernel.
fn check_ifname(given: Option<String>, wrong: &mut Vec<String>) -> String {
    let unfit = |name: &str| {
        name.is_empty()
            || name.len() > 15
            || name == "."
            || name == ".."
            || name
                .chars()
                .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
    };
    match given {
        Some(name) if !unfit(&name) => return name,
        Some(name) => wrong.push(format!(
            "CNI_IFNAME is {name:?}, expected 1 to 15 bytes without '/', ':' or white space"
        )),
        None => wrong.push("CNI_IFNAME is missing".into()),
    }
    String::new()
}

fn check_args(given: Option<&str>, wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for pair in given
        .unwrap_or_default()
        .split(';')
        .filter(|p| !p.is_empty())
    {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                args.insert(key.to_owned(), value.to_owned());
            }
            _ => wrong.push(format!("CNI_ARGS has {pair:?}, expected KEY=VALUE")),
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Params, CniError> {
        Params::read(|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
    ];

    fn add_with(name: &'static str, value: &'static str) -> String {
        let mut variables = ADD.to_vec();
        variables.retain(|(n, _)| *n != name);
        variables.push((name, value));
        let error = read(&variables).expect_err("accepted");
        assert_eq!(error.code, code::INVALID_ENVIRONMENT);
        assert!(
            error.msg.contains(name),
            "{} is not named in {}",
            name,
            error.msg
        );
        error.msg
    }

    #[test]
    fn reads_what_a_runtime_gives() {
        let mut variables = ADD.to_vec();
        variables.push(("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=a;EMPTY="));
        let params = read(&variables).unwrap();
        assert_eq!(params.command, Command::Add);
        assert_eq!(params.netns, Some(PathBuf::from("/run/netns/a")));
        assert_eq!(params.args["K8S_POD_NAME"], "a");
        assert_eq!(params.args["EMPTY"], "");
    }

    #[test]
    fn refuses_tricks_in_names() {
        for id in ["../../etc", "a/b", "-a", ".", "a b", "é", ""] {
            add_with("CNI_CONTAINERID", id);
        }
        for name in [
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\nb",
            "sixteen-letters!",
            "",
        ] {
            add_with("CNI_IFNAME", name);
        }
        add_with("CNI_COMMAND", "add");
        add_with("CNI_NETNS", "");
        add_with("CNI_ARGS", "=x");
        add_with("CNI_ARGS", "K8S_POD_NAME");
    }

    #[test]
    fn names_everything_that_is_wrong_at_once() {
        let error = read(&[("CNI_COMMAND", "ADD")]).unwrap_err();
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
            assert!(error.msg.contains(name), "{}", error.msg);
        }
    }

    #[test]
    fn del_does_without_a_namespace_and_status_without_a_container() {
        let del = read(&[
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "abc"),
            ("CNI_IFNAME", "eth0"),
        ]);
        assert_eq!(del.unwrap().netns, None);
        assert_eq!(
            read(&[("CNI_COMMAND", "STATUS")]).unwrap().command,
            Command::Status
        );
    }
}
