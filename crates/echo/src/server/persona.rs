//! As what the server answers: as itself, or as one of the programs whose
//! arguments it was given.
//!
//! | persona | HTTP | TCP | UDP |
//! |---|---|---|---|
//! | Report | a report, and a few paths | a line of report, then the bytes | the same |
//! | Netexec | agnhost's paths | as Report | agnhost's commands |
//! | Hostname | the name on every path | the name, then the end, with `--tcp` | the name |
//! | Text | a text on every path | as Report | as Report |
//! | Whoami | whoami's report | as Report | as Report |
//! | Bytes | — | the bytes | the bytes |

use std::net::SocketAddr;

use super::errand::Errand;
use super::http::{self, Status};
use super::netexec;
use super::query::Query;
use super::report::{Identity, Report, Request};
use super::whoami;

/// As what the server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Persona {
    /// Itself.
    #[default]
    Report,
    /// `agnhost netexec`
    Netexec {
        /// Answers every request as if for this path.
        instead: Option<String>,
    },
    /// `agnhost serve-hostname`
    Hostname {
        /// Says the name to whoever connects, without being asked.
        tcp: bool,
        /// Ends a connection after each answer.
        close: bool,
    },
    /// `hashicorp/http-echo`
    Text {
        /// What is answered.
        text: String,
        /// With this status.
        status: u16,
    },
    /// `traefik/whoami`
    Whoami {
        /// A name of its own.
        name: String,
    },
    /// `nc -l`, `socat`
    Bytes,
}

/// Who was asked by whom.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) identity: &'a Identity,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// What an HTTP request gets.
#[derive(Debug)]
pub(super) enum Answer {
    /// A response.
    Content(Content),
    /// Something that takes time, or ends the server.
    Errand(Errand),
}

/// A response.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) status: Status,
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) location: Option<String>,
}

impl Content {
    /// A text with status 200.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            status: http::OK,
            kind: "text/plain; charset=utf-8",
            text: text.into(),
            location: None,
        }
    }

    /// A JSON text with status 200.
    pub(super) fn json(text: String) -> Self {
        Self {
            kind: "application/json",
            ..Self::text(text)
        }
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }
}

impl Persona {
    /// Answers a request.
    pub(super) fn answer(&self, around: Around<'_>, mut request: Request) -> Answer {
        if let Self::Netexec {
            instead: Some(path),
        } = self
        {
            request.path.clone_from(path);
        }
        let content = match self {
            Self::Hostname { .. } => Content::text(&around.identity.name),
            Self::Text { text, status } => fixed(text, *status, &request),
            Self::Whoami { name } => whoami::answer(name, around, &request),
            Self::Netexec { .. } => return netexec::answer(around, request),
            Self::Report | Self::Bytes => return report(around, request),
        };
        Answer::Content(content)
    }

    /// Whether connections end after an answer.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Self::Hostname { close: true, .. })
    }

    /// Whether bytes come back as they are.
    pub(super) fn is_mute(&self) -> bool {
        *self == Self::Bytes
    }

    /// What a connection hears before it has said anything; it is over then.
    pub(super) fn greeting(&self, identity: &Identity) -> Option<String> {
        let speaks_first = matches!(self, Self::Hostname { tcp: true, .. });
        speaks_first.then(|| format!("{}\n", identity.name))
    }

    /// What a datagram gets, unless a report and itself.
    pub(super) fn datagram(&self, around: Around<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hostname { .. } => Some(around.identity.name.clone().into_bytes()),
            Self::Netexec { .. } => Some(netexec::datagram(around, payload)),
            Self::Bytes => Some(payload.to_vec()),
            _ => None,
        }
    }
}

fn fixed(text: &str, status: u16, request: &Request) -> Content {
    if Query::of(&request.path).path == "/health" {
        return Content::json("{\"status\":\"ok\"}\n".into());
    }
    Content::text(format!("{text}\n")).with_status((status, http::words(status)))
}

fn report(around: Around<'_>, request: Request) -> Answer {
    let query = Query::of(&request.path);
    let content = match query.path {
        "/hostname" => Content::text(format!("{}\n", around.identity.name)),
        "/health" | "/healthz" | "/readyz" | "/livez" => Content::text("ok\n"),
        "/clientip" => Content::text(format!("{}\n", around.peer)),
        "/echo" if query.value("msg").is_some() => {
            Content::text(query.value("msg").unwrap_or_default())
        }
        "/dial" if query.value("host").is_some() => return netexec::dial(&query),
        _ => {
            let wants_json = wants_json(&query, &request);
            let Around {
                identity,
                local,
                peer,
            } = around;
            let report = Report::new(identity, "http", local, peer, Some(request.clone()));
            match wants_json {
                true => Content::json(report.json()),
                false => Content::text(report.text()),
            }
        }
    };
    Answer::Content(content)
}

fn wants_json(query: &Query<'_>, request: &Request) -> bool {
    query.value("format").as_deref() == Some("json")
        || request.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("accept") && value.contains("application/json")
        })
}
