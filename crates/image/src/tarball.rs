//! Tar archives as a stream: ustar, GNU's long names, pax headers (POSIX.1-2024, pax).
//!
//! The fields of a header are decoded by the `tar` crate. What it would do with them is not taken:
//! it reads names of any length into memory, splits pax records at line ends (which are legal in
//! the binary value of `security.capability`), and ignores a size that contradicts the header's.

use std::io::{self, BufRead, Read};

use tar::EntryType;

const BLOCK: usize = 512;
/// Bytes of names and attributes that an entry may state.
const MAX_META: u64 = 1 << 20;
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// An entry as its author wrote it: nothing in it is to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads an archive; between two calls of [`Tarball::next`] it is the data of the entry.
pub(crate) struct Tarball<R> {
    input: R,
    left: u64,
    padding: u64,
}

/// What precedes an entry and changes it.
#[derive(Default)]
struct Extension {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
}

fn malformed(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl<R: BufRead> Tarball<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The stream behind the last entry.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// The next entry, whatever was read of the one before; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size()?;
            match header.entry_type() {
                EntryType::GNULongName => extension.long_path = Some(self.text(size)?),
                EntryType::GNULongLink => extension.long_link = Some(self.text(size)?),
                EntryType::XHeader => extension.pax = pax(&self.meta(size)?)?,
                // Comments of `git archive`; nobody else writes them.
                EntryType::XGlobalHeader => {
                    self.meta(size)?;
                }
                _ => {
                    let entry = extension.apply(&header)?;
                    self.expect(if entry.kind == Kind::File {
                        entry.size
                    } else {
                        size
                    });
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    /// Passes over what is left of an entry. The last one's padding may be missing: umoci leaves
    /// it out, and everybody takes it.
    fn skip(&mut self) -> io::Result<()> {
        let mut rest = self.left + self.padding;
        while rest > 0 {
            let n = self.input.fill_buf()?.len();
            if n == 0 && rest > self.padding {
                return Err(malformed("it ends within an entry"));
            }
            if n == 0 {
                break;
            }
            let n = (n as u64).min(rest);
            self.input.consume(n as usize);
            rest -= n;
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// A block that is a header; a block of zeros, or the end of the stream, is the end.
    fn header(&mut self) -> io::Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let block = header.as_mut_bytes();
        self.input
            .read_exact(block)
            .map_err(|_| malformed("it ends within a header"))?;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        let own: u32 = block[148..156].iter().map(|b| u32::from(*b)).sum();
        if header.cksum().ok() != Some(sum - own + 8 * u32::from(b' ')) {
            return Err(malformed(
                "a header's checksum is wrong: this is no tar archive, or it is damaged",
            ));
        }
        Ok(Some(header))
    }

    fn meta(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_META {
            return Err(malformed(format!(
                "an entry states {size} bytes of names and attributes"
            )));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.meta(size)?;
        bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
        Ok(bytes)
    }
}

impl<R: BufRead> Read for Tarball<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Tarball<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            return Err(malformed("it ends within an entry"));
        }
        let n = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        Ok(&bytes[..n])
    }

    fn consume(&mut self, n: usize) {
        self.left -= n as u64;
        self.input.consume(n);
    }
}

impl Extension {
    fn apply(self, header: &tar::Header) -> io::Result<Entry> {
        let id =
            |value: u64| u32::try_from(value).map_err(|_| malformed("an owner's id is too large"));
        let path = self
            .long_path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = self
            .long_link
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let device = (
            header.device_major().ok().flatten().unwrap_or(0),
            header.device_minor().ok().flatten().unwrap_or(0),
        );
        let old = header.as_old();
        let mut entry = Entry {
            kind: kind(header, &path)?,
            path,
            link,
            mode: stated(&old.mode, || header.mode())? & 0o7777,
            uid: id(stated(&old.uid, || header.uid())?)?,
            gid: id(stated(&old.gid, || header.gid())?)?,
            size: header.entry_size()?,
            mtime: (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0),
            device,
            xattrs: Vec::new(),
        };
        for (key, value) in self.pax {
            entry.extend(&key, value)?;
        }
        if entry.path.contains(&0) || entry.link.contains(&0) {
            return Err(malformed("a name contains a zero byte"));
        }
        Ok(entry)
    }
}

impl Entry {
    fn extend(&mut self, key: &[u8], value: Vec<u8>) -> io::Result<()> {
        match key {
            b"path" => self.path = value,
            b"linkpath" => self.link = value,
            b"size" => self.size = number(&value)?,
            b"uid" => self.uid = number(&value)?,
            b"gid" => self.gid = number(&value)?,
            b"mtime" => self.mtime = time(&value)?,
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(malformed(
                    "it holds a sparse file, which images have no use for",
                ));
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value));
                }
            }
        }
        Ok(())
    }
}

/// A number that some tools leave out, which is zero then.
fn stated<T: Default>(field: &[u8], read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) {
        return Ok(T::default());
    }
    read()
}

fn kind(header: &tar::Header, path: &[u8]) -> io::Result<Kind> {
    Ok(match header.entry_type() {
        // Before ustar a directory was a file with a slash behind its name.
        EntryType::Regular if path.ends_with(b"/") && header.as_bytes()[156] == 0 => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Char => Kind::CharDevice,
        EntryType::Block => Kind::BlockDevice,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        EntryType::GNUSparse => {
            return Err(malformed(
                "it holds a sparse file, which images have no use for",
            ));
        }
        other => {
            let name = String::from_utf8_lossy(path).into_owned();
            let code = char::from(other.as_byte()).escape_default();
            return Err(malformed(format!(
                "entry {name:?} is of the unknown type '{code}'"
            )));
        }
    })
}

