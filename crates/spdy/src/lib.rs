//! Words: the frames of SPDY/3.1, from and to bytes.
//!
//! SPDY has been obsolete since 2016, but it is what kubectl speaks to pods: `exec`, `attach` and
//! `cp` up to 1.29 and `port-forward` up to 1.30 as an upgrade of HTTP (`Upgrade: SPDY/3.1`),
//! newer ones within the messages of a WebSocket (KEP-4006). No maintained crate speaks it.
//!
//! ```text
//! bytes, cut anywhere ──push──> Decoder ──next──> Frame …
//!                               Encoder <──encode── Frame …   ──> bytes
//! ```
//!
//! Hostile bytes are bounded: a control frame by [`MAX_CONTROL_BYTES`], the headers that it
//! unpacks to by [`MAX_HEADERS_BYTES`]. A data frame may say that it holds 16 MiB; its bytes are
//! handed on as they come, so nothing is kept of it.
//!
//! Flow control is read and not enforced, as in the peer (`moby/spdystream`), which sends no
//! `WINDOW_UPDATE` and waits for none: what is not read fills the connection.
//!
//! Source: "SPDY Protocol - Draft 3.1", chromium.org.
#![warn(missing_docs)]

mod decode;
mod dictionary;
mod encode;
mod error;
mod frame;
mod headers;

pub use decode::Decoder;
pub use encode::Encoder;
pub use error::Error;
pub use frame::{Frame, StreamId, status};
pub use headers::Headers;

/// Longest control frame, without its head.
pub const MAX_CONTROL_BYTES: usize = 64 << 10;
/// Most that the headers of one frame may unpack to.
pub const MAX_HEADERS_BYTES: usize = 64 << 10;
/// Longest data frame (its length has 24 bits).
pub const MAX_DATA_BYTES: usize = (1 << 24) - 1;

/// The version of control frames.
const VERSION: u16 = 3;
/// Bytes before the payload of any frame.
const HEAD_BYTES: usize = 8;
