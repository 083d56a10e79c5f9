//! Is this connection HTTP? Decided from its first bytes, since TCP and HTTP
//! share a port.

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    Http,
    Tcp,
    /// Too few bytes.
    Open,
}

const METHODS: [&str; 9] = [
    "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT ",
];

/// Longest first line that is waited for.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Guesses from the bytes so far. Words that cannot become a method are TCP at
/// once, so that a client that sends `hello` without a newline gets its answer.
pub(super) fn guess(bytes: &[u8]) -> Guess {
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        return if is_request_line(&bytes[..end]) {
            Guess::Http
        } else {
            Guess::Tcp
        };
    }
    let may_be_method = METHODS.iter().any(|method| {
        let length = method.len().min(bytes.len());
        bytes[..length] == method.as_bytes()[..length]
    });
    if may_be_method && bytes.len() < MAX_LINE_BYTES {
        Guess::Open
    } else {
        Guess::Tcp
    }
}

/// RFC 9112 §3: any token may be a method, so the version decides.
fn is_request_line(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else {
        return false;
    };
    let mut words = line.trim_end_matches('\r').split(' ');
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
    words.next().is_some_and(is_method)
        && words.next().is_some()
        && words.next().is_some_and(|word| word.starts_with("HTTP/1."))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        let cases: [(&str, Guess); 12] = [
            ("", Guess::Open),
            ("G", Guess::Open),
            ("GET /a", Guess::Open),
            ("GET / HTTP/1.1\r\n", Guess::Http),
            ("GET / HTTP/1.0\n", Guess::Http),
            ("PURGE /a HTTP/1.1\r\n", Guess::Http),
            ("GET me a coffee\n", Guess::Tcp),
            ("PING", Guess::Tcp),
            ("hello", Guess::Tcp),
            ("hello\n", Guess::Tcp),
            ("\n", Guess::Tcp),
            ("\u{16}\u{3}", Guess::Tcp),
        ];
        for (bytes, expected) in cases {
            assert_eq!(guess(bytes.as_bytes()), expected, "{bytes:?}");
        }
        let endless = "GET /".to_owned() + &"a".repeat(MAX_LINE_BYTES);
        assert_eq!(guess(endless.as_bytes()), Guess::Tcp);
    }
}
