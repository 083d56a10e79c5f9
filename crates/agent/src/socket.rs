//! The CNI socket: one connection for each call of the plugin.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
    time::Duration,
};

use anyhow::Context;
use sealane_cni::{
    protocol::{self, MAX_LINE, Request, Response},
    types::{CniError, attachment_faults, code},
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time,
};

use crate::{
    answer,
    core::{Message, Reply},
};

/// The plugin sends its request at once; whoever does not is no plugin.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the socket, which only root can open. The caller holds the lock of
/// the state folder, so a socket that is there is a killed agent's.
///
/// # Errors
/// When the folder or the socket cannot be made.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let bind = || -> io::Result<UnixListener> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Bound beside and renamed, so that a plugin finds a socket that listens or none.
        let beside = path.with_extension("new");
        remove(&beside)?;
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&beside, path)?;
        Ok(listener)
    };
    bind().with_context(|| format!("listen for the CNI plugin on {}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Accepts until it is dropped.
pub async fn serve(listener: UnixListener, inbox: mpsc::Sender<Message>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, inbox.clone()));
            }
            Err(error) => {
                tracing::warn!("accept a connection of the CNI plugin: {error}");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, inbox: mpsc::Sender<Message>) {
    let response = match time::timeout(REQUEST_TIMEOUT, read(&stream)).await {
        Ok(Ok((request, netns))) => match faults(&request) {
            faults if !faults.is_empty() => Response::Failed(answer::unfit(&faults)),
            _ => match ask(&inbox, request, netns).await {
                Some(response) => response,
                // The core is ending: the plugin sees the connection close and says "try again".
                None => return,
            },
        },
        Ok(Err(error)) => refuse(&format!("read request of the plugin: {error}")),
        Err(_) => refuse("read request of the plugin: it did not come in time"),
    };
    // A plugin that was killed meanwhile is followed by a DEL.
    let _ = stream.write_all(&protocol::line(&response)).await;
}

fn faults(request: &Request) -> Vec<String> {
    match request.command.has_attachment() {
        true => attachment_faults(&request.container_id, &request.ifname),
        false => Vec::new(),
    }
}

async fn ask(
    inbox: &mpsc::Sender<Message>,
    request: Request,
    netns: Option<OwnedFd>,
) -> Option<Response> {
    let (reply, answer) = Reply::channel();
    let message = Message::Request {
        request: Box::new(request),
        netns,
        reply,
    };
    inbox.send(message).await.ok()?;
    answer.await.ok()
}

fn refuse(why: &str) -> Response {
    tracing::warn!("{why}");
    Response::Failed(
        CniError::new(code::DECODE_FAILURE, why)
            .with_details("plugin and agent may be of different versions"),
    )
}

async fn read(stream: &UnixStream) -> io::Result<(Request, Option<OwnedFd>)> {
    let mut line = Vec::new();
    let mut netns = None;
    let mut chunk = [0; 4096];
    while !line.ends_with(b"\n") {
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || {
            protocol::receive(stream.as_fd(), &mut chunk)
        });
        match received {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((n, fd)) => {
                line.extend_from_slice(&chunk[..n]);
                netns = netns.or(fd);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if line.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
        }
    }
    Ok((serde_json::from_slice(&line)?, netns))
}
