//! As much of HTTP/1.1 (RFC 9112) as an echo needs: requests with bodies of
//! either framing, kept connections, `Expect`, `HEAD`.

use super::report::Request;

/// Longest request line and headers.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Longest body.
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_HEADERS: usize = 100;

/// What the bytes of a connection hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole request, this many bytes long, and whether the connection stays.
    Request {
        request: Request,
        length: usize,
        keep_alive: bool,
    },
    /// More bytes are needed. The client may be waiting for a go-ahead.
    Partial { expects_continue: bool },
    /// This is no request that can be answered with more than its status.
    Bad(Status),
}

/// A status line's number and words.
pub(super) type Status = (u16, &'static str);

pub(super) const OK: Status = (200, "OK");
const BAD_REQUEST: Status = (400, "Bad Request");
const TOO_LARGE: Status = (413, "Content Too Large");
const HEAD_TOO_LARGE: Status = (431, "Request Header Fields Too Large");

/// Reads a request off the front of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => with_body(&head, &bytes[length..], length),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Parsed::Partial {
            expects_continue: false,
        },
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Bad(HEAD_TOO_LARGE)
        }
        Err(_) => Parsed::Bad(BAD_REQUEST),
    }
}

fn with_body(head: &httparse::Request<'_, '_>, rest: &[u8], head_length: usize) -> Parsed {
    let (body, length) = match body(head, rest) {
        Body::Whole(body, length) => (body, length),
        Body::Bad(status) => return Parsed::Bad(status),
        Body::Partial => {
            let expects_continue = has_token(head, "expect", "100-continue") && rest.is_empty();
            return Parsed::Partial { expects_continue };
        }
    };
    let version = if head.version == Some(1) {
        "HTTP/1.1"
    } else {
        "HTTP/1.0"
    };
    let keep_alive = match version {
        "HTTP/1.1" => !has_token(head, "connection", "close"),
        _ => has_token(head, "connection", "keep-alive"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = head.headers.iter();
    Parsed::Request {
        request: Request {
            method: head.method.unwrap_or_default().into(),
            path: head.path.unwrap_or_default().into(),
            version,
            headers: headers.map(|h| (h.name.into(), text(h.value))).collect(),
            body: text(&body),
        },
        length: head_length + length,
        keep_alive,
    }
}

enum Body {
    /// The content, and how many bytes it took.
    Whole(Vec<u8>, usize),
    Partial,
    Bad(Status),
}

fn body(head: &httparse::Request<'_, '_>, rest: &[u8]) -> Body {
    if has_token(head, "transfer-encoding", "chunked") {
        return chunked(rest);
    }
    let Some(length) = values(head, "content-length").next() else {
        return Body::Whole(Vec::new(), 0);
    };
    match length.trim().parse::<usize>() {
        Err(_) => Body::Bad(BAD_REQUEST),
        Ok(length) if length > MAX_BODY_BYTES => Body::Bad(TOO_LARGE),
        Ok(length) if length > rest.len() => Body::Partial,
        Ok(length) => Body::Whole(rest[..length].to_vec(), length),
    }
}

fn chunked(bytes: &[u8]) -> Body {
    let mut body = Vec::new();
    let mut taken = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&bytes[taken..]) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            Ok(httparse::Status::Partial) => return Body::Partial,
            Err(_) => return Body::Bad(BAD_REQUEST),
        };
        let Ok(size) = usize::try_from(size) else {
            return Body::Bad(TOO_LARGE);
        };
        if body.len().saturating_add(size) > MAX_BODY_BYTES {
            return Body::Bad(TOO_LARGE);
        }
        let data = taken + line;
        if size == 0 {
            return after_trailers(&bytes[data..], data, body);
        }
        let end = data + size;
        match bytes.get(end..end + 2) {
            None => return Body::Partial,
            Some(b"\r\n") => body.extend_from_slice(&bytes[data..end]),
            Some(_) => return Body::Bad(BAD_REQUEST),
        }
        taken = end + 2;
    }
}

fn after_trailers(bytes: &[u8], before: usize, body: Vec<u8>) -> Body {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((length, _))) => Body::Whole(body, before + length),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Body::Partial,
        _ => Body::Bad(BAD_REQUEST),
    }
}

fn values<'a>(head: &'a httparse::Request<'_, '_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
}

fn has_token(head: &httparse::Request<'_, '_>, name: &str, token: &str) -> bool {
    values(head, name)
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// The words of a status, where they are known.
pub(super) fn words(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        412 => "Precondition Failed",
        418 => "I'm a teapot",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// A whole response. `HEAD` gets the length of the content and no content.
pub(super) fn respond(
    (code, words): Status,
    content_type: &str,
    content: &str,
    location: Option<&str>,
    keep_alive: bool,
    head_only: bool,
) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    // What was decoded from a request must not end a header.
    let location = location.filter(|location| !location.contains(char::is_control));
    let location = location.map_or_else(String::new, |to| format!("Location: {to}\r\n"));
    let mut response = format!(
        "HTTP/1.1 {code} {words}\r\nServer: sealane-echo\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n{location}Connection: {connection}\r\n\r\n",
        content.len()
    )
    .into_bytes();
    if !head_only {
        response.extend_from_slice(content.as_bytes());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &str) -> (Request, usize, bool) {
        match parse(bytes.as_bytes()) {
            Parsed::Request {
                request,
                length,
                keep_alive,
            } => (request, length, keep_alive),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }

    #[test]
    fn requests_end_where_their_framing_says() {
        let next = "GET /next HTTP/1.1\r\n\r\n";
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", "hi"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\nT: 1\r\n\r\n",
                "hi!",
            ),
        ];
        for (text, body) in cases {
            let (request, length, keep_alive) = whole(&format!("{text}{next}"));
            assert_eq!(
                (request.body.as_str(), length),
                (body, text.len()),
                "{text:?}"
            );
            assert!(keep_alive, "{text:?}");
            for cut in 1..text.len() {
                let parsed = parse(&text.as_bytes()[..cut]);
                assert!(
                    matches!(parsed, Parsed::Partial { .. }),
                    "{cut} of {text:?}"
                );
            }
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        let cases = [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: close\r\n", false),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ];
        for (version, header, expected) in cases {
            let (.., keep_alive) = whole(&format!("GET / {version}\r\n{header}\r\n"));
            assert_eq!(keep_alive, expected, "{version} {header}");
        }
    }

    #[test]
    fn nonsense_gets_a_status() {
        let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(MAX_HEAD_BYTES));
        let cases = [
            ("GET / HTTP/1.1\r\nbad header\r\n\r\n", BAD_REQUEST),
            ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", BAD_REQUEST),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
                TOO_LARGE,
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                TOO_LARGE,
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
                BAD_REQUEST,
            ),
            (&long, HEAD_TOO_LARGE),
        ];
        for (text, status) in cases {
            assert_eq!(parse(text.as_bytes()), Parsed::Bad(status), "{text:.60?}");
        }
    }

    #[test]
    fn a_waiting_client_is_noticed() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        let expecting = Parsed::Partial {
            expects_continue: true,
        };
        assert_eq!(parse(head.as_bytes()), expecting);
        let sending = format!("{head}h");
        assert_ne!(parse(sending.as_bytes()), expecting);
    }
}
