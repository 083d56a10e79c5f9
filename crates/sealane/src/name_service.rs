//! Names of hosts and users, without the machine's plugins for them.
//!
//! glibc resolves names through modules that `/etc/nsswitch.conf` lists, and
//! loads them at run time. A static binary that loads one gets a second C
//! library into its process and may crash. What glibc itself holds since 2.34,
//! `files` and `dns`, needs no module, so these alone are asked.

/// Decides it for this process; call it before anything resolves a name.
#[cfg(target_env = "gnu")]
pub fn keep_to_builtin() {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// `<nss.h>`: overrides one line of nsswitch.conf. Copies what it needs.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    const LINES: [(&CStr, &CStr); 3] = [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
    ];
    for (database, services) in LINES {
        // SAFETY: both are terminated strings that live for ever, and no other thread exists yet.
        // It fails only for a database that glibc does not know.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Other C libraries have no such modules.
#[cfg(not(target_env = "gnu"))]
pub fn keep_to_builtin() {}
