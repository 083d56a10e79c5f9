//! Compressed streams, known by how they begin: media types and file names are often wrong.
//!
//! zstd is decompressed by `ruzstd`, not by the C library: it is slower, and it is Rust, which
//! matters more for bytes that anybody may have made.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = b"\xfd7zXZ";
const BZIP2: &[u8] = b"BZh";

/// The largest window of a zstd frame, which is memory: what `zstd --long` makes.
const MAX_WINDOW: u64 = 128 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn of(start: &[u8]) -> io::Result<Self> {
        let unsupported = |name: &str| {
            let text = format!("it is compressed with {name}; gzip and zstd are supported");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        };
        match start {
            _ if start.starts_with(GZIP) => Ok(Self::Gzip),
            _ if start.starts_with(&ZSTD) || is_skippable(start) => Ok(Self::Zstd),
            _ if start.starts_with(XZ) => unsupported("xz"),
            _ if start.starts_with(BZIP2) => unsupported("bzip2"),
            _ => Ok(Self::None),
        }
    }
}

/// A frame of zstd that holds no data; some tools put one first.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// The plain stream.
pub(crate) fn plain<'a, R: BufRead + Send + 'a>(
    mut input: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match Compression::of(input.fill_buf()?)? {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(Zstd::new(input)),
    })
}

/// Any number of zstd frames, one behind the other (RFC 8878 §3).
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self {
            input,
            decoder,
            within: false,
        }
    }

    /// Whether there is another frame; empty ones are passed over.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            let mut magic = [0; 4];
            self.input.read_exact(&mut magic)?;
            if !is_skippable(&magic) {
                let frame = magic.chain(&mut self.input);
                self.decoder.init(frame).map_err(io::Error::other)?;
                self.within = true;
                return Ok(true);
            }
            let mut len = [0; 4];
            self.input.read_exact(&mut len)?;
            let len = u64::from(u32::from_le_bytes(len));
            if io::copy(&mut (&mut self.input).take(len), &mut io::sink())? < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let n = self.decoder.read(out)?;
            if n > 0 || out.is_empty() {
                return Ok(n);
            }
            self.within = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        // A small buffer, so that frames and members cross its end.
        plain(BufReader::with_capacity(64, bytes))?.read_to_end(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn streams_of_several_members_and_frames_are_read_to_their_end() {
        let (a, b) = (vec![b'a'; 300_000], vec![b'b'; 10]);
        let both = [a.as_slice(), &b].concat();
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        assert_eq!(read(&both).unwrap(), both);
        assert_eq!(read(&[gzip(&a), gzip(&b)].concat()).unwrap(), both);
        assert_eq!(read(&[zstd(&a), zstd(&b)].concat()).unwrap(), both);
        let odd = [
            &skipped[..],
            &zstd(&a),
            &zstd(b""),
            &skipped,
            &zstd(&b),
            &skipped,
        ]
        .concat();
        assert_eq!(read(&odd).unwrap(), both);
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn what_ends_early_is_an_error() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&text), zstd(&text)] {
            for len in [5, whole.len() / 2, whole.len() - 5] {
                assert!(read(&whole[..len]).is_err(), "{len} of {}", whole.len());
            }
        }
    }

    #[test]
    fn what_cannot_be_decompressed_is_named() {
        let error = read(b"BZh91AY").unwrap_err().to_string();
        assert_eq!(
            error,
            "it is compressed with bzip2; gzip and zstd are supported"
        );
    }
}
