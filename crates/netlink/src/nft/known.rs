//! Elements whose keys are known, and how many a set has.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use sealane_ruleset::TableFamily;

use super::answer::{Answer, FAMILY_HEADER, MESSAGE_HEADER, end, find, messages, u32_at};
use super::batch::{SUBSYSTEM, address_family};
use super::encode::{
    NFT_MSG_GETSETELEM, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME,
    NFTA_SET_TABLE,
};
use super::message::{Header, Messages};
use super::socket::Socket;
use crate::netlink::Failure;

const NFT_MSG_GETSET: u16 = 10;
const NFTA_SET_COUNT: u16 = 20;
const NFT_MSG_GETGEN: u16 = 16;
const NFTA_GEN_ID: u16 = 1;

/// Each element is a datagram in our queue, of at most a page and what the kernel adds.
const AT_ONCE: usize = 500;
/// So many where many are missing.
const FEW: usize = 4;
const ROOM_BYTES: usize = AT_ONCE * 8 * 1024;
/// Datagrams in one system call, and their largest size.
const BATCH: usize = 64;
const LARGEST: usize = 1024;

impl Socket {
    /// How many elements a set has; kernels before 6.16 do not say.
    pub(super) fn count(
        &self,
        family: TableFamily,
        table: &str,
        set: &str,
    ) -> Result<Option<usize>, Failure> {
        let request = request(NFT_MSG_GETSET, NLM_F_REQUEST, family, |m| {
            m.put_str(NFTA_SET_TABLE, table);
            m.put_str(NFTA_SET_NAME, set);
        });
        self.begin(&request)?;
        let datagram = self.receive()?;
        let message = messages(&datagram).next().unwrap_or_default();
        if let Some(Answer::Refused(_, refusal)) = end(message) {
            return Err(Failure::Refused(refusal));
        }
        let body = message.get(MESSAGE_HEADER + FAMILY_HEADER..);
        let count = body.and_then(|body| u32_at(find(body, NFTA_SET_COUNT)?, 0));
        Ok(count.map(|count| u32::from_be(count) as usize))
    }

    /// The number of the last transaction, on whosever tables.
    pub(super) fn generation(&self) -> Result<u32, Failure> {
        let request = request(NFT_MSG_GETGEN, NLM_F_REQUEST, TableFamily::Ip, |_| {});
        self.begin(&request)?;
        let datagram = self.receive()?;
        let message = messages(&datagram).next().unwrap_or_default();
        if let Some(Answer::Refused(_, refusal)) = end(message) {
            return Err(Failure::Refused(refusal));
        }
        let body = message.get(MESSAGE_HEADER + FAMILY_HEADER..);
        let number = body.and_then(|body| u32_at(find(body, NFTA_GEN_ID)?, 0));
        let unnumbered = || Failure::Unexpected("an answer without a number".into());
        number.map(u32::from_be).ok_or_else(unnumbered)
    }

    /// Shows a message for each of these keys that a set has.
    pub(super) fn find_known<'a>(
        &self,
        family: TableFamily,
        table: &str,
        set: &str,
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        // A refusal shows itself when answers are lost.
        let _ = setsockopt(self.inner(), sockopt::RcvBufForce, &ROOM_BYTES);
        let keys: Vec<&[u8]> = keys.collect();
        let mut rest = &keys[..];
        let mut at_once = AT_ONCE;
        while !rest.is_empty() {
            let some = &rest[..rest.len().min(at_once)];
            let flags = NLM_F_REQUEST | NLM_F_ACK;
            let request = request(NFT_MSG_GETSETELEM, flags, family, |m| {
                m.put_str(NFTA_SET_ELEM_LIST_TABLE, table);
                m.put_str(NFTA_SET_ELEM_LIST_SET, set);
                m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                    some.iter().for_each(|key| put_key(m, key));
                });
            });
            self.begin(&request)?;
            let done = self.answered(&mut take)?.min(some.len());
            rest = &rest[done..];
            // Where one is missing the next ones often are, and what is behind is sent again.
            at_once = match done < some.len() {
                true => (at_once / 2).max(FEW),
                false => (at_once * 2).min(AT_ONCE),
            };
        }
        Ok(())
    }

    /// How many keys were answered for, one that was not there included: the kernel does not go on behind it.
    fn answered(&self, take: &mut impl FnMut(&[u8])) -> Result<usize, Failure> {
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut buffers = vec![[0; LARGEST]; BATCH];
        let mut found = 0;
        loop {
            let mut places: Vec<_> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
            let socket = self.inner().as_raw_fd();
            let received = recvmmsg(
                socket,
                &mut headers,
                places.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            let lengths: Vec<usize> = match received {
                Ok(received) => received.map(|datagram| datagram.bytes).collect(),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Failure::of_io(&errno.into())),
            };
            for (buffer, length) in buffers.iter().zip(lengths) {
                for message in messages(&buffer[..length]) {
                    match end(message) {
                        None => {
                            found += 1;
                            take(message);
                        }
                        Some(Answer::Refused(_, refusal)) if refusal.errno == Errno::ENOENT => {
                            return Ok(found + 1);
                        }
                        Some(Answer::Refused(_, refusal)) => return Err(Failure::Refused(refusal)),
                        Some(_) => return Ok(usize::MAX),
                    }
                }
            }
        }
    }
}

fn put_key(m: &mut Messages, key: &[u8]) {
    m.nest(NFTA_LIST_ELEM, |m| {
        m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, key));
    });
}

fn request(
    kind: u16,
    flags: u16,
    family: TableFamily,
    attributes: impl FnOnce(&mut Messages),
) -> Messages {
    let mut request = Messages::default();
    let header = Header {
        kind: SUBSYSTEM << 8 | kind,
        flags,
        sequence: 0,
        family: address_family(family),
        resource: 0,
    };
    request.message(header, attributes);
    request
}
