//! What a frame says.

use bytes::Bytes;

use crate::headers::Headers;

/// The number of a stream, 31 bits; odd for those that a client opens.
pub type StreamId = u32;

/// Reasons of a reset (SPDY/3.1 §2.6.3).
pub mod status {
    /// The peer made no sense.
    pub const PROTOCOL_ERROR: u32 = 1;
    /// There is no such stream.
    pub const INVALID_STREAM: u32 = 2;
    /// The stream is not wanted, and nothing has been done.
    pub const REFUSED_STREAM: u32 = 3;
    /// Whoever opened the stream does not want it any more.
    pub const CANCEL: u32 = 5;
}

/// A frame, or a part of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A new stream.
    SynStream {
        /// Its number.
        id: StreamId,
        /// What it is for.
        headers: Headers,
        /// Nothing follows from the one who opens it.
        fin: bool,
    },
    /// The answer to a new stream.
    SynReply {
        /// Its number.
        id: StreamId,
        /// What is said of it.
        headers: Headers,
        /// Nothing follows from the one who answers.
        fin: bool,
    },
    /// Bytes of a stream. A decoder may hand on one frame as several of these.
    Data {
        /// The stream's number.
        id: StreamId,
        /// The bytes.
        bytes: Bytes,
        /// Nothing follows.
        fin: bool,
    },
    /// The end of a stream in both directions, at once.
    RstStream {
        /// Its number.
        id: StreamId,
        /// Why; see [`status`].
        status: u32,
    },
    /// Settings, of which none concerns us.
    Settings,
    /// To be sent back as it is.
    Ping {
        /// Odd for those of a client.
        id: u32,
    },
    /// No more streams.
    GoAway {
        /// The last stream that was taken up.
        last: StreamId,
        /// 0 when all is well.
        status: u32,
    },
    /// More headers of a stream.
    Headers {
        /// Its number.
        id: StreamId,
        /// What is added.
        headers: Headers,
        /// Nothing follows.
        fin: bool,
    },
    /// The peer has read so much.
    WindowUpdate {
        /// The stream's number, 0 for the whole connection.
        id: StreamId,
        /// Bytes.
        delta: u32,
    },
    /// A control frame of a type that SPDY/3.1 does not name; to be ignored (§2.2.1).
    Unknown {
        /// Its type.
        kind: u16,
    },
}

/// Types of control frames.
pub(crate) mod kind {
    pub(crate) const SYN_STREAM: u16 = 1;
    pub(crate) const SYN_REPLY: u16 = 2;
    pub(crate) const RST_STREAM: u16 = 3;
    pub(crate) const SETTINGS: u16 = 4;
    pub(crate) const PING: u16 = 6;
    pub(crate) const GOAWAY: u16 = 7;
    pub(crate) const HEADERS: u16 = 8;
    pub(crate) const WINDOW_UPDATE: u16 = 9;
}

/// The flag that a stream's direction ends with this frame.
pub(crate) const FIN: u8 = 1;
