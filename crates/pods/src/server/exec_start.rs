//! Starting the command of one `exec`, with its descriptors.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use sealane_runtime::{Error, Exec, ExecIo, ExecSpec, Shim};

use super::descriptor::{Descriptor, pipe};
use super::session::carry::{Ends, Input};
use super::session::{Output, Wanted};

/// The terminal's size until the client says otherwise.
const SIZE: (u16, u16) = (24, 80);

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

/// Starts a command with pipes, or on a terminal of the container's own. Dropping it kills it.
///
/// # Errors
/// When the command cannot be executed.
pub async fn start(
    wanted: Wanted,
    shim: &Shim,
    spec: &ExecSpec,
) -> Result<(Exec, Ends), StartError> {
    if wanted.tty {
        let (rows, columns) = SIZE;
        let mut exec = shim.exec(spec, ExecIo::Terminal { rows, columns }).await?;
        let Some(near) = exec.terminal() else {
            return Err(io::Error::other("the shim gave no terminal").into());
        };
        let ends = on_terminal(near, wanted)?;
        return Ok((exec, ends));
    }
    let (stdin_far, input) = if wanted.stdin {
        let (far, near) = pipe()?;
        (far, Some(Input::new(near)?))
    } else {
        (null()?, None)
    };
    let mut outputs = Vec::new();
    let mut far_ends = Vec::new();
    for (output, wanted) in [
        (Output::Stdout, wanted.stdout),
        (Output::Stderr, wanted.stderr),
    ] {
        if wanted {
            let (near, far) = pipe()?;
            outputs.push((output, Descriptor::new(near)?));
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
    let ends = Ends {
        input,
        terminal: None,
        outputs,
    };
    Ok((exec, ends))
}

/// A descriptor of one terminal for each use, since one is written while another is read.
fn on_terminal(near: OwnedFd, wanted: Wanted) -> io::Result<Ends> {
    let input = match wanted.stdin {
        true => Some(Input::new(near.try_clone()?)?),
        false => None,
    };
    Ok(Ends {
        input,
        terminal: Some(Descriptor::new(near.try_clone()?)?),
        outputs: vec![(Output::Stdout, Descriptor::new(near)?)],
    })
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}
