//! Reading a response: its head, then its content as it arrives.

use std::io::{self, Read};

use super::failure::{EMPTY_REPLY, Failure, NOT_HTTP, PARTIAL, RECEIVE, failure};

const MAX_HEAD_BYTES: usize = 256 << 10;
const MAX_HEADERS: usize = 128;

/// Where bytes come from, within the time that is left.
pub(super) trait Source {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure>;
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Status line and headers as they arrived, with the empty line.
    pub(super) text: Vec<u8>,
    pub(super) content_type: String,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads the head; the start of the content, if it came along, goes to `rest`.
/// Interim responses are passed over.
pub(super) fn read_head(source: &mut impl Source, rest: &mut Vec<u8>) -> Result<Head, Failure> {
    loop {
        match parse_head(rest)? {
            Some((head, length)) => {
                rest.drain(..length);
                if head.status >= 200 {
                    return Ok(head);
                }
            }
            None => fill(source, rest)?,
        }
    }
}

fn fill(source: &mut impl Source, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let mut chunk = [0; 16 << 10];
    let length = source.read(&mut chunk)?;
    match (length, bytes.is_empty()) {
        (0, true) => Err(failure(EMPTY_REPLY, "Empty reply from server")),
        (0, false) => Err(failure(
            RECEIVE,
            "Connection closed in the middle of the headers",
        )),
        _ if bytes.len() > MAX_HEAD_BYTES => Err(failure(RECEIVE, "Too large response headers")),
        _ => {
            bytes.extend_from_slice(&chunk[..length]);
            Ok(())
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let value = |name: &str| header(&response, name);
            let head = Head {
                status: response.code.unwrap_or(0),
                text: bytes[..length].to_vec(),
                content_type: value("content-type").unwrap_or_default(),
                framing: framing(value("transfer-encoding"), value("content-length")),
            };
            Ok(Some((head, length)))
        }
        Err(_) => Err(failure(NOT_HTTP, "Weird server reply: not HTTP/1.1")),
    }
}

fn header(response: &httparse::Response<'_, '_>, name: &str) -> Option<String> {
    let mut headers = response.headers.iter();
    let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(String::from_utf8_lossy(header.value).trim().to_owned())
}

fn framing(transfer_encoding: Option<String>, content_length: Option<String>) -> Framing {
    match (transfer_encoding, content_length) {
        (Some(coding), _) if coding.to_ascii_lowercase().contains("chunked") => Framing::Chunked,
        (_, Some(length)) => length.parse().map_or(Framing::UntilClose, Framing::Length),
        _ => Framing::UntilClose,
    }
}

impl Head {
    /// Reads the content; `rest` is what of it has arrived already.
    pub(super) fn read_content(
        &self,
        source: &mut impl Source,
        rest: Vec<u8>,
        mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut input = Input { source, rest };
        match self.framing {
            Framing::Length(length) => input.copy(length, &mut sink),
            Framing::Chunked => input.copy_chunks(&mut sink),
            Framing::UntilClose => input.copy_all(&mut sink),
        }
    }

    /// True for a response that has no content whatever its headers say.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.status, 204 | 304)
    }
}

struct Input<'a, S> {
    source: &'a mut S,
    rest: Vec<u8>,
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

impl<S: Source> Input<'_, S> {
    /// More bytes; false at the end of the stream.
    fn more(&mut self) -> Result<bool, Failure> {
        let mut chunk = [0; 16 << 10];
        let length = self.source.read(&mut chunk)?;
        self.rest.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    fn copy(&mut self, mut left: u64, sink: Sink<'_>) -> Result<(), Failure> {
        while left > 0 {
            if self.rest.is_empty() && !self.more()? {
                let text = format!("transfer closed with {left} bytes remaining to read");
                return Err(failure(PARTIAL, text));
            }
            let usable = u64::try_from(self.rest.len()).unwrap_or(left).min(left);
            let length = usize::try_from(usable).unwrap_or(self.rest.len());
            sink(&self.rest[..length])?;
            self.rest.drain(..length);
            left -= usable;
        }
        Ok(())
    }

    fn copy_all(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        loop {
            sink(&self.rest)?;
            self.rest.clear();
            if !self.more()? {
                return Ok(());
            }
        }
    }

    fn copy_chunks(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                return Ok(());
            }
            self.copy(size, sink)?;
            self.copy(2, &mut |_| Ok(()))?;
        }
    }

    fn chunk_size(&mut self) -> Result<u64, Failure> {
        loop {
            match httparse::parse_chunk_size(&self.rest) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.rest.drain(..length);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.more()? => {}
                Ok(httparse::Status::Partial) => {
                    let text = "transfer closed with outstanding read data remaining";
                    return Err(failure(PARTIAL, text));
                }
                Err(_) => return Err(failure(RECEIVE, "Invalid chunk in the response")),
            }
        }
    }
}

/// For sources whose errors need no translation.
impl Source for &[u8] {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let read: io::Result<usize> = Read::read(self, buffer);
        read.map_err(|error| failure(RECEIVE, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(u16, String), Failure> {
        let mut source = text.as_bytes();
        let mut rest = Vec::new();
        let head = read_head(&mut source, &mut rest)?;
        let mut content = Vec::new();
        head.read_content(&mut source, rest, |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((head.status, String::from_utf8(content).unwrap()))
    }

    #[test]
    fn content_ends_where_its_framing_says() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there",
                200,
                "hi",
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\nall of it", 404, "all of it"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
                200,
                "hi!",
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                200,
                "",
            ),
        ];
        for (text, status, content) in cases {
            assert_eq!(read(text), Ok((status, content.into())), "{text:?}");
        }
    }

    #[test]
    fn broken_responses_have_curls_codes() {
        let cases = [
            ("", EMPTY_REPLY),
            ("HTTP/1.1 200", RECEIVE),
            ("SSH-2.0-OpenSSH\r\n", NOT_HTTP),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", PARTIAL),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                PARTIAL,
            ),
        ];
        for (text, code) in cases {
            assert_eq!(read(text).expect_err(text).code, code, "{text:?}");
        }
    }
}
