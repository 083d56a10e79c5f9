//! A pod's limits, put on both ends of its link once that is made, and looked at later.

use std::os::fd::BorrowedFd;

use sealane_netlink::{Batch, Direct, Netlink, Rate};

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

/// A near end whose pod receives no more than this.
pub struct Limited {
    pub link: String,
    pub index: u32,
    pub rate: Rate,
}

/// Puts back limits that are gone.
///
/// # Errors
/// When the kernel does not answer or refuses.
pub async fn keep_limits(kernel: &Netlink, limited: &[Limited]) -> Result<(), WireError> {
    let found = kernel.rates().await?;
    for Limited { link, index, rate } in limited {
        if !found.contains_key(index) {
            tracing::info!("limit link {link} again, which somebody has set free");
            kernel.set_rate(*index, *rate).await?;
        }
    }
    Ok(())
}

/// What is wrong with the limit of one end, if it should have one.
///
/// # Errors
/// When the kernel does not answer.
pub async fn fault(
    kernel: &Netlink,
    link: &str,
    wanted: Option<Rate>,
    does: &str,
) -> Result<Option<String>, WireError> {
    let (Some(wanted), Some(end)) = (wanted, kernel.link(link).await?) else {
        // A link that is missing is a fault of its own.
        return Ok(None);
    };
    let found = kernel.rates().await?.get(&end.index).copied();
    // The kernel counts bytes.
    if found == Some(wanted.bits / 8 * 8) {
        return Ok(None);
    }
    let found = found.map_or("as much as it wants".into(), |bits| {
        format!("{bits} bits a second")
    });
    Ok(Some(format!(
        "the pod {does} {found} by {link}, expected {} bits a second",
        wanted.bits
    )))
}
