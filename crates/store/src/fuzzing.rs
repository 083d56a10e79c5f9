//! Doors for fuzz targets: what is read from the disk, and what must hold whatever it is.
//!
//! Not part of the interface. The targets are in `fuzz/`; what they began with and what they once broke
//! runs again in this crate's tests. Each door takes any bytes and panics when something does not hold.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::PathBuf,
    sync::OnceLock,
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{
    Attributes, Bounds, Bucket, ChangeKind, Key, OpenError, Packed,
    disk::{Boot, Disk, HEADER, Medium, Row, SEALED, seal},
    log::{
        EventRow, PreviousRow, decode_dictionary, decode_object, encode_dictionary, encode_object,
    },
};

const PAGE: usize = 4096;
/// The run of the machine in which files are written and opened.
const BOOT: Boot = Boot(1);
const BOUNDS: Bounds = Bounds {
    events: 20,
    bytes: 1 << 20,
    age: std::time::Duration::from_secs(1 << 40),
};

/// A row: that of an event, and that of an object.
///
/// # Panics
///
/// When a row that can be read is not what is written of it.
pub fn row(bytes: &[u8]) {
    if let Some(event) = EventRow::decode(bytes) {
        assert_eq!(EventRow::time_ms(bytes), Some(event.time_ms));
        let again = event.encode();
        assert_eq!(EventRow::decode(&again), Some(event), "it says the same");
    }
    if let Some((revision, object)) = decode_object(bytes) {
        assert_eq!(encode_object(revision, &object), bytes);
        let packed = Packed::from_row(object, None);
        if let Some(unpacked) = packed.try_unpack() {
            assert_eq!(unpacked, packed.unpack());
            assert_eq!(unpacked.len(), packed.len());
        }
    }
    if let Some((bucket, dictionary)) = decode_dictionary(bytes) {
        let again = encode_dictionary(&bucket, dictionary);
        assert_eq!(decode_dictionary(&again), Some((bucket, dictionary)));
    }
}

/// A file of a store that was spoilt. The first byte says what is done to it, the next two where it ends, and
/// each four that follow change a byte or take a page for another.
///
/// # Panics
///
/// When damage is not told, changes what is in the file, or hides an object.
pub fn file(bytes: &[u8]) {
    let Some((&[how, low, high], changes)) = bytes.split_first_chunk() else {
        return;
    };
    let how = How(how);
    let whole = whole();
    let mut content = whole.bytes.clone();
    for &[a, b, c, d] in changes.as_chunks().0.iter().take(64) {
        let at = usize::from(u16::from_le_bytes([a, b]));
        if how.pages() {
            let page = |page: usize| page % (content.len() / PAGE) * PAGE;
            let (from, to) = (page(usize::from(d)), page(at));
            content.copy_within(from..from + PAGE, to);
        } else {
            content[whole.places[at % whole.places.len()]] ^= if d == 0 { c } else { d };
        }
    }
    if how.without_seal() {
        content[HEADER..SEALED].fill(0);
    } else if how.sealed_again() {
        let sealed = seal::seal(&content[..HEADER], BOOT);
        content[..SEALED].copy_from_slice(&sealed);
    }
    if how.cut() {
        let end = usize::from(u16::from_le_bytes([low, high])) * 64;
        content.truncate(end % content.len());
    }
    opened(&content, how, whole);
}

/// What is done to a file.
#[derive(Clone, Copy)]
struct How(u8);

impl How {
    /// It is as an older version wrote it.
    fn without_seal(self) -> bool {
        self.0 & 1 != 0
    }

    /// What was changed was meant to be.
    fn sealed_again(self) -> bool {
        self.0 & 2 != 0
    }

    fn cut(self) -> bool {
        self.0 & 4 != 0
    }

    /// Writes went to another place, or did not arrive.
    fn pages(self) -> bool {
        self.0 & 8 != 0
    }

    /// The machine has stopped since.
    fn power_was_lost(self) -> bool {
        self.0 & 16 != 0
    }

