//! A daemon holds what it uses, not what it has used once.
//!
//! All daemons are one binary of some 40 MB, and most of the memory of each is what it has mapped of that: the
//! kernel maps a page together with its neighbours, and a start touches much that does not run again (command
//! line, TLS, first lists). The kernel takes such mappings back only when the machine runs out of memory.
//!
//! So each daemon lets go of all of them, a moment after its start and each minute: what it uses comes back by
//! itself, from memory, and the rest is the kernel's to drop. Free memory of the heap goes back as well.

use std::{
    ffi::{c_int, c_void},
    ptr, slice,
    time::Duration,
};

use nix::libc;

/// When what belongs to the start is over.
const STARTED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps this process small until it is dropped.
pub async fn keep_small() {
    tokio::time::sleep(STARTED).await;
    loop {
        let_go();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lets go of code and constants, and of free memory, once.
pub fn let_go() {
    // SAFETY: the callback is called while this function runs, and keeps nothing.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_program), ptr::null_mut()) };
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time; it takes the locks of the heap.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Called for the program first, and for shared libraries only if it does not return 1.
unsafe extern "C" fn let_go_of_program(
    program: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: `dl_iterate_phdr` hands over a structure that lives through the call, and it says how
    // many headers stand at its address.
    let (base, headers) = unsafe {
        let program = &*program;
        let headers = slice::from_raw_parts(program.dlpi_phdr, program.dlpi_phnum.into());
        (program.dlpi_addr, headers)
    };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            forget(base + header.p_vaddr, header.p_memsz);
        }
    }
    1
}

/// Empties the mapping of the whole pages in a range that nobody writes to.
fn forget(start: u64, length: u64) {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = u64::try_from(page) else {
        return;
    };
    let first = start.next_multiple_of(page);
    let Some(length) = (start + length)
        .checked_sub(first)
        .map(|length| length / page * page)
    else {
        return;
    };
    // SAFETY: the pages are of a segment that is not writable, so each is as in the file, from where
    // it comes back when it is used. A refusal changes nothing.
    unsafe { libc::madvise(first as *mut c_void, length as usize, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In kilobytes.
    fn mapped_of_files() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:"));
        let kb = line.unwrap().split_whitespace().nth(1).unwrap();
        kb.parse().unwrap()
    }

    #[test]
    fn what_is_not_used_is_not_held_and_what_is_used_comes_back() {
        // Much of this program, as a start does.
        let page = 4096;
        let code = mapped_of_files as *const () as usize / page * page;
        // SAFETY: tells the kernel to map pages that are there.
        unsafe { libc::madvise(code as *mut c_void, 64 * page, libc::MADV_POPULATE_READ) };
        let before = mapped_of_files();
        let_go();
        let after = mapped_of_files();
        assert!(after < before, "{after} kB after {before} kB");
    }
}
