//! What may be wrong with bytes. Each of these ends the connection: the headers of all frames are
//! packed by one stream, so nothing after a fault can be understood.

/// Why bytes are not SPDY/3.1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another version, or no SPDY at all.
    #[error("read frame: it is of SPDY version {0}, expected 3")]
    Version(u16),
    /// A control frame that is too long to be honest.
    #[error("read frame of type {kind}: it says that it has {length} bytes, at most {max} are read", max = crate::MAX_CONTROL_BYTES)]
    TooLong {
        /// The type of the frame.
        kind: u16,
        /// What it says.
        length: usize,
    },
    /// A frame that is shorter or longer than its type.
    #[error("read frame of type {kind}: {length} bytes do not make one")]
    Length {
        /// The type of the frame.
        kind: u16,
        /// Its length.
        length: usize,
    },
    /// A stream without a number.
    #[error("read frame of type {kind}: stream 0")]
    StreamZero {
        /// The type of the frame.
        kind: u16,
    },
    /// Headers that cannot be unpacked.
    #[error("unpack headers: {0}")]
    Packing(String),
    /// Headers that unpack to too much.
    #[error("unpack headers: more than {max} bytes", max = crate::MAX_HEADERS_BYTES)]
    Bomb,
    /// Headers that do not say what they hold.
    #[error("read headers: {0}")]
    Headers(&'static str),
}
