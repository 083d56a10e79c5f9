//! The server's arguments: its own, and those of the images that tutorials and
//! test suites use to serve HTTP, TCP and UDP.
//!
//! ```text
//!   echo-server ARGS…                                              the image sealane.io/echo
//!   echo-server --in-place-of IMAGE --declared PORTS -- WORDS…     by an alias, from the node process
//! ```
//!
//! Whoever names the image `sealane.io/echo` means it, so what is not understood
//! is an error. Behind an alias the words were written for another image: what
//! is not understood there is said in the log and ignored, and the ports that
//! the container declares are served, so that the manifest runs.

mod flags;
mod help;
mod programs;

use std::time::Duration;

use super::persona::Persona;

/// Served when nothing says otherwise.
const DEFAULT_PORT: u16 = 8080;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// To serve.
    Serve(Settings),
    /// To be told what can be asked for.
    Help,
    /// To wait, at most for so long.
    Wait(Option<Duration>),
    /// To be another program of this image, with these words.
    Program(Vec<String>),
}

/// What is served, and as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) sockets: Vec<Socket>,
    pub(super) persona: Persona,
    /// How long to serve on after having been asked to end.
    pub(super) linger: Duration,
    /// What is to be said before anything else.
    pub(super) notes: Vec<String>,
}

/// A port and what is served on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) port: u16,
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

impl Socket {
    pub(super) const fn both(port: u16) -> Self {
        Self {
            port,
            tcp: true,
            udp: true,
        }
    }

    pub(super) const fn tcp(port: u16) -> Self {
        Self {
            port,
            tcp: true,
            udp: false,
        }
    }

    pub(super) const fn udp(port: u16) -> Self {
        Self {
            port,
            tcp: false,
            udp: true,
        }
    }
}

pub(super) use help::{HELP, UNDERSTOOD};
#[cfg(test)]
pub(crate) use programs::NAMES;

/// Reads the arguments. `variable` is a port from the environment, which counts
/// where the arguments name none.
pub(super) fn read(args: &[String], variable: Option<&str>) -> Result<Wanted, String> {
    if args.first().is_some_and(|arg| arg == "--in-place-of") {
        return Standin::read(args)?.wanted(variable);
    }
    let Some(understood) = programs::understand(args, None)? else {
        return Err(format!(
            "unknown argument {:?}\n{UNDERSTOOD}",
            args.first().map_or("", String::as_str)
        ));
    };
    Ok(match understood {
        programs::Meaning::Serve(meaning) => {
            let variable = variable.map(ports).transpose()?;
            let default = variable.unwrap_or(vec![Socket::both(DEFAULT_PORT)]);
            Wanted::Serve(meaning.settle(default, Vec::new()))
        }
        programs::Meaning::Other(wanted) => wanted,
    })
}

/// A server in place of another image.
struct Standin<'a> {
    image: &'a str,
    declared: Vec<Socket>,
    notes: Vec<String>,
    words: &'a [String],
}

impl<'a> Standin<'a> {
    fn read(args: &'a [String]) -> Result<Self, String> {
        let [_, image, flag, declared, end, words @ ..] = args else {
            return Err("--in-place-of needs IMAGE --declared PORTS -- WORDS".into());
        };
        if flag != "--declared" || end != "--" {
            return Err("--in-place-of IMAGE is followed by --declared PORTS -- WORDS".into());
        }
        let mut notes = vec![format!("runs in place of {image}, by an alias")];
        Ok(Self {
            image,
            declared: declared_ports(declared, &mut notes)?,
            notes,
            words,
        })
    }

    fn wanted(mut self, variable: Option<&str>) -> Result<Wanted, String> {
        let words = self.words.join(" ");
        let meaning = match programs::understand(self.words, Some(self.image)) {
            Ok(Some(programs::Meaning::Other(wanted))) => return Ok(wanted),
            Ok(Some(programs::Meaning::Serve(meaning))) => meaning,
            Ok(None) => self.ignore(&format!("`{words}` is for another program")),
            Err(error) => self.ignore(&format!("`{words}`: {error}")),
        };
        let default = match variable.map(ports) {
            _ if !self.declared.is_empty() => self.declared,
            Some(Ok(variable)) => variable,
            _ => meaning.habit.unwrap_or_else(|| {
                vec![programs::habit(self.image).unwrap_or(Socket::both(DEFAULT_PORT))]
            }),
        };
        let meaning = programs::Served {
            habit: None,
            ..meaning
        };
        Ok(Wanted::Serve(meaning.settle(default, self.notes)))
    }

    fn ignore(&mut self, why: &str) -> programs::Served {
        self.notes.push(format!(
            "{why} and is ignored; the declared ports are served"
        ));
        programs::Served::default()
    }
}

/// `80/TCP,53/UDP`, or nothing.
fn declared_ports(text: &str, notes: &mut Vec<String>) -> Result<Vec<Socket>, String> {
    let mut sockets: Vec<Socket> = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let (number, protocol) = word.split_once('/').unwrap_or((word, "TCP"));
        let port = port(number)?;
        let (tcp, udp) = (protocol == "TCP", protocol == "UDP");
        if !tcp && !udp {
            notes.push(format!("port {port} is not served: {protocol} is not"));
            continue;
        }
        match sockets.iter_mut().find(|socket| socket.port == port) {
            Some(socket) => {
                socket.tcp |= tcp;
                socket.udp |= udp;
            }
            None => sockets.push(Socket { port, tcp, udp }),
        }
    }
    Ok(sockets)
}

/// `80,81`: ports for everything.
fn ports(text: &str) -> Result<Vec<Socket>, String> {
    let mut sockets: Vec<Socket> = Vec::new();
    for word in text.split(',') {
        let port = port(word)?;
        if !sockets.iter().any(|socket| socket.port == port) {
            sockets.push(Socket::both(port));
        }
    }
    Ok(sockets)
}

fn port(text: &str) -> Result<u16, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("port {text:?} is not a number from 0 to 65535"))
}

#[cfg(test)]
mod tests;
