//! A pod's limits, put on both ends of its link once that is made.

use std::os::fd::BorrowedFd;

use sealane_netlink::{Batch, Direct, Rate};

use super::WireError;
use crate::shape::Shape;

/// Sets the limits of a pod whose link was just made; after an error the link is taken away again.
///
/// # Errors
/// When the kernel refuses, for want of its module sch_tbf for instance.
pub fn limit(
    node: &mut Direct,
    home: BorrowedFd<'_>,
    netns: BorrowedFd<'_>,
    (near, far): (&str, &str),
    shape: Shape,
) -> Result<(), WireError> {
    let set = |socket: &mut Direct, link: &str, rate: Rate| -> Result<(), WireError> {
        let mut look = Batch::new();
        look.link(link);
        let found = socket.run_all(look)?;
        let mut batch = Batch::new();
        batch.set_rate(found.first().map_or(0, |link| link.index), rate);
        socket.run_all(batch)?;
        Ok(())
    };
    let mut limited = shape.ingress.map_or(Ok(()), |rate| set(node, near, rate));
    if let (Ok(()), Some(rate)) = (&limited, shape.egress) {
        let pod = Direct::open_in(netns, home).map_err(WireError::from);
        limited = pod.and_then(|mut pod| set(&mut pod, far, rate));
    }
    if limited.is_err() {
        let mut undo = Batch::new();
        undo.delete_link(near);
        if let Err(left) = node.run_all(undo)
            && !left.is_absent()
        {
            tracing::warn!("{left}");
        }
    }
    limited
}
