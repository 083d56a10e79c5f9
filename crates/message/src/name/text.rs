//! Names as people write them (RFC 1035 §5.1): `\.` and `\\`, `\DDD` for what cannot be printed.

use std::{fmt, str::FromStr};

use super::{Labels, Name, NameFault};

/// A text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The labels do not make a name.
    #[error("name {text:?} {fault}")]
    Fault {
        /// What was given.
        text: String,
        /// What is wrong.
        fault: NameFault,
    },
    /// A backslash before nothing, or before digits that are not a byte.
    #[error("name {0:?} has a backslash that escapes nothing: write \\. or three digits up to 255")]
    Escape(String),
}

impl Name {
    /// The name without the dot at its end, as most people write it; the root stays `.`.
    #[must_use]
    pub fn without_dot(&self) -> String {
        let mut text = self.to_string();
        if !self.is_root() {
            text.pop();
        }
        text
    }
}

impl fmt::Display for Labels<'_> {
    /// Each label with a dot after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in *self {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7E => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    /// With the dot at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => f.write_str("."),
            false => self.labels().fmt(f),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// A name is absolute, with or without the dot at its end.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let escape = || NameError::Escape(text.into());
        let fault = |fault| NameError::Fault {
            text: text.into(),
            fault,
        };
        if text == "." {
            return Ok(Name::ROOT);
        }
        let mut name = Name::ROOT;
        let mut label = Vec::with_capacity(64);
        let mut bytes = text.bytes();
        let mut ended = false;
        while let Some(byte) = bytes.next() {
            ended = byte == b'.';
            match byte {
                b'.' => {
                    name.push(&label).map_err(fault)?;
                    label.clear();
                }
                b'\\' => label.push(escaped(&mut bytes).ok_or_else(escape)?),
                _ => label.push(byte),
            }
        }
        if !ended {
            name.push(&label).map_err(fault)?;
        }
        Ok(name)
    }
}

/// What stands after a backslash.
fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}
