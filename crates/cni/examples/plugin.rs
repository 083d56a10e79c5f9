//! The CNI plugin alone, as tests call it; users have it inside `sealane`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealane_cni::plugin::main()
}