/// Records of `LENGTH KEY=VALUE\n`; values may hold anything.
fn pax(mut bytes: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) =
            pax_record(bytes).ok_or_else(|| malformed("a pax header is malformed"))?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

type Record = (Vec<u8>, Vec<u8>);

fn pax_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let space = bytes.iter().position(|b| *b == b' ')?;
    let len: usize = number(&bytes[..space]).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|b| *b == b'=')?;
    Some(((text[..equals].to_vec(), text[equals + 1..].to_vec()), rest))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> io::Result<T> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|t| !t.starts_with('+'));
    digits
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("a number in a pax header is malformed"))
}

/// `1700000000.123`, also before 1970.
fn time(text: &[u8]) -> io::Result<(i64, u32)> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let seconds: i64 = number(whole)?;
    let mut digits: Vec<u8> = fraction.iter().copied().take(9).collect();
    digits.resize(9, b'0');
    let nanos: u32 = number(&digits)?;
    Ok(match (whole.starts_with(b"-"), nanos) {
        (true, 1..) => (seconds.saturating_sub(1), 1_000_000_000 - nanos),
        _ => (seconds, nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
        let mut tarball = Tarball::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = tarball.next()? {
            let mut data = Vec::new();
            tarball.read_to_end(&mut data)?;
            found.push((entry, data));
        }
        Ok(found)
    }

    fn header(size: u64, kind: EntryType) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header
    }

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    #[test]
    fn names_of_any_form_are_read() {
        let long = format!("{}/x", "d".repeat(180));
        let bytes = archive(|builder| {
            let mut short = header(2, EntryType::Regular);
            builder.append_data(&mut short, "a", &b"hi"[..]).unwrap();
            let mut gnu = tar::Header::new_gnu();
            gnu.set_size(0);
            gnu.set_mode(0o600);
            gnu.set_entry_type(EntryType::Regular);
            builder.append_data(&mut gnu, &long, &b""[..]).unwrap();
            let value: &[u8] = b"\x01\n=\x00\xff";
            let pairs = [
                ("SCHILY.xattr.security.capability", value),
                ("path", b"pax"),
                ("mtime", b"-1.25"),
                ("uid", b"70000"),
            ];
            builder.append_pax_extensions(pairs).unwrap();
            let mut plain = header(1, EntryType::Regular);
            builder.append_data(&mut plain, "short", &b"!"[..]).unwrap();
        });
        let found = entries(&bytes).unwrap();
        assert_eq!(
            (found[0].0.path.as_slice(), found[0].1.as_slice()),
            (&b"a"[..], &b"hi"[..])
        );
        assert_eq!(found[1].0.path, long.as_bytes());
        let (pax, data) = &found[2];
        assert_eq!(
            (pax.path.as_slice(), data.as_slice()),
            (&b"pax"[..], &b"!"[..])
        );
        assert_eq!((pax.uid, pax.mtime), (70000, (-2, 750_000_000)));
        let capability = (b"security.capability".to_vec(), b"\x01\n=\x00\xff".to_vec());
        assert_eq!(pax.xattrs, [capability]);
    }

    #[test]
    fn a_size_that_contradicts_the_header_frames_the_data_too() {
        // One reader that skips by the header and uses the pax size would see another entry here.
        let bytes = archive(|builder| {
            builder
                .append_pax_extensions([("size", &b"3"[..])])
                .unwrap();
            let mut lying = header(0, EntryType::Regular);
            lying.set_path("a").unwrap();
            lying.set_cksum();
            builder.append(&lying, &b""[..]).unwrap();
            builder.get_mut().extend_from_slice(&[b'x'; 3]);
            builder.get_mut().extend_from_slice(&[0; 509]);
            let mut next = header(0, EntryType::Regular);
            builder.append_data(&mut next, "b", &b""[..]).unwrap();
        });
        let found = entries(&bytes).unwrap();
        assert_eq!(found[0].1, b"xxx");
        assert_eq!(found[1].0.path, b"b");
    }

    #[test]
    fn what_is_broken_is_an_error_and_never_more() {
        let good = archive(|builder| {
            let mut file = header(700, EntryType::Regular);
            builder.append_data(&mut file, "a", &[7; 700][..]).unwrap();
        });
        for len in [1, 511, 513, 1100, 512 + 699] {
            assert!(entries(&good[..len]).is_err(), "{len}");
        }
        for len in [512 + 700, 512 + 701, 512 + 1024] {
            assert_eq!(entries(&good[..len]).unwrap().len(), 1, "{len}");
        }
        assert!(
            entries(&[b'x'; 1024])
                .unwrap_err()
                .to_string()
                .contains("no tar archive")
        );
        let huge = archive(|builder| {
            let mut name = header(1 << 40, EntryType::GNULongName);
            name.set_cksum();
            builder.append(&name, &b""[..]).unwrap();
        });
        assert!(
            entries(&huge)
                .unwrap_err()
                .to_string()
                .contains("1099511627776 bytes of names")
        );
        for bad in [
            &b"0 a=b\n"[..],
            b"9999 a=b\n",
            b"6 a=b",
            b"5 ab\n",
            b"-1 a=b\n",
            b" ",
        ] {
            assert!(pax(bad).is_err(), "{bad:?}");
        }
        let sparse = archive(|builder| {
            let mut file = header(0, EntryType::GNUSparse);
            file.set_cksum();
            builder.append(&file, &b""[..]).unwrap();
        });
        assert!(entries(&sparse).is_err());
    }
}
