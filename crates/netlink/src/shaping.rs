//! How fast a link sends: a token bucket in the place of its queue.

use std::collections::BTreeMap;

use rtnetlink::packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE, Nla, NlasIterator};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Result;
use crate::netlink::Netlink;

const PARAMETERS: u16 = 1;
const RATE64: u16 = 4;
const BURST: u16 = 6;

/// Bits in a second that a link may send, and bytes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits in a second.
    pub bits: u64,
    /// Bytes that may go at once after a pause.
    pub burst: u32,
}

impl Netlink {
    /// Puts a limit in the place of a link's queue.
    ///
    /// # Errors
    /// When the link is absent or the kernel refuses, for want of its module sch_tbf for instance.
    pub async fn set_rate(&self, index: u32, rate: Rate) -> Result<()> {
        let message = RouteNetlinkMessage::NewQueueDiscipline(bucket(index, rate));
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE)
            .await
            .map_err(self.failed(|| format!("limit #{index} to {} bits a second", rate.bits)))
    }

    /// How many bits in a second links may send, by their indexes; those without a limit are left out.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn rates(&self) -> Result<BTreeMap<u32, u64>> {
        let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self
            .dump(all)
            .await
            .map_err(self.failed(|| "list limits of links"))?;
        Ok(answers.iter().filter_map(read).collect())
    }
}

/// The link of a bucket at its root, and the bits in a second.
fn read(message: &RouteNetlinkMessage) -> Option<(u32, u64)> {
    let RouteNetlinkMessage::NewQueueDiscipline(found) = message else {
        return None;
    };
    let is_bucket = |attribute: &TcAttribute| *attribute == TcAttribute::Kind("tbf".into());
    if found.header.parent != TcHandle::ROOT || !found.attributes.iter().any(is_bucket) {
        return None;
    }
    // What the crate does not know it leaves whole, in one option.
    let inside = found
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Options(options) => options.first(),
            _ => None,
        })?;
    let mut bytes = vec![0; inside.value_len()];
    inside.emit_value(&mut bytes);
    let value = |kind: u16| {
        let mut options = NlasIterator::new(&bytes).filter_map(Result::ok);
        let option = options.find(|option| option.kind() == kind)?;
        Some(option.value().to_vec())
    };
    // `struct tc_ratespec` begins with eight bytes of other things.
    let small = value(PARAMETERS)?.get(8..12)?.try_into().ok()?;
    let large = value(RATE64).and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
    let bytes = large.unwrap_or_else(|| u32::from_ne_bytes(small).into());
    Some((found.header.index.cast_unsigned(), bytes * 8))
}

/// tc-tbf(8): the attributes of linux/pkt_sched.h.
pub(crate) fn bucket(index: u32, rate: Rate) -> TcMessage {
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
