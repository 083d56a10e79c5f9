//! The standard streams of a container: pipes, or a terminal of its own.
//!
//! Input is kept open here, for whoever attaches to it: a container that asked for `stdin` waits
//! for them. Without, it reads the end at once.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::init::CommandIo;
use crate::protocol::Window;
use crate::spec::ContainerSpec;

/// The size of a terminal until somebody attaches.
const WINDOW: Window = Window {
    rows: 24,
    columns: 80,
};

/// The shim's end of a container's input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) fd: OwnedFd,
    /// It ends with the first who attaches to it.
    pub(super) once: bool,
}

/// The ends of a container's streams.
pub(super) struct Streams {
    /// The child's.
    pub(super) far: CommandIo,
    /// Where its output is read, unless it has a terminal, which comes with its report.
    pub(super) outputs: [Option<OwnedFd>; 2],
    /// Where its input is written.
    pub(super) input: Option<Input>,
}

impl Streams {
    /// The streams that a container asks for.
    pub(super) fn of(spec: &ContainerSpec) -> io::Result<Self> {
        if spec.tty {
            return Ok(Self {
                far: CommandIo::Terminal(WINDOW),
                outputs: [None, None],
                input: None,
            });
        }
        let (stdin, input) = if spec.stdin {
            let (far, near) = io::pipe()?;
            let input = Input {
                fd: near.into(),
                once: spec.stdin_once,
            };
            (far.into(), Some(input))
        } else {
            (File::open("/dev/null")?.into(), None)
        };
        let (stdout, stdout_end) = io::pipe()?;
        let (stderr, stderr_end) = io::pipe()?;
        Ok(Self {
            far: CommandIo::Fds([stdin, stdout_end.into(), stderr_end.into()]),
            outputs: [Some(stdout.into()), Some(stderr.into())],
            input,
        })
    }
}
