//! Profiles of the kind `Localhost`, in the format of OCI runtimes (OCI runtime specification,
//! "Linux Container Configuration", Seccomp), which container engines share with libseccomp.
//!
//! Read as containerd reads it: names of calls that this machine does not have are passed over,
//! since a profile is written for many kernels. What would weaken a profile if it were passed over
//! (an unknown action, operator or field) is an error. As with runc, calls that are newer than the
//! profile's reader fail with `ENOSYS`, unless the default is to allow them.

use std::str::FromStr;

use serde::Deserialize;
use syscalls::Sysno;

use super::SeccompProgram;
use super::policy::{Action, Compare, Condition, Policy};
use super::program;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not JSON of the format.
    #[error("decode: {0}")]
    Format(#[from] serde_json::Error),
    /// It asks for something that is not offered.
    #[error("{0}")]
    Unsupported(String),
    /// It is too long for the kernel.
    #[error("compile: {0}")]
    Compile(std::io::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    /// For people.
    #[serde(default, rename = "comment")]
    _comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Compiles a profile.
///
/// # Errors
/// [`ProfileError`], with what is wrong with it.
pub fn parse(json: &[u8]) -> Result<SeccompProgram, ProfileError> {
    let profile: Profile = serde_json::from_slice(json)?;
    check_architectures(&profile.architectures)?;
    let mut flags = 0;
    for flag in &profile.flags {
        flags |= flag_of(flag)?;
    }
    let policy = policy(&profile)?;
    let code = program::compile(&policy).map_err(ProfileError::Compile)?;
    Ok(SeccompProgram { code, flags })
}

fn unsupported<T>(what: String) -> Result<T, ProfileError> {
    Err(ProfileError::Unsupported(what))
}

fn policy(profile: &Profile) -> Result<Policy, ProfileError> {
    let default = action_of(&profile.default_action, profile.default_errno_ret)?;
    let unknown = match default {
        Action::Allow | Action::Log | Action::Trace(_) => default,
        _ => Action::Errno(libc::ENOSYS as u16),
    };
    let mut policy = Policy::new(default, unknown);
    for entry in profile.syscalls.iter().flatten() {
        let action = action_of(&entry.action, entry.errno_ret)?;
        let conditions = entry.args.iter().flatten().map(condition_of);
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        for name in &entry.names {
            if let Ok(call) = Sysno::from_str(name) {
                policy.add(call, conditions.clone(), action);
            }
        }
    }
    Ok(policy)
}

/// Programs of other architectures do not run under a filter at all, so a profile for several
/// loses nothing but them; one that has no place for this machine's is for another machine.
fn check_architectures(names: &[String]) -> Result<(), ProfileError> {
    let own = match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        other => return unsupported(format!("seccomp on {other} is not supported")),
    };
    if names.is_empty() || names.iter().any(|name| name == own) {
        return Ok(());
    }
    unsupported(format!("architectures: {own} is not among them"))
}

fn flag_of(name: &str) -> Result<u64, ProfileError> {
    match name {
        // For filters of threads that exist already; ours has one.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(0),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(libc::SECCOMP_FILTER_FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        other => unsupported(format!("flag {other:?} is not supported")),
    }
}

fn action_of(name: &str, errno: Option<u16>) -> Result<Action, ProfileError> {
    let errno = errno.unwrap_or(libc::EPERM as u16);
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(errno),
        "SCMP_ACT_TRACE" => Action::Trace(errno),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => return unsupported(format!("action {other:?} is not supported")),
    })
}

fn condition_of(argument: &Argument) -> Result<Condition, ProfileError> {
    let value = argument.value;
    if argument.index > 5 {
        let index = argument.index;
        return unsupported(format!("a system call has no argument {index}"));
    }
    let compare = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Compare::Equal(value),
        "SCMP_CMP_NE" => Compare::NotEqual(value),
        "SCMP_CMP_LT" => Compare::Less(value),
        "SCMP_CMP_LE" => Compare::LessOrEqual(value),
        "SCMP_CMP_GT" => Compare::Greater(value),
        "SCMP_CMP_GE" => Compare::GreaterOrEqual(value),
        "SCMP_CMP_MASKED_EQ" => Compare::Masked {
            mask: value,
            value: argument.value_two,
        },
        other => return unsupported(format!("operator {other:?} is not supported")),
    };
    Ok(Condition {
        argument: argument.index,
        compare,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::program::tests::walk;
    use super::*;

    fn parsed(profile: &Value) -> Result<SeccompProgram, String> {
        parse(profile.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn profiles_say_what_is_answered() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
            "syscalls": [
                {"names": ["mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
                {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
                    {"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}]},
            ],
        });
        let program = parsed(&profile).unwrap();
        let of =
            |call: Sysno, second| walk(&program.code, call.id() as u32, [0, second, 0, 0, 0, 0]);
        assert_eq!(of(Sysno::read, 0), libc::SECCOMP_RET_ALLOW);
        assert_eq!(of(Sysno::mkdirat, 0), libc::SECCOMP_RET_ERRNO | 13);
        assert_eq!(of(Sysno::kill, 15), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(of(Sysno::kill, 9), libc::SECCOMP_RET_ALLOW);
        assert_eq!(walk(&program.code, 9999, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn what_is_newer_than_a_strict_profile_is_absent() {
        let program = parsed(&json!({"defaultAction": "SCMP_ACT_KILL"})).unwrap();
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        assert_eq!(walk(&program.code, 9999, [0; 6]), absent);
        assert_eq!(
            walk(&program.code, 0, [0; 6]),
            libc::SECCOMP_RET_KILL_THREAD
        );
    }

    #[test]
    fn what_would_weaken_a_profile_is_an_error() {
        let allow = "SCMP_ACT_ALLOW";
        for (profile, word) in [
            (json!({}), "missing field `defaultAction`"),
            (
                json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
                "action \"SCMP_ACT_NOTIFY\" is not supported",
            ),
            (
                json!({"defaultAction": allow, "listenerPath": "/x"}),
                "unknown field `listenerPath`",
            ),
            (
                json!({"defaultAction": allow, "flags": ["X"]}),
                "flag \"X\" is not supported",
            ),
            (
                json!({"defaultAction": allow, "architectures": ["SCMP_ARCH_MIPS"]}),
                "is not among them",
            ),
            (
                json!({"defaultAction": allow, "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
                "no argument 6",
            ),
            (
                json!({"defaultAction": allow, "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_KILL",
                "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}),
                "unknown field `includes`",
            ),
        ] {
            let error = parsed(&profile).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
