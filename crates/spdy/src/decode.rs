//! From bytes to frames.

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

use crate::dictionary::DICTIONARY;
use crate::error::Error;
use crate::frame::{FIN, Frame, StreamId, kind};
use crate::headers::Headers;
use crate::{HEAD_BYTES, MAX_CONTROL_BYTES, MAX_HEADERS_BYTES, VERSION};

/// The highest bit of a frame: set for a control frame, of no meaning in a number of a stream.
const CONTROL: u32 = 1 << 31;

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The data frame that is being handed on.
    data: Option<Rest>,
    headers: Unpacker,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    id: StreamId,
    length: usize,
    fin: bool,
}

/// The head of a control frame.
#[derive(Clone, Copy)]
struct Head {
    kind: u16,
    flags: u8,
    length: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder for a new connection.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            data: None,
            headers: Unpacker::new(),
        }
    }

    /// Takes bytes in, as they come. What is kept is bounded if [`Self::next`] is called until it
    /// has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or the next part of a data frame; `None` until more bytes come.
    ///
    /// # Errors
    /// When the bytes are not SPDY/3.1; nothing can be read any more.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is not an end when there is no frame"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Error> {
        if let Some(rest) = self.data {
            return Ok(self.part(rest));
        }
        let Some(mut head) = self.buffer.get(..HEAD_BYTES) else {
            return Ok(None);
        };
        let (word, tail) = (head.get_u32(), head.get_u32());
        let (flags, length) = ((tail >> 24) as u8, (tail & 0x00ff_ffff) as usize);
        if word & CONTROL == 0 {
            self.buffer.advance(HEAD_BYTES);
            if word == 0 {
                return Err(Error::StreamZero { kind: 0 });
            }
            return Ok(self.part(Rest {
                id: word,
                length,
                fin: flags & FIN != 0,
            }));
        }
        let (version, kind) = ((word >> 16) as u16 & 0x7fff, word as u16);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        if length > MAX_CONTROL_BYTES {
            return Err(Error::TooLong { kind, length });
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        let head = Head {
            kind,
            flags,
            length,
        };
        self.control(head, payload).map(Some)
    }

    /// What is there of a data frame.
    fn part(&mut self, rest: Rest) -> Option<Frame> {
        let here = rest.length.min(self.buffer.len());
        let left = rest.length - here;
        self.data = (left > 0).then_some(Rest {
            length: left,
            ..rest
        });
        if here == 0 && left > 0 {
            return None;
        }
        Some(Frame::Data {
            id: rest.id,
            bytes: self.buffer.split_to(here).freeze(),
            fin: rest.fin && left == 0,
        })
    }

    fn control(&mut self, head: Head, mut payload: Bytes) -> Result<Frame, Error> {
        let Head {
            kind,
            flags,
            length,
        } = head;
        let fin = flags & FIN != 0;
        let wrong = Error::Length { kind, length };
        let fixed = match kind {
            kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE => Some(8),
            kind::PING => Some(4),
            _ => None,
        };
        if fixed.is_some_and(|fixed| fixed != length) {
            return Err(wrong);
        }
        let mut number = || payload.try_get_u32().map_err(|_| wrong.clone());
        Ok(match kind {
            kind::SYN_STREAM => {
                let id = stream(kind, number()?)?;
                let _associated = number()?;
                if payload.try_get_u16().is_err() {
                    return Err(wrong);
                }
                let headers = self.headers.unpack(&payload)?;
                Frame::SynStream { id, headers, fin }
            }
            kind::SYN_REPLY => {
                let id = stream(kind, number()?)?;
                let headers = self.headers.unpack(&payload)?;
                Frame::SynReply { id, headers, fin }
            }
            kind::HEADERS => {
                let id = stream(kind, number()?)?;
                let headers = self.headers.unpack(&payload)?;
                Frame::Headers { id, headers, fin }
            }
            kind::RST_STREAM => Frame::RstStream {
                id: stream(kind, number()?)?,
                status: number()?,
            },
            kind::PING => Frame::Ping { id: number()? },
            kind::GOAWAY => Frame::GoAway {
                last: number()? & !CONTROL,
                status: number()?,
            },
            kind::WINDOW_UPDATE => Frame::WindowUpdate {
                id: number()? & !CONTROL,
                delta: number()? & !CONTROL,
            },
            kind::SETTINGS => Frame::Settings,
            kind => Frame::Unknown { kind },
        })
    }
}

fn stream(kind: u16, number: u32) -> Result<StreamId, Error> {
    match number & !CONTROL {
        0 => Err(Error::StreamZero { kind }),
        id => Ok(id),
    }
}

/// Unpacks header blocks: all those of a direction are one zlib stream.
#[derive(Debug)]
struct Unpacker(Decompress);

impl Unpacker {
    fn new() -> Self {
        Self(Decompress::new(true))
    }

    fn unpack(&mut self, mut packed: &[u8]) -> Result<Headers, Error> {
        let mut block = Vec::with_capacity(1024);
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let result = self
                .0
                .decompress_vec(packed, &mut block, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - read).unwrap_or(usize::MAX);
            packed = packed.get(read..).unwrap_or_default();
            match result {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => {
                    return Err(Error::Packing("the stream ends".into()));
                }
                Err(wants) if wants.needs_dictionary().is_some() => {
                    let set = self.0.set_dictionary(&DICTIONARY);
                    set.map_err(|_| Error::Packing("another dictionary".into()))?;
                    continue;
                }
                Err(fault) => return Err(Error::Packing(fault.to_string())),
            }
            let idle = read == 0 && self.0.total_out() == written;
            if block.len() > MAX_HEADERS_BYTES {
                return Err(Error::Bomb);
            }
            if block.len() < block.capacity() && (packed.is_empty() || idle) {
                return Headers::read(&block);
            }
            block.reserve(block.capacity().max(1024));
        }
    }
}
