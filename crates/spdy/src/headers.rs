//! Headers of a stream, and how they are written before they are packed.

use bytes::{Buf, BufMut};

use crate::error::Error;

/// Names and values, in their order. Names are found whatever their case, since Go's peers write
/// theirs as `Streamtype` or `streamType`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Headers of these pairs.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(pairs.into_iter().map(owned).collect())
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = |pair: &&(String, String)| pair.0.eq_ignore_ascii_case(name);
        self.0.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads a header block (SPDY/3.1 §2.6.10). A name with several values, which a zero byte
    /// parts, becomes several pairs.
    pub(crate) fn read(mut block: &[u8]) -> Result<Self, Error> {
        let count = number(&mut block)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = text(&mut block)?;
            let values = text(&mut block)?;
            for value in values.split('\0') {
                pairs.push((name.clone(), value.to_owned()));
            }
        }
        if !block.is_empty() {
            return Err(Error::Headers("bytes after the last of them"));
        }
        Ok(Self(pairs))
    }

    /// Writes a header block; names are written in lower case, as the protocol wants them.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut grouped: Vec<(String, String)> = Vec::new();
        for (name, value) in self.iter() {
            let name = name.to_ascii_lowercase();
            match grouped.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => {
                    values.push('\0');
                    values.push_str(value);
                }
                None => grouped.push((name, value.to_owned())),
            }
        }
        let mut block = Vec::new();
        let mut put = |text: &[u8]| {
            block.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
            block.put_slice(text);
        };
        for (name, values) in &grouped {
            put(name.as_bytes());
            put(values.as_bytes());
        }
        let count = u32::try_from(grouped.len()).unwrap_or(u32::MAX);
        [&count.to_be_bytes()[..], &block].concat()
    }
}

fn number(block: &mut &[u8]) -> Result<usize, Error> {
    let number = block.try_get_u32();
    let number = number.map_err(|_| Error::Headers("they end within a number"))?;
    usize::try_from(number).map_err(|_| Error::Headers("a number that is too large"))
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let length = number(block)?;
    let bytes = block
        .split_off(..length)
        .ok_or(Error::Headers("a text that goes beyond their end"))?;
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::Headers("a text that is not UTF-8"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let headers = Headers::new([("Streamtype", "data"), ("port", "80"), ("PORT", "81")]);
        assert_eq!(headers.get("streamType"), Some("data"));
        assert_eq!(headers.get("port"), Some("80"));
        assert_eq!(headers.get("requestID"), None);
        let read = Headers::read(&headers.write()).unwrap();
        let expected = [("streamtype", "data"), ("port", "80"), ("port", "81")];
        assert_eq!(read, Headers::new(expected));
    }

    #[test]
    fn blocks_that_lie_are_refused() {
        let fault = |block: &[u8]| Headers::read(block).unwrap_err().to_string();
        for (block, expected) in [
            (&[][..], "they end within a number"),
            (&[0, 0, 0, 1], "they end within a number"),
            (&[0xff, 0xff, 0xff, 0xff], "they end within a number"),
            (
                &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, b'a'],
                "a text that goes beyond their end",
            ),
            (&[0, 0, 0, 1, 0, 0, 0, 1, 0xff], "a text that is not UTF-8"),
            (&[0, 0, 0, 0, 0], "bytes after the last of them"),
        ] {
            assert_eq!(
                fault(block),
                format!("read headers: {expected}"),
                "{block:?}"
            );
        }
    }
}
