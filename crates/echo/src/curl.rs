//! `curl`, as far as the examples of network tutorials use it: plain HTTP, with
//! the usual flags, messages and exit codes, so that a script or a habit that
//! works with the real one works in a pod of `sealane.io/echo`.

mod failure;
mod options;
mod request;
mod response;
mod transfer;
mod url;
mod write_out;

use std::process::ExitCode;

use failure::Failure;
use options::{Options, Parsed};

/// Runs the client.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let options = match options::parse(args) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(failure) => return report(&failure, true),
    };
    let mut last = ExitCode::SUCCESS;
    for url in &options.urls {
        if let Err(failure) = fetch(url, &options) {
            last = report(&failure, !options.silent || options.show_error);
        }
    }
    last
}

fn fetch(url: &str, options: &Options) -> Result<(), Failure> {
    let mut facts = write_out::Facts::default();
    let result = url::parse(url).and_then(|url| transfer::run(&url, options, &mut facts));
    if let Some(format) = &options.write_out {
        write_out::print(format, url, &facts);
    }
    result
}

fn report(failure: &Failure, aloud: bool) -> ExitCode {
    if aloud {
        eprintln!("curl: ({}) {}", failure.code, failure.text);
    }
    ExitCode::from(failure.code)
}
