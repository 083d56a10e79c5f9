//! Starting the command of one `exec`, with its descriptors.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use sealane_runtime::{Error, Exec, ExecIo, ExecSpec, Shim};

use super::descriptor::{Descriptor, pipe};
use super::exec::ExecOptions;
use super::exec_io::{STDERR, STDOUT};

/// The terminal's size until the client says otherwise.
const SIZE: (u16, u16) = (24, 80);

/// Our ends of the command's streams.
pub struct Streams {
    /// The command; dropping it kills it.
    pub exec: Exec,
    /// Its input; the terminal, if it has one.
    pub stdin: Option<Descriptor>,
    /// Its outputs by channel.
    pub outputs: Vec<(u8, Descriptor)>,
}

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The shim refused, or the command cannot be executed.
    #[error("{0}")]
    Shim(#[from] Error),
    /// This process is out of descriptors.
    #[error("make pipes: {0}")]
    Pipes(#[from] io::Error),
}

/// Starts a command with pipes, or on a terminal of the container's own.
///
/// # Errors
/// When the command cannot be executed.
pub async fn start(
    options: &ExecOptions,
    shim: &Shim,
    spec: &ExecSpec,
) -> Result<Streams, StartError> {
    if options.tty {
        let (rows, columns) = SIZE;
        let mut exec = shim.exec(spec, ExecIo::Terminal { rows, columns }).await?;
        let Some(near) = exec.terminal() else {
            return Err(io::Error::other("the shim gave no terminal").into());
        };
        // Two descriptors of one terminal, since one is written while the other is read.
        let writer = near.try_clone()?;
        let stdin = Some(Descriptor::new(writer)?);
        return Ok(Streams {
            exec,
            stdin,
            outputs: vec![(STDOUT, Descriptor::new(near)?)],
        });
    }
    let (stdin_far, stdin) = if options.stdin {
        let (far, near) = pipe()?;
        (far, Some(Descriptor::new(near)?))
    } else {
        (null()?, None)
    };
    let mut outputs = Vec::new();
    let mut far_ends = Vec::new();
    for (channel, wanted) in [(STDOUT, options.stdout), (STDERR, options.stderr)] {
        if wanted {
            let (near, far) = pipe()?;
            outputs.push((channel, Descriptor::new(near)?));
            far_ends.push(far);
        } else {
            far_ends.push(null()?);
        }
    }
    let (stderr, stdout) = (far_ends.pop(), far_ends.pop());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(io::Error::other("two streams were made").into());
    };
    let exec = shim
        .exec(spec, ExecIo::Fds([stdin_far, stdout, stderr]))
        .await?;
    Ok(Streams {
        exec,
        stdin,
        outputs,
    })
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}
