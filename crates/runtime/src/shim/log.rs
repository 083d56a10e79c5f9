//! Logs of containers, in the format of the container runtime interface:
//! `2026-11-21T00:00:00.000000000Z stdout F text`, where `P` marks a line that
//! goes on in the next record.
//!
//! Reading and writing is the shim's, so that a log has no hole when the node
//! process dies. A line is written when it is complete, or as a partial one
//! when it exceeds 16 KiB or its stream ends.
//!
//! It is also the shim that puts a file aside which has become too long, between
//! two records: nothing is lost and nothing torn, and what is kept is bounded
//! however fast a container writes. The kubelet looks every ten seconds instead.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::log_file::LogFile;
use crate::spec::LogLimits;
use crate::timestamp;

/// Longest record, as containerd cuts them.
const MAX_RECORD_BYTES: usize = 16 << 10;

/// The names of the streams in a log.
pub(super) const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Reads at the end of a container: more than a pipe ever holds. Somebody else
/// may have got hold of its end, and write for ever.
const MAX_LAST_READS: usize = 256;

/// Log file and streams of a running container.
#[derive(Debug)]
pub(super) struct Output {
    file: LogFile,
    streams: [Option<Stream>; 2],
}

#[derive(Debug)]
struct Stream {
    /// A pipe or the near end of a terminal.
    source: File,
    line: Line,
}

/// Gets what a stream, by its index, has said.
pub(super) type Listener<'a> = &'a mut dyn FnMut(usize, &[u8]);

impl Output {
    /// Opens the log at `path` for what comes through `sources`.
    pub(super) fn open(
        path: &Path,
        limits: LogLimits,
        sources: [Option<OwnedFd>; 2],
    ) -> io::Result<Self> {
        let file = LogFile::open(path, limits)?;
        let [stdout, stderr] = sources.map(|source| source.map(Stream::new).transpose());
        Ok(Self {
            file,
            streams: [stdout?, stderr?],
        })
    }

    /// Reads a terminal, which is the one output of its container.
    pub(super) fn read_terminal(&mut self, near: OwnedFd) -> io::Result<()> {
        self.streams[0] = Some(Stream::new(near)?);
        Ok(())
    }

    /// The streams that are still open, by index.
    pub(super) fn open_streams(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let streams = self.streams.iter().enumerate();
        streams.filter_map(|(index, s)| Some((index, s.as_ref()?.source.as_fd())))
    }

    /// Reads once from a stream, if it has something to say.
    pub(super) fn pump(&mut self, index: usize, listener: Listener<'_>) {
        self.step(index, listener);
    }

    /// Reads all that is left, after the last process has ended.
    pub(super) fn drain(&mut self, listener: Listener<'_>) {
        for index in 0..STREAMS.len() {
            (0..MAX_LAST_READS).all(|_| self.step(index, listener));
        }
    }

    /// True if there may be more.
    fn step(&mut self, index: usize, listener: Listener<'_>) -> bool {
        let Some(stream) = &mut self.streams[index] else {
            return false;
        };
        let mut chunk = [0; 8 << 10];
        let mut records = Vec::new();
        let result = stream.source.read(&mut chunk);
        let now = timestamp::format(SystemTime::now());
        let mut sink = Sink {
            records: &mut records,
            prefix: (&now, STREAMS[index]),
        };
        let more = match result {
            Ok(0) => {
                stream.line.end(&mut sink);
                false
            }
            Ok(length) => {
                stream.line.feed(&chunk[..length], &mut sink);
                true
            }
            Err(ref error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(ref error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // The far end of a terminal is closed (EIO), as is that of a pipe at its end.
            Err(_) => {
                stream.line.end(&mut sink);
                false
            }
        };
        let length = result.unwrap_or(0);
        if !more {
            self.streams[index] = None;
        }
        // A full disk must not stop the container; the record is lost.
        let _ = self.file.write(&records);
        if length > 0 {
            listener(index, &chunk[..length]);
        }
        more
    }
}

impl Stream {
    fn new(source: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&source, FcntlArg::F_GETFL)?);
        fcntl(&source, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self {
            source: source.into(),
            line: Line::default(),
        })
    }
}

/// A line that is not complete.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

/// Where records go.
struct Sink<'a> {
    records: &'a mut Vec<u8>,
    prefix: (&'a [u8], &'static str),
}

impl Sink<'_> {
    fn record(&mut self, tag: u8, parts: [&[u8]; 2]) {
        let (time, stream) = self.prefix;
        self.records.extend_from_slice(time);
        self.records.push(b' ');
        self.records.extend_from_slice(stream.as_bytes());
        self.records.extend_from_slice(&[b' ', tag, b' ']);
        for part in parts {
            self.records.extend_from_slice(part);
        }
        self.records.push(b'\n');
    }
}

impl Line {
    fn feed(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            let room = MAX_RECORD_BYTES - self.0.len();
            let window = &bytes[..bytes.len().min(room + 1)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                sink.record(b'F', [&self.0, &window[..end]]);
                self.0 = Vec::new();
                bytes = &bytes[end + 1..];
            } else if bytes.len() > room {
                sink.record(b'P', [&self.0, &bytes[..room]]);
                self.0 = Vec::new();
                bytes = &bytes[room..];
            } else {
                self.0.extend_from_slice(bytes);
                return;
            }
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        if !self.0.is_empty() {
            sink.record(b'P', [&self.0, b""]);
            self.0 = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log holds after these writes and the end of the stream.
    fn log(writes: &[&[u8]]) -> String {
        let mut records = Vec::new();
        let mut sink = Sink {
            records: &mut records,
            prefix: (b"T", "stdout"),
        };
        let mut line = Line::default();
        for write in writes {
            line.feed(write, &mut sink);
        }
        line.end(&mut sink);
        String::from_utf8(records).unwrap()
    }

    #[test]
    fn a_line_is_one_record_however_it_arrives() {
        let whole = "T stdout F one\nT stdout F \nT stdout F two\n";
        assert_eq!(log(&[b"one\n\ntwo\n"]), whole);
        assert_eq!(log(&[b"o", b"ne", b"\n", b"\nt", b"wo\n"]), whole);
    }

    #[test]
    fn the_end_without_newline_is_partial() {
        assert_eq!(log(&[b"a\nb"]), "T stdout F a\nT stdout P b\n");
        assert_eq!(log(&[]), "");
    }

    #[test]
    fn long_lines_are_cut_and_nothing_is_lost() {
        let text = "x".repeat(MAX_RECORD_BYTES);
        let full = log(&[text.as_bytes(), b"\n"]);
        assert_eq!(full, format!("T stdout F {text}\n"));
        let longer = log(&[text.as_bytes(), b"yz\n"]);
        assert_eq!(longer, format!("T stdout P {text}\nT stdout F yz\n"));
        for size in [1, 100, 8192, 16384, 50_000] {
            let input = "0123456789".repeat(5000) + "\n";
            let chunks: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
            let joined: String = log(&chunks)
                .lines()
                .map(|record| &record["T stdout P ".len()..])
                .collect();
            assert_eq!(joined + "\n", input, "chunks of {size}");
        }
    }
}