    /// Whether all that was acknowledged is there, or the file is refused.
    fn nothing_is_lost(self) -> bool {
        !self.without_seal() && !self.sealed_again() && !self.power_was_lost()
    }
}

fn opened(content: &[u8], how: How, whole: &Whole) {
    let file =
        File::from(memfd_create("store", MFdFlags::MFD_CLOEXEC).expect("make a file in memory"));
    file.write_all_at(content, 0).expect("write it");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut found = Vec::new();
    let boot = if how.power_was_lost() { Boot(2) } else { BOOT };
    let opened = Disk::open(&path, BOUNDS, medium(boot), |key, revision, object| {
        found.push((key.to_string(), revision, object.unpack().to_vec()));
    });
    let disk = match opened {
        Ok((disk, _)) => disk,
        Err(OpenError::Damaged { cause, .. }) => {
            assert!(!cause.is_empty());
            assert!(
                fs::read(&path).is_ok_and(|now| now == content),
                "it is left as it was"
            );
            return;
        }
        Err(OpenError::Layout { .. }) if !how.nothing_is_lost() => return,
        Err(cause) => panic!("{cause}"),
    };
    if how.nothing_is_lost() {
        assert_eq!(found, whole.objects, "all that was acknowledged");
    }
    let mut events = 0;
    let read = disk.events(0, |_| true, |_, _| events += 1);
    let next = write(&disk, 1000, ChangeKind::Created, "new");
    if how.nothing_is_lost() {
        assert!(read.is_ok() && next.is_ok());
        assert_eq!(events, BOUNDS.events);
    }
}

fn medium(boot: Boot) -> Medium {
    Medium {
        boot,
        ..Medium::file()
    }
}

/// A file, and what is in it.
struct Whole {
    bytes: Vec<u8>,
    /// Where something is in it.
    places: Vec<usize>,
    objects: Vec<(String, u64, Vec<u8>)>,
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder =
            std::env::temp_dir().join(format!("sealane-store-fuzzing-{}", std::process::id()));
        fs::create_dir(&folder).expect("make a folder");
        let path = folder.join("store");
        let (disk, _) =
            Disk::open(&path, BOUNDS, medium(BOOT), |_, _, _| {}).expect("make a store");
        for revision in 2..40 {
            let (kind, name) = match revision % 7 {
                0 => (ChangeKind::Deleted, revision - 5),
                1 => (ChangeKind::Updated, revision - 5),
                _ => (ChangeKind::Created, revision),
            };
            write(&disk, revision, kind, &format!("n{name}")).expect("write to a store");
        }
        drop(disk);
        let bytes = fs::read(&path).expect("read a store");
        let mut objects = Vec::new();
        Disk::open(&path, BOUNDS, medium(BOOT), |key, revision, object| {
            objects.push((key.to_string(), revision, object.unpack().to_vec()));
        })
        .expect("open a store");
        fs::remove_dir_all(&folder).expect("remove a folder");
        let something = |at: &usize| *at < SEALED || bytes[*at] != 0;
        let places = (0..bytes.len()).filter(something).collect();
        Whole {
            bytes,
            places,
            objects,
        }
    })
}

fn write(disk: &Disk, revision: u64, kind: ChangeKind, name: &str) -> Result<(), redb::Error> {
    let previous = (kind != ChangeKind::Created).then(|| PreviousRow {
        attributes: Attributes::new([("app", "a")], [("spec.nodeName", name)]),
        object: None,
    });
    // Some take more than a page.
    let object: Vec<u8> = (0..40 << (revision % 9))
        .map(|at: u64| (at * at % 251) as u8)
        .collect();
    let object = Packed::pack(&object, None, &mut Vec::new());
    let event = EventRow {
        kind,
        time_ms: 1_700_000_000_000 + revision,
        key: Key::new(&Bucket::new("", "configmaps"), "default", name),
        previous,
        object: object.row(),
    };
    disk.commit(&[Row { revision, event }], 1_700_000_000_000 + revision)?;
    Ok(())
}
