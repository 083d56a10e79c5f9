//! How fast a link sends: a token bucket in the place of its queue.

use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};

/// Bits in a second that a link may send, and bytes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits in a second.
    pub bits: u64,
    /// Bytes that may go at once after a pause.
    pub burst: u32,
}

/// tc-tbf(8): the attributes of linux/pkt_sched.h.
pub(crate) fn bucket(index: u32, rate: Rate) -> TcMessage {
    const PARAMETERS: u16 = 1;
    const RATE64: u16 = 4;
    const BURST: u16 = 6;
    let bytes = rate.bits / 8;
    let option = |kind, value: Vec<u8>| TcOption::Other(DefaultNla::new(kind, value));
    let options = vec![
        option(PARAMETERS, parameters(bytes, rate.burst)),
        option(RATE64, bytes.to_ne_bytes().to_vec()),
        option(BURST, rate.burst.to_ne_bytes().to_vec()),
    ];
    let mut message = TcMessage::default();
    message.header = TcHeader {
        family: AddressFamily::Unspec,
        index: index.cast_signed(),
        handle: TcHandle { major: 1, minor: 0 },
        parent: TcHandle::ROOT,
        info: 0,
    };
    message.attributes = vec![
        TcAttribute::Kind("tbf".into()),
        TcAttribute::Options(options),
    ];
    message
}

/// `struct tc_tbf_qopt`: the rate, none for peaks, and how many bytes wait at most, a tenth of a second's.
fn parameters(bytes: u64, burst: u32) -> Vec<u8> {
    /// `TC_LINKLAYER_ETHERNET`, with which the kernel needs no table of times.
    const ETHERNET: u8 = 1;
    let small = u32::try_from(bytes).unwrap_or(u32::MAX);
    let limit = (bytes / 10).saturating_add(burst.into());
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut value = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
    value.extend(small.to_ne_bytes());
    value.extend([0; 12]);
    for number in [limit, 0, 0] {
        value.extend(number.to_ne_bytes());
    }
    value
}
