//! Takes the schemas of Kubernetes' types, with what is said of each field, out of the source of
//! `k8s-openapi`, and packs them for `src/library.rs`.
//!
//! The library carries them as code, behind its feature `schemars`. To enable that would make every
//! build of the library and every binary larger by code that builds the same constants at run time;
//! to commit them here would make others' sentences ours. So they are read where cargo has put them.

mod literal;
mod pack;
mod source;

use std::{env, error::Error, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("pack the schemas of k8s-openapi: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let folder = source::folder()?;
    let types = source::types(&folder)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    pack::write(&types, &out)
}
