//! Container logs: the CRI format on disk, as `kubectl logs` wants to read it.
//!
//! A line on disk is `TIME STREAM TAG TEXT`, with tag `F` for a full line and `P`
//! for a part of a long one (kubernetes design proposal "CRI: Log management for
//! container stdout/stderr streams"). This module is the pure part: options, lines,
//! filters and limits, and the position where the last N lines begin; `log_stream`
//! reads and follows the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use serde::Deserialize;

/// How much is read at once.
pub const BLOCK: usize = 64 << 10;

/// What `kubectl logs` may ask for (`PodLogOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogOptions {
    /// Go on with what is written later.
    pub follow: bool,
    /// The attempt before the newest.
    pub previous: bool,
    /// Write each line's time before it.
    pub timestamps: bool,
    /// Only lines of the last seconds.
    pub since_seconds: Option<i64>,
    /// Only lines since.
    pub since_time: Option<Timestamp>,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only so many bytes.
    pub limit_bytes: Option<u64>,
    /// `All`, `Stdout` or `Stderr`.
    pub stream: Option<String>,
}

impl LogOptions {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// What is wrong, in a phrase that names the option.
    pub fn parse(query: &[(String, String)]) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in query {
            options.set(name, value).map_err(|expected| {
                format!("invalid value {value:?} for {name}: expected {expected}")
            })?;
        }
        if options.since_seconds.is_some() && options.since_time.is_some() {
            return Err("at most one of sinceTime and sinceSeconds may be given".to_owned());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let number = || {
            value
                .parse()
                .ok()
                .ok_or("a whole number that is not negative")
        };
        let flag = || match value {
            "" | "1" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err("true or false"),
        };
        match name {
            "follow" => self.follow = flag()?,
            "previous" => self.previous = flag()?,
            "timestamps" => self.timestamps = flag()?,
            "tailLines" => self.tail_lines = Some(number()?),
            "limitBytes" => self.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                self.since_seconds = Some(value.parse().map_err(|_| "a whole number")?);
            }
            "sinceTime" => {
                self.since_time = Some(value.parse().map_err(|_| "a time as in RFC 3339")?);
            }
            "stream" if ["All", "Stdout", "Stderr"].contains(&value) => {
                self.stream = Some(value.to_owned());
            }
            "stream" => return Err("All, Stdout or Stderr"),
            // Unknown options are the API server's to refuse.
            _ => {}
        }
        Ok(())
    }

    /// The time before which lines are left out.
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        let ago = self.since_seconds.map(jiff::SignedDuration::from_secs);
        self.since_time.or_else(|| now.checked_sub(ago?).ok())
    }
}

/// One line of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line<'a> {
    time: &'a str,
    stream: &'a str,
    partial: bool,
    text: &'a [u8],
}

/// Takes a line apart; `None` for one that is not in the format.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = std::str::from_utf8(fields.next()?).ok()?;
    // Further tags may follow the first, separated by colons.
    let tag = fields.next()?.split(|byte| *byte == b':').next()?;
    let partial = match tag {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let text = fields.next().unwrap_or_default();
    Some(Line {
        time,
        stream,
        partial,
        text,
    })
}

/// Turns bytes of a log file into what the reader wants to see.
#[derive(Debug)]
pub struct Filter {
    since: Option<Timestamp>,
    stream: Option<&'static str>,
    timestamps: bool,
    left: Option<u64>,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// The next part begins a line, so it gets a time.
    at_start: bool,
}

impl Filter {
    /// A filter that has seen nothing yet.
    pub fn new(options: &LogOptions, now: Timestamp) -> Self {
        let stream = match options.stream.as_deref() {
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            _ => None,
        };
        Self {
            since: options.since(now),
            stream,
            timestamps: options.timestamps,
            left: options.limit_bytes,
            rest: Vec::new(),
            at_start: true,
        }
    }

    /// Whether the limit has been reached.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds what of `bytes` is to be seen to `out`; an incomplete last line waits for its end.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            bytes = &after[1..];
            if self.rest.is_empty() {
                self.line(line, out);
            } else {
                self.rest.extend_from_slice(line);
                let line = std::mem::take(&mut self.rest);
                self.line(&line, out);
            }
        }
        self.rest.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = parse(line) else { return };
        if self.stream.is_some_and(|stream| stream != line.stream) {
            return;
        }
        let early = |since| {
            line.time
                .parse::<Timestamp>()
                .is_ok_and(|time| time < since)
        };
        if self.since.is_some_and(early) {
            return;
        }
        if self.timestamps && self.at_start {
            self.put(line.time.as_bytes(), out);
            self.put(b" ", out);
        }
        self.put(line.text, out);
        if !line.partial {
            self.put(b"\n", out);
        }
        self.at_start = !line.partial;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let fits = match &mut self.left {
            None => bytes.len(),
            Some(left) => {
                let fits = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= fits as u64;
                fits
            }
        };
        out.extend_from_slice(&bytes[..fits]);
    }
}

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Where it begins.
    pub begin: u64,
    /// How many lines it has.
    pub lines: u64,
}

/// The last `lines` lines of a file of `size` bytes, or as many as it has.
///
/// # Errors
/// When the file cannot be read.
pub fn tail(file: &File, size: u64, lines: u64) -> io::Result<Tail> {
    let from = |begin, lines| Ok(Tail { begin, lines });
    if lines == 0 {
        return from(size, 0);
    }
    let mut block = vec![0; BLOCK];
    let mut end = size;
    let mut found = 0;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK as u64);
        let piece = &mut block[..(end - begin) as usize];
        file.read_exact_at(piece, begin)?;
        for (index, byte) in piece.iter().enumerate().rev() {
            let position = begin + index as u64;
            // The newline that ends the file begins no line.
            if *byte != b'\n' || position + 1 == size {
                continue;
            }
            found += 1;
            if found == lines {
                return from(position + 1, lines);
            }
        }
        end = begin;
    }
    from(0, found + u64::from(size > 0))
}

pub mod files;

#[cfg(test)]
mod tests;
