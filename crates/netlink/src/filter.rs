//! Classic BPF: which packets of a socket wake somebody.

use std::io;
use std::os::fd::AsRawFd;

use nix::libc::{self, sock_filter};

/// Loads two bytes at an offset.
pub(crate) const LOAD_HALF_WORD: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
/// Loads a byte at an offset.
pub(crate) const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
/// Skips as many steps as it says, depending on what was loaded.
pub(crate) const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// Takes so many bytes of the packet.
pub(crate) const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// The whole packet.
pub(crate) const ALL: u32 = u32::MAX;

/// One step of a program.
pub(crate) fn step(code: u32, yes: u8, no: u8, value: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k: value,
    }
}

/// Lets a socket have only what a program takes.
pub(crate) fn attach(socket: &impl AsRawFd, program: &mut [sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies `filter` and the instructions that it points to, both alive here.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(set)?;
    Ok(())
}
