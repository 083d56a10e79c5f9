//! Programs that this binary is under other names, or for other programs.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What the arguments and the environment ask for, before any parser.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    /// A program of the image `sealane.io/echo`; its name is the first argument.
    Applet(Vec<OsString>),
    /// `sealane node`, which starts a pod's shim.
    Shim(Vec<OsString>),
    /// A container runtime, which calls a CNI plugin.
    Cni,
    /// Anybody else: a command line for people.
    Other,
}

/// Runs one of them, if it is meant.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    match caller(args, std::env::var_os("CNI_COMMAND").is_some()) {
        Caller::Applet(args) => Some(sealane_echo::main(args)),
        Caller::Shim(args) => Some(sealane_runtime::shim_main(args)),
        Caller::Cni => Some(sealane_cni::plugin::main()),
        Caller::Other => None,
    }
}

/// A plugin is called without arguments (CNI spec 1.1 §2); `sealane cni` is for
/// calling it by hand. `CNI_COMMAND` alone decides nothing: a person may have it
/// set while trying a plugin out.
fn caller(args: &[OsString], cni_command: bool) -> Caller {
    let program = args.first().map(Path::new).and_then(Path::file_name);
    if program.is_some_and(|name| sealane_echo::APPLETS.iter().any(|applet| name == *applet)) {
        return Caller::Applet(args.to_vec());
    }
    match args.get(1).and_then(|word| word.to_str()) {
        Some("shim") => Caller::Shim(args[2..].to_vec()),
        Some("echo") => Caller::Applet(args[1..].to_vec()),
        Some("cni") => Caller::Cni,
        None if args.len() < 2 && cni_command => Caller::Cni,
        _ => Caller::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, cni_command, expected) in [
            (
                "/usr/bin/curl -s http://a",
                false,
                Caller::Applet(words("/usr/bin/curl -s http://a")),
            ),
            ("echo-server", true, Caller::Applet(words("echo-server"))),
            (
                "sealane echo --port 80",
                false,
                Caller::Applet(words("echo --port 80")),
            ),
            (
                "sealane shim a/b /dir",
                false,
                Caller::Shim(words("a/b /dir")),
            ),
            ("/opt/cni/bin/sealane", true, Caller::Cni),
            ("sealane cni", false, Caller::Cni),
            ("sealane", false, Caller::Other),
            ("sealane up", true, Caller::Other),
            ("sealane shims", false, Caller::Other),
        ] {
            assert_eq!(caller(&words(line), cni_command), expected, "{line}");
        }
    }
}
