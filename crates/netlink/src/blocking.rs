//! A request of rtnetlink without a runtime, for a thread that may wait.

use std::io;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::Refusal;
use crate::netlink::Failure;

/// Sends one change in the namespace of the calling thread and waits for its acknowledgement.
pub(crate) fn change(message: RouteNetlinkMessage) -> Result<(), Failure> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let datagram = exchange(&bytes).map_err(|error| Failure::of_io(&error))?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram)
        .map_err(|error| Failure::Unexpected(error.to_string()))?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(Failure::Refused(Refusal::of_message(&error))),
        other => Err(Failure::Unexpected(format!("{other:?}"))),
    }
}

fn exchange(request: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket.send(request, 0)?;
    Ok(socket.recv_from_full()?.0)
}
