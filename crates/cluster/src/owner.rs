//! Which user a process runs as, and so who may read its files.

/// The user of the API server. Not in any user database: nothing else should
/// run as it. Between Debian's own ids and those that systemd hands out.
const APISERVER_UID: u32 = 60_443;
/// The user of the controllers.
const CONTROLLERS_UID: u32 = 60_444;

/// A user that processes of a cluster run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The superuser: what touches the kernel.
    Root,
    /// The API server, which needs no privilege at all.
    Apiserver,
    /// The controllers, which need none either.
    Controllers,
}

impl Owner {
    /// The user's (and its group's) number; `None` for the superuser.
    pub fn uid(self) -> Option<u32> {
        match self {
            Owner::Root => None,
            Owner::Apiserver => Some(APISERVER_UID),
            Owner::Controllers => Some(CONTROLLERS_UID),
        }
    }
}
