//! The programs of `sealane.io/echo` by themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealane_echo::main(std::env::args_os())
}
