//! `attach`: the streams of a container's own process, from now on.
//!
//! The shim copies output into pipes without waiting (see `sealane_runtime`), so they are made
//! large: a client that is a little slower than the container misses nothing. The session ends
//! with the container, or with the client, or with this process; the container does not mind.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use hyper::body::Incoming;
use hyper::{Request, Response};
use nix::fcntl::{FcntlArg, fcntl};
use sealane_runtime::{Attach, AttachSpec, Error, Shim};
use tokio::sync::oneshot;

use super::answer::{Body, Refusal};
use super::descriptor::{Descriptor, pipe};
use super::session::carry::{Ends, Input, carry};
use super::session::{self, Client, Output, Wanted, outcome};
use super::target::Target;

/// What a pipe may hold for a slow client; the kernel's limit for a user is a MiB.
const PIPE_BYTES: i32 = 1 << 20;

/// Upgrades the connection, then follows the container or says why not.
///
/// # Errors
/// When the client speaks neither WebSocket nor SPDY.
pub fn answer(
    target: Result<Target, Refusal>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let work = prepare(target, request.uri().query().unwrap_or_default());
    session::open(request, work, |client, wanted, (shim, name)| async move {
        run(client, wanted, &shim, name).await;
    })
}

fn prepare(
    target: Result<Target, Refusal>,
    query: &str,
) -> Result<(Wanted, (Shim, String)), Refusal> {
    let target = target?;
    let wanted = Wanted::parse(query)?;
    let shim = target.running()?;
    Ok((wanted, (shim, target.container)))
}

/// Why a container is not followed.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("{0}")]
    Shim(#[from] Error),
    #[error("make pipes: {0}")]
    Pipes(#[from] io::Error),
}

async fn run(mut client: Client, wanted: Wanted, shim: &Shim, container: String) {
    // What is said meanwhile waits in the pipes.
    let (_, attached) = tokio::join!(client.greet(), attach(wanted, shim, container));
    let status = match attached {
        Ok((attached, ends, input_ended)) => {
            match carry(ends, &mut client, follow(attached, input_ended)).await {
                Some(Ok(())) => outcome::success(),
                Some(Err(error)) => outcome::internal(&error.to_string()),
                None => return,
            }
        }
        Err(error) => outcome::internal(&error.to_string()),
    };
    client.end(&status).await;
}

/// Waits for the container's end, and tells the shim of the end of input meanwhile. The end of
/// the shim is the container's as well.
async fn follow(attached: Attach, input_ended: oneshot::Receiver<()>) -> Result<(), Error> {
    match wait(attached, input_ended).await {
        Err(Error::Gone { .. }) => Ok(()),
        other => other,
    }
}

async fn wait(mut attached: Attach, input_ended: oneshot::Receiver<()>) -> Result<(), Error> {
    let told = tokio::select! {
        over = attached.wait() => return over,
        told = input_ended => told,
    };
    if told.is_ok() {
        attached.close_input().await?;
    }
    attached.wait().await
}

async fn attach(
    wanted: Wanted,
    shim: &Shim,
    container: String,
) -> Result<(Attach, Ends, oneshot::Receiver<()>), AttachError> {
    let mut outputs = Vec::new();
    let mut far_ends = Vec::new();
    for (output, wanted) in [
        (Output::Stdout, wanted.stdout),
        (Output::Stderr, wanted.stderr),
    ] {
        if wanted {
            let (near, far) = large_pipe()?;
            outputs.push((output, Descriptor::new(near)?));
            far_ends.push(far);
        }
    }
    let spec = AttachSpec {
        container,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let mut attached = shim.attach(&spec, far_ends).await?;
    let (tell, input_ended) = oneshot::channel();
    let shared = attached.descriptor().map(File::from);
    let terminal = shared.as_ref().filter(|_| attached.is_terminal());
    let terminal = terminal.map(File::try_clone).transpose()?;
    let input = shared.filter(|_| attached.takes_input());
    let ends = Ends {
        terminal: terminal
            .map(|file| Descriptor::new(file.into()))
            .transpose()?,
        input: input.map(|file| input_of(file.into(), tell)).transpose()?,
        outputs,
    };
    Ok((attached, ends, input_ended))
}

fn input_of(fd: OwnedFd, tell: oneshot::Sender<()>) -> io::Result<Input> {
    Ok(Input {
        ended: Some(tell),
        ..Input::new(fd)?
    })
}

fn large_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (near, far) = pipe()?;
    // A smaller one works as well, for clients that keep up.
    let _smaller = fcntl(&near, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok((near, far))
}
