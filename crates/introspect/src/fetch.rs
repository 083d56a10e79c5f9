//! The other end of a debug socket: one request, one answer, without a runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("ask {socket} for {url}: {source}; is the daemon running?")]
pub struct FetchError {
    socket: PathBuf,
    url: String,
    source: io::Error,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks a daemon's debug socket; `url` is a path such as `/debug/state`. Blocks for at most a few seconds.
///
/// # Errors
/// When nobody answers, or the answer is not HTTP.
pub fn fetch(socket: &Path, method: &str, url: &str) -> Result<Fetched, FetchError> {
    converse(socket, method, url).map_err(|source| FetchError {
        socket: socket.to_owned(),
        url: url.to_owned(),
        source,
    })
}

fn converse(socket: &Path, method: &str, url: &str) -> io::Result<Fetched> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0, so that the body ends where the connection does and is never chunked.
    write!(
        stream,
        "{method} {url} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Fetched> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(Fetched {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_an_answer_into_status_and_body() {
        let fetched =
            parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot\r\n\r\nready").unwrap();
        assert_eq!(
            (fetched.status, fetched.body.as_str()),
            (503, "not\r\n\r\nready")
        );
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn nobody_there_is_said_with_the_socket() {
        let error = fetch(Path::new("/nowhere.sock"), "GET", "/healthz").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ask /nowhere.sock for /healthz: No such file")
        );
    }
}
