//! The socket: sends batches and questions, and reads the answers.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use rtnetlink::sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use sealane_ruleset::{Loaded, TableFamily};

use super::answer::{Answer, answers, end, is_interrupted, messages};
use super::batch::{Batch, SUBSYSTEM, address_family};
use super::encode::{
    NFT_MSG_GETOBJ, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE, NFT_OBJECT_COUNTER, NFTA_OBJ_TABLE,
    NFTA_OBJ_TYPE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE,
};
use super::message::{Header, Messages};
use super::ports::OwnPort;
use crate::netlink::Failure;

/// A netlink socket of nfnetlink, in the namespace of the thread that opened it. Never blocks.
pub(crate) struct Socket {
    socket: rtnetlink::sys::Socket,
    _port: OwnPort,
}

/// More than the kernel puts into a datagram.
const LARGEST: usize = 64 * 1024;

impl Socket {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = rtnetlink::sys::Socket::new(NETLINK_NETFILTER)?;
        let port = OwnPort::of(socket.bind_auto()?.port_number());
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            _port: port,
        })
    }

    /// Sends a transaction, which the kernel takes as a whole or not at all.
    ///
    /// A failure comes with what it is about.
    pub(super) fn commit(&self, batch: Batch<'_>) -> Result<(), (String, Failure)> {
        let batch = batch.close();
        let whole = |failure| (batch.describe(0), failure);
        self.drain();
        self.send(batch.as_bytes())
            .map_err(|error| whole(Failure::of_io(&error)))?;
        let mut committed = false;
        for answer in self.receive_all().map_err(whole)? {
            match answer {
                Answer::Refused(sequence, refusal) => {
                    return Err((batch.describe(sequence), Failure::Refused(refusal)));
                }
                Answer::Acknowledged(sequence) => committed |= sequence == batch.last_sequence(),
                _ => {}
            }
        }
        if committed {
            Ok(())
        } else {
            Err(whole(Failure::Unexpected("no acknowledgement".into())))
        }
    }

    /// Lists the tables.
    pub(super) fn tables(&self) -> Result<Vec<Loaded>, Failure> {
        let answers = self.list(NFT_MSG_GETTABLE, None, |_| {})?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Answer::Table(table) => Some(table),
                _ => None,
            })
            .collect())
    }

    /// Lists the keys of a set.
    pub(super) fn keys(
        &self,
        family: TableFamily,
        table: &str,
        set: &str,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let answers = self.list(NFT_MSG_GETSETELEM, Some(family), |m| {
            m.put_str(NFTA_SET_ELEM_LIST_TABLE, table);
            m.put_str(NFTA_SET_ELEM_LIST_SET, set);
        })?;
        Ok(answers
            .into_iter()
            .flat_map(|answer| match answer {
                Answer::Keys(keys) => keys,
                _ => Vec::new(),
            })
            .collect())
    }

    /// Lists the counters of a table by name, with the packets that they have counted.
    pub(super) fn counters(
        &self,
        family: TableFamily,
        table: &str,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let answers = self.list(NFT_MSG_GETOBJ, Some(family), |m| {
            m.put_str(NFTA_OBJ_TABLE, table);
            m.put_u32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        })?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Answer::Counter(name, packets) => Some((name, packets)),
                _ => None,
            })
            .collect())
    }

    /// Everything of a kind; a list that changed while it was read is read again.
    fn list(
        &self,
        kind: u16,
        family: Option<TableFamily>,
        attributes: impl Fn(&mut Messages),
    ) -> Result<Vec<Answer>, Failure> {
        const ATTEMPTS: usize = 8;
        let mut answers = Vec::new();
        for _ in 0..ATTEMPTS {
            let mut request = Messages::default();
            let header = Header {
                kind: SUBSYSTEM << 8 | kind,
                flags: NLM_F_REQUEST | NLM_F_DUMP,
                sequence: 0,
                family: family.map_or(0, address_family),
                resource: 0,
            };
            request.message(header, &attributes);
            let interrupted;
            (answers, interrupted) = self.ask(&request)?;
            if !interrupted {
                break;
            }
        }
        Ok(answers)
    }

    fn ask(&self, request: &Messages) -> Result<(Vec<Answer>, bool), Failure> {
        self.drain();
        self.send(request.as_bytes())
            .map_err(|error| Failure::of_io(&error))?;
        let mut entries = Vec::new();
        for answer in self.receive_all()? {
            match answer {
                Answer::Refused(_, refusal) => return Err(Failure::Refused(refusal)),
                Answer::Done { interrupted } => return Ok((entries, interrupted)),
                Answer::Acknowledged(_) | Answer::Other => {}
                entry => entries.push(entry),
            }
        }
        Err(Failure::Unexpected("a list without an end".into()))
    }

    /// Shows each message of a list to `take`, which must not keep much; whether the list changed while it was read.
    ///
    /// The kernel walks a set from its beginning for each datagram that it fills, and fills as much as the room that
    /// it was last offered: with its own size, 100,000 elements would take it ten seconds.
    pub(super) fn each(
        &self,
        kind: u16,
        family: TableFamily,
        attributes: impl Fn(&mut Messages),
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, Failure> {
        let mut request = Messages::default();
        let header = Header {
            kind: SUBSYSTEM << 8 | kind,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            sequence: 0,
            family: address_family(family),
            resource: 0,
        };
        request.message(header, &attributes);
        self.drain();
        self.send(request.as_bytes())
            .map_err(|error| Failure::of_io(&error))?;
        let mut changed = false;
        let mut datagram = Vec::with_capacity(LARGEST);
        loop {
            datagram.clear();
            match self.socket.recv(&mut datagram, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of_io(&error)),
            };
            for message in messages(&datagram) {
                changed |= is_interrupted(message);
                match end(message) {
                    Some(Answer::Refused(_, refusal)) => return Err(Failure::Refused(refusal)),
                    Some(Answer::Done { .. }) => return Ok(changed),
                    _ => take(message),
                }
            }
        }
    }

    pub(super) fn inner(&self) -> &rtnetlink::sys::Socket {
        &self.socket
    }

    /// Sends a request, behind which no answers of earlier ones are left.
    pub(super) fn begin(&self, request: &Messages) -> Result<(), Failure> {
        self.drain();
        let sent = self.send(request.as_bytes());
        sent.map_err(|error| Failure::of_io(&error))
    }

    /// An answer that the kernel has written already.
    pub(super) fn receive(&self) -> Result<Vec<u8>, Failure> {
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => return Ok(datagram),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of_io(&error)),
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        /// Below this the default of every kernel is enough.
        const LARGE: usize = 64 * 1024;
        if bytes.len() > LARGE {
            // A refusal shows itself when the message is sent.
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(bytes.len() * 2));
        }
        self.socket.send(bytes, 0).map(drop)
    }

    /// All answers to what was just sent: the kernel has written them already.
    fn receive_all(&self) -> Result<Vec<Answer>, Failure> {
        let mut all = Vec::new();
        loop {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => all.extend(answers(&datagram)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of_io(&error)),
            }
        }
    }

    /// Throws away what an earlier call may have left unread when it failed.
    fn drain(&self) {
        while self.socket.recv_from_full().is_ok() {}
    }
}
