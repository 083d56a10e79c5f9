//! A disk that is told when to fail, and that notes what was written since the last sync.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::StorageBackend;

use crate::disk::{Boot, Medium};

/// What reached the disk.
#[derive(Clone, Debug)]
pub enum Step {
    Write(u64, Vec<u8>),
    Len(u64),
    Sync,
}

/// What the test knows of the disk.
#[derive(Debug, Default)]
pub struct Control {
    /// Steps that still succeed, plus one; 0 for all of them.
    until_failure: AtomicU64,
    /// Every step so far, if they are to be kept.
    pub steps: Option<Mutex<Vec<Step>>>,
    /// Steps so far.
    pub count: AtomicU64,
}

impl Control {
    pub fn recording() -> Arc<Self> {
        Arc::new(Self {
            steps: Some(Mutex::default()),
            ..Self::default()
        })
    }

    /// Lets `steps` more succeed, and none after them.
    pub fn fail_after(&self, steps: u64) {
        self.until_failure.store(steps + 1, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.until_failure.store(0, Ordering::SeqCst);
    }

    pub fn medium(self: &Arc<Self>, boot: u64) -> Medium {
        let control = self.clone();
        Medium {
            boot: Boot(boot),
            through: Arc::new(move |file| {
                let control = control.clone();
                Ok(Box::new(Disk { file, control }))
            }),
        }
    }

    fn step(&self, step: impl FnOnce() -> Step) -> io::Result<()> {
        let left = &self.until_failure;
        match left.load(Ordering::SeqCst) {
            0 => {}
            1 => return Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)),
            more => left.store(more - 1, Ordering::SeqCst),
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(steps) = &self.steps {
            steps.lock().unwrap().push(step());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Disk {
    file: File,
    control: Arc<Control>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.control.step(|| Step::Len(len))?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.control.step(|| Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.control.step(|| Step::Write(offset, data.to_vec()))?;
        self.file.write_all_at(data, offset)
    }
}

/// Numbers that look random and are the same each time (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
