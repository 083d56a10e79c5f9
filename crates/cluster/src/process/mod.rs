//! Processes: which one a number means, and how to end it.
//!
//! A process id alone means little after a while, since the kernel gives it to
//! somebody else. Everything here goes by [`Identity`] (number and start time),
//! and acts through a pidfd (pidfd_open(2)) opened before the start time is
//! compared, so that no signal ever reaches a stranger.

mod find;
mod identity;
mod pidfd;

pub use find::{called_with, descendants, holders_of_sockets, in_netns};
pub use identity::Identity;
pub use pidfd::PidFd;
