//! The two parts of a request's target: path and query.

/// A path and the values after its question mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) path: &'a str,
    pairs: &'a str,
}

impl<'a> Query<'a> {
    pub(super) fn of(target: &'a str) -> Self {
        let (path, pairs) = target.split_once('?').unwrap_or((target, ""));
        Self { path, pairs }
    }

    /// The first value of this name.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.pairs.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decode(value))
        })
    }
}

/// `+` and `%XX`; what is no code stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.first_chunk::<2>();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        rest = match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &tail[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            (byte, _) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query = Query::of("/echo?msg=a%20b+c%2&x&msg=z");
        assert_eq!(query.path, "/echo");
        assert_eq!(query.value("msg").as_deref(), Some("a b c%2"));
        assert_eq!(query.value("x").as_deref(), Some(""));
        assert_eq!(query.value("y"), None);
        assert_eq!(Query::of("/").value("a"), None);
    }
}
