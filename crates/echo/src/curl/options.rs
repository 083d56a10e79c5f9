//! curl's flags, as far as they are here.

use std::io::Read;
use std::time::Duration;

use super::failure::{Failure, READ, USAGE, failure};

/// Printed by `--help`.
pub(super) const HELP: &str = "\
Usage: curl [options...] <url>
 -s, --silent                  no messages
 -S, --show-error              messages even with -s
 -f, --fail                    no output and exit code 22 on a status from 400
 -i, --include                 print the response headers too
 -I, --head                    ask for the headers only
 -v, --verbose                 tell what is sent and received
 -o, --output <file>           write to a file
 -w, --write-out <format>      print at the end, as '%{http_code}'
 -X, --request <method>        method
 -d, --data <data>             POST this; @file reads it
 -H, --header <header>         add or replace a request header
 -m, --max-time <seconds>      for the whole transfer
     --connect-timeout <seconds>
 -4, --ipv4 / -6, --ipv6       one family only
This is the small curl of sealane.io/echo: plain HTTP, no redirects.
";

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) urls: Vec<String>,
    pub(super) silent: bool,
    pub(super) show_error: bool,
    pub(super) fail: bool,
    pub(super) include: bool,
    pub(super) head: bool,
    pub(super) verbose: bool,
    pub(super) output: Option<String>,
    pub(super) write_out: Option<String>,
    pub(super) method: Option<String>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) headers: Vec<String>,
    pub(super) max_time: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) family: Option<Family>,
}

/// The one family to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    Run(Box<Options>),
    Help,
}

/// Reads the arguments. Short flags may be joined, and may hold their value.
pub(super) fn parse(args: &[String]) -> Result<Parsed, Failure> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--help" || arg == "-h" {
            return Ok(Parsed::Help);
        }
        if let Some(long) = arg.strip_prefix("--") {
            let short = short_of(long).ok_or_else(|| unknown(arg))?;
            options.set(short, arg, "", &mut args)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            options.set_joined(arg, &mut args)?;
        } else {
            options.urls.push(arg.clone());
        }
    }
    if options.urls.is_empty() {
        return Err(failure(USAGE, "no URL specified"));
    }
    Ok(Parsed::Run(Box::new(options)))
}

/// The short name of a long flag; one without has a letter of its own here.
fn short_of(long: &str) -> Option<char> {
    Some(match long {
        "silent" => 's',
        "show-error" => 'S',
        "fail" => 'f',
        "include" => 'i',
        "head" => 'I',
        "verbose" => 'v',
        "output" => 'o',
        "write-out" => 'w',
        "request" => 'X',
        "data" | "data-ascii" | "data-binary" => 'd',
        "data-raw" => RAW_DATA,
        "header" => 'H',
        "user-agent" => 'A',
        "max-time" => 'm',
        "connect-timeout" => CONNECT_TIMEOUT,
        "ipv4" => '4',
        "ipv6" => '6',
        "no-progress-meter" => '#',
        _ => return None,
    })
}

const RAW_DATA: char = '\u{1}';
const CONNECT_TIMEOUT: char = '\u{2}';

fn unknown(arg: &str) -> Failure {
    failure(
        USAGE,
        format!("option {arg}: is unknown to this curl, see --help"),
    )
}

type Rest<'a> = std::slice::Iter<'a, String>;

