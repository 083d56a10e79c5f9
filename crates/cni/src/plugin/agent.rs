//! The call to the agent.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use crate::{
    protocol::{self, MAX_LINE, Request, Response},
    types::{CniError, code},
};

/// How long the agent may take. Runtimes wait for minutes; an agent that does
/// not answer within this time is stuck, and the runtime should hear of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request with the namespace's descriptor and waits for the answer.
///
/// # Errors
/// Code 11, with the socket's path and what to check, when the agent cannot be
/// reached or goes away before it has answered.
pub fn call(
    socket: &Path,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
) -> Result<Response, CniError> {
    let answer = exchange(socket, request, netns).map_err(|e| away(socket, &e))?;
    serde_json::from_slice(&answer).map_err(|e| {
        CniError::new(
            code::DECODE_FAILURE,
            format!("read answer of the agent at {}: {e}", socket.display()),
        )
        .with_details("plugin and agent may be of different versions; a restart of the agent installs its own plugin")
    })
}

fn exchange(
    socket: &Path,
    request: &Request,
    netns: Option<BorrowedFd<'_>>,
) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = protocol::line(request);
    let sent = protocol::send(stream.as_fd(), &line, netns)?;
    stream.write_all(&line[sent..])?;
    read_line(&mut stream)
}

fn read_line(stream: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(b"\n") {
        match stream.read(&mut chunk) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "connection closed before an answer",
                ));
            }
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", PATIENCE.as_secs()),
                ));
            }
            Err(e) => return Err(e),
        }
        if answer.len() > MAX_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "answer is too long",
            ));
        }
    }
    Ok(answer)
}

fn away(socket: &Path, error: &io::Error) -> CniError {
    CniError::new(
        code::TRY_AGAIN_LATER,
        format!("reach the node's agent at {}: {error}; try again later", socket.display()),
    )
    .with_details(format!(
        "is `sealane agent` running on this node? It listens on {}; its log says why when it does not",
        socket.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, os::unix::net::UnixListener, thread};

    use super::*;
    use crate::types::Command;

    fn status() -> Request {
        Request {
            command: Command::Status,
            network: "sealane".into(),
            container_id: String::new(),
            ifname: String::new(),
            netns: String::new(),
            args: Default::default(),
            runtime_config: Default::default(),
            prev_result: None,
            valid_attachments: None,
        }
    }

    #[test]
    fn an_agent_that_is_away_means_try_again_and_names_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let missing = call(&socket, &status(), None).unwrap_err();
        drop(UnixListener::bind(&socket).unwrap());
        let dead = call(&socket, &status(), None).unwrap_err();
        for error in [missing, dead] {
            assert_eq!(error.code, code::TRY_AGAIN_LATER);
            assert!(error.msg.contains(&socket.display().to_string()), "{error}");
            assert!(error.details.contains("sealane agent"), "{error}");
        }
    }

    #[test]
    fn an_agent_that_dies_while_it_works_means_try_again() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = thread::spawn(move || drop(listener.accept()));
        let error = call(&socket, &status(), None).unwrap_err();
        agent.join().unwrap();
        assert_eq!(error.code, code::TRY_AGAIN_LATER, "{error}");
    }

    #[test]
    fn reads_one_line_however_it_is_cut() {
        let answer = read_line(&mut Cursor::new(b"{\"done\":null}\n".to_vec())).unwrap();
        assert_eq!(answer, b"{\"done\":null}\n");
        assert!(read_line(&mut Cursor::new(b"{".to_vec())).is_err());
        assert!(read_line(&mut Cursor::new(vec![b'x'; MAX_LINE + 10_000])).is_err());
    }
}
