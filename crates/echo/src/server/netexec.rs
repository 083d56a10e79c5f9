//! The paths and commands of `agnhost netexec`, which Kubernetes' network tests ask.
//!
//! Not there: `/shell` and `/upload`, since this image has no shell, and nothing
//! that a test of a network would want from them.

use std::time::{Duration, SystemTime};

use super::errand::{Dial, Errand};
use super::http;
use super::persona::{Answer, Around, Content};
use super::query::Query;
use super::report::Request;

/// Most questions that one `/dial` asks.
const MAX_TRIES: u32 = 100;

/// Answers a request.
pub(super) fn answer(around: Around<'_>, request: Request) -> Answer {
    let query = Query::of(&request.path);
    let content = match query.path {
        "/hostname" | "/hostName" => Content::text(&around.identity.name),
        "/clientip" => Content::text(around.peer.to_string()),
        "/echo" => echo(&query),
        "/header" => Content::text(header(&request, &query)),
        "/healthz" => Content::text(""),
        "/redirect" => redirect(&query),
        "/dial" => return dial(&query),
        "/shutdown" => return Answer::Errand(Errand::End { code: 0 }),
        "/exit" => return Answer::Errand(exit(&query)),
        "/shell" | "/upload" => {
            let path = query.path;
            Content::text(format!("{path} is not served by this image\n"))
                .with_status((501, http::words(501)))
        }
        "/" => Content::text(format!("NOW: {}", now())),
        _ => Content::text("404 page not found\n").with_status((404, http::words(404))),
    };
    Answer::Content(content)
}

fn echo(query: &Query<'_>) -> Content {
    let code = query.value("code").and_then(|code| code.parse().ok());
    let content = Content::text(query.value("msg").unwrap_or_default());
    match code {
        Some(code @ 200..600) => content.with_status((code, http::words(code))),
        _ => content,
    }
}

fn header(request: &Request, query: &Query<'_>) -> String {
    let key = query.value("key").unwrap_or_default();
    let mut headers = request.headers.iter();
    let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(&key));
    found.map_or_else(String::new, |(_, value)| value.clone())
}

fn redirect(query: &Query<'_>) -> Content {
    let code = query.value("code").and_then(|code| code.parse().ok());
    let code = code.filter(|code| (300..400).contains(code)).unwrap_or(302);
    Content {
        location: Some(query.value("location").unwrap_or_default()),
        ..Content::text("").with_status((code, http::words(code)))
    }
}

fn exit(query: &Query<'_>) -> Errand {
    let code = query.value("code").and_then(|code| code.parse().ok());
    let code = code.filter(|code| (0..128).contains(code)).unwrap_or(0);
    Errand::End { code }
}

/// Asks somebody else: `/dial?host=H&port=P&protocol=http|udp&request=R&tries=N`.
pub(super) fn dial(query: &Query<'_>) -> Answer {
    let bad = |words: &str| {
        let content = Content::text(format!("{words}\n"));
        Answer::Content(content.with_status((400, http::words(400))))
    };
    let Some(host) = query.value("host").filter(|host| !host.is_empty()) else {
        return bad("host is missing");
    };
    let Some(port) = query.value("port").and_then(|port| port.parse().ok()) else {
        return bad("port is missing or no port");
    };
    let protocol = query.value("protocol").unwrap_or_default();
    let udp = match protocol.as_str() {
        "" | "http" => false,
        "udp" => true,
        other => {
            return bad(&format!(
                "protocol {other:?} is not served: http and udp are"
            ));
        }
    };
    let tries = query.value("tries").and_then(|tries| tries.parse().ok());
    Answer::Errand(Errand::Dial(Dial {
        host,
        port,
        udp,
        request: query.value("request").unwrap_or_else(|| "hostname".into()),
        tries: tries.unwrap_or(1).clamp(1, MAX_TRIES),
    }))
}

/// Answers a datagram: `hostname`, `clientip`, `echo TEXT`.
pub(super) fn datagram(around: Around<'_>, payload: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(payload);
    let text = text.trim_matches(['\0', ' ', '\n', '\r']);
    let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
    match command.to_ascii_lowercase().as_str() {
        "hostname" => around.identity.name.clone(),
        "clientip" => around.peer.to_string(),
        "echo" => rest.to_owned(),
        _ => format!("unknown udp command {text:?}: hostname, clientip and echo TEXT are known"),
    }
    .into_bytes()
}

/// Seconds since 1970: there is no need for a calendar in this image.
fn now() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.as_ref().map_or(0, Duration::as_secs).to_string()
}
