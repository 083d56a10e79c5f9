//! From frames to bytes.

use bytes::{BufMut, BytesMut};
use flate2::{Compress, Compression, FlushCompress};

use crate::dictionary::DICTIONARY;
use crate::error::Error;
use crate::frame::{FIN, Frame, StreamId, kind};
use crate::headers::Headers;
use crate::{MAX_DATA_BYTES, VERSION};

/// Writes one direction of a connection.
#[derive(Debug)]
pub struct Encoder {
    headers: Packer,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for a new connection.
    pub fn new() -> Self {
        Self {
            headers: Packer { stream: None },
        }
    }

    /// Appends a frame. Frames must be sent in the order in which they were encoded, since the
    /// headers of all are packed by one stream.
    ///
    /// # Errors
    /// [`Error::Packing`] when headers cannot be packed. [`Frame::Unknown`] is not written.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Error> {
        match frame {
            Frame::SynStream { id, headers, fin } => {
                // No stream belongs to it; priority and slot are 0.
                let fixed = [&id.to_be_bytes()[..], &[0; 6]].concat();
                self.with_headers(kind::SYN_STREAM, *fin, &fixed, headers, out)
            }
            Frame::SynReply { id, headers, fin } => {
                self.with_headers(kind::SYN_REPLY, *fin, &id.to_be_bytes(), headers, out)
            }
            Frame::Headers { id, headers, fin } => {
                self.with_headers(kind::HEADERS, *fin, &id.to_be_bytes(), headers, out)
            }
            Frame::Data { id, bytes, fin } => {
                data(*id, bytes, *fin, out);
                Ok(())
            }
            Frame::RstStream { id, status } => numbers(kind::RST_STREAM, &[*id, *status], out),
            Frame::Settings => numbers(kind::SETTINGS, &[0], out),
            Frame::Ping { id } => numbers(kind::PING, &[*id], out),
            Frame::GoAway { last, status } => numbers(kind::GOAWAY, &[*last, *status], out),
            Frame::WindowUpdate { id, delta } => numbers(kind::WINDOW_UPDATE, &[*id, *delta], out),
            Frame::Unknown { .. } => Ok(()),
        }
    }

    fn with_headers(
        &mut self,
        kind: u16,
        fin: bool,
        fixed: &[u8],
        headers: &Headers,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        let packed = self.headers.pack(headers)?;
        head(
            kind,
            if fin { FIN } else { 0 },
            fixed.len() + packed.len(),
            out,
        );
        out.put_slice(fixed);
        out.put_slice(&packed);
        Ok(())
    }
}

/// The length has 24 bits, so longer data goes into several frames.
fn data(id: StreamId, bytes: &[u8], fin: bool, out: &mut BytesMut) {
    let mut rest = bytes;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(MAX_DATA_BYTES));
        let flags = if fin && after.is_empty() { FIN } else { 0 };
        out.put_u32(id);
        length(flags, piece.len(), out);
        out.put_slice(piece);
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

fn numbers(kind: u16, numbers: &[u32], out: &mut BytesMut) -> Result<(), Error> {
    head(kind, 0, numbers.len() * 4, out);
    for number in numbers {
        out.put_u32(*number);
    }
    Ok(())
}

fn head(kind: u16, flags: u8, bytes: usize, out: &mut BytesMut) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    length(flags, bytes, out);
}

fn length(flags: u8, bytes: usize, out: &mut BytesMut) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX) & 0x00ff_ffff;
    out.put_u32(u32::from(flags) << 24 | bytes);
}

/// Packs header blocks. Made when it is first used: it is the largest part of a connection.
#[derive(Debug)]
struct Packer {
    stream: Option<Compress>,
}

impl Packer {
    fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let fault = |cause: &dyn std::fmt::Display| Error::Packing(cause.to_string());
        if self.stream.is_none() {
            let mut stream = Compress::new(Compression::fast(), true);
            let set = stream.set_dictionary(&DICTIONARY);
            set.map_err(|cause| fault(&cause))?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().ok_or_else(|| fault(&"no stream"))?;
        let block = headers.write();
        let mut packed = Vec::with_capacity(block.len() + 64);
        let start = stream.total_in();
        loop {
            let done = usize::try_from(stream.total_in() - start).unwrap_or(usize::MAX);
            let rest = block.get(done..).unwrap_or_default();
            let packing = stream.compress_vec(rest, &mut packed, FlushCompress::Sync);
            packing.map_err(|cause| fault(&cause))?;
            let done = usize::try_from(stream.total_in() - start).unwrap_or(usize::MAX);
            // Room left over means that the flush is complete.
            if done == block.len() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(packed.capacity());
        }
    }
}
