//! Edge: a command in a container whose output is wanted and short.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use sealane_runtime::{ExecIo, ExecSpec, Shim};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// More of the output is not kept, as in the kubelet.
const LONGEST_OUTPUT: usize = 10 << 10;

/// Runs a command to its end; its exit code, and the beginning of what it wrote. Dropping the
/// future kills it.
///
/// # Errors
/// When it could not be run, in a sentence.
pub async fn run(
    shim: &Shim,
    container: &str,
    command: &[String],
) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        container: container.to_owned(),
        command: command.to_vec(),
        ..ExecSpec::default()
    };
    let (near, far) = pipe2(OFlag::O_CLOEXEC).map_err(|error| format!("make a pipe: {error}"))?;
    let io = descriptors(far).map_err(|error| format!("open descriptors: {error}"))?;
    let mut exec = shim
        .exec(&spec, io)
        .await
        .map_err(|error| error.to_string())?;
    let output = read(near);
    tokio::pin!(output);
    // What a child of the command holds open must not keep us.
    let mut text = None;
    let code = loop {
        tokio::select! {
            biased;
            read = &mut output, if text.is_none() => text = Some(read),
            code = exec.wait() => break code.map_err(|error| error.to_string())?,
        }
    };
    let text = match text {
        Some(text) => text,
        None => tokio::time::timeout(std::time::Duration::from_millis(100), output)
            .await
            .unwrap_or_default(),
    };
    Ok((code, String::from_utf8_lossy(&text).into_owned()))
}

/// No input, and one pipe for both outputs.
fn descriptors(output: OwnedFd) -> io::Result<ExecIo> {
    let null = File::open("/dev/null")?;
    Ok(ExecIo::Fds([null.into(), output.try_clone()?, output]))
}

/// Reads to the end, and keeps the beginning.
async fn read(near: OwnedFd) -> Vec<u8> {
    let mut kept = Vec::new();
    let Ok(mut near) = Receiver::from_owned_fd(near) else {
        return kept;
    };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = near.read(&mut buffer).await {
        let room = LONGEST_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}