impl Options {
    /// `-sSo/dev/null` is `-s -S -o /dev/null`.
    fn set_joined(&mut self, arg: &str, rest: &mut Rest<'_>) -> Result<(), Failure> {
        for (at, letter) in arg[1..].char_indices() {
            let after = &arg[1 + at + letter.len_utf8()..];
            if self.set(letter, &format!("-{letter}"), after, rest)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sets one flag; true if it has used up `after` as its value.
    fn set(
        &mut self,
        letter: char,
        name: &str,
        after: &str,
        rest: &mut Rest<'_>,
    ) -> Result<bool, Failure> {
        match letter {
            's' => self.silent = true,
            'S' => self.show_error = true,
            'f' => self.fail = true,
            'i' => self.include = true,
            'I' => self.head = true,
            'v' => self.verbose = true,
            '4' => self.family = Some(Family::V4),
            '6' => self.family = Some(Family::V6),
            // There is no progress meter.
            '#' => {}
            _ => {
                let value = match after {
                    "" => rest.next().cloned(),
                    after => Some(after.to_owned()),
                };
                return self.set_value(letter, name, value).map(|()| true);
            }
        }
        Ok(false)
    }

    fn set_value(
        &mut self,
        letter: char,
        name: &str,
        value: Option<String>,
    ) -> Result<(), Failure> {
        if !"owXdHAm\u{1}\u{2}".contains(letter) {
            return Err(unknown(name));
        }
        let value =
            value.ok_or_else(|| failure(USAGE, format!("option {name}: requires parameter")))?;
        match letter {
            'o' => self.output = Some(value),
            'w' => self.write_out = Some(value),
            'X' => self.method = Some(value),
            'H' => self.headers.push(value),
            'A' => self.headers.push(format!("User-Agent: {value}")),
            'm' => self.max_time = Some(seconds(name, &value)?),
            CONNECT_TIMEOUT => self.connect_timeout = Some(seconds(name, &value)?),
            RAW_DATA => self.add_data(value.into_bytes()),
            _ => self.add_data(data(&value)?),
        }
        Ok(())
    }

    fn add_data(&mut self, more: Vec<u8>) {
        match &mut self.data {
            None => self.data = Some(more),
            Some(data) => {
                data.push(b'&');
                data.extend(more);
            }
        }
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, Failure> {
    let seconds = value
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| {
        failure(
            USAGE,
            format!("option {name}: expected a proper numerical parameter"),
        )
    })
}

fn data(value: &str) -> Result<Vec<u8>, Failure> {
    let read = |result: std::io::Result<Vec<u8>>| {
        result.map_err(|e| failure(READ, format!("Failed to read data from {value:?}: {e}")))
    };
    match value.strip_prefix('@') {
        None => Ok(value.as_bytes().to_vec()),
        Some("-") => {
            let mut bytes = Vec::new();
            read(std::io::stdin().read_to_end(&mut bytes).map(|_| bytes))
        }
        Some(path) => read(std::fs::read(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Options {
        let args: Vec<String> = line.split(' ').map(String::from).collect();
        match parse(&args) {
            Ok(Parsed::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_join_and_hold_values() {
        let options = run("-sSfo/dev/null -w %{http_code} -m 2.5 --connect-timeout 1 -4 http://a");
        assert_eq!(
            options,
            Options {
                urls: vec!["http://a".into()],
                silent: true,
                show_error: true,
                fail: true,
                output: Some("/dev/null".into()),
                write_out: Some("%{http_code}".into()),
                max_time: Some(Duration::from_millis(2500)),
                connect_timeout: Some(Duration::from_secs(1)),
                family: Some(Family::V4),
                ..Options::default()
            }
        );
    }

    #[test]
    fn data_is_joined() {
        let options = run("a -d x=1 --data y=2 -XPUT -H A:b");
        assert_eq!(options.data.as_deref(), Some(&b"x=1&y=2"[..]));
        assert_eq!(options.method.as_deref(), Some("PUT"));
        assert_eq!(options.headers, ["A:b"]);
    }

    #[test]
    fn mistakes_have_code_two() {
        for (line, text) in [
            ("-s", "no URL specified"),
            ("a -m", "option -m: requires parameter"),
            ("a -m x", "option -m: expected a proper numerical parameter"),
            (
                "a --compressed",
                "option --compressed: is unknown to this curl, see --help",
            ),
            ("a -sk", "option -k: is unknown to this curl, see --help"),
        ] {
            let args: Vec<String> = line.split(' ').map(String::from).collect();
            assert_eq!(parse(&args), Err(failure(USAGE, text)), "{line}");
        }
    }
}
