//! What redb takes for its file.
//!
//! ```text
//!   checking   writes stay in memory: a file that is refused is left as it was found, so that the
//!      │       next start says the same, and what can be saved from it is not lost
//!      │ accept: they are written, sealed and synced
//!      ▼
//!   open       pages are written as they come; the header waits for the sync and is written last,
//!              with its seal
//! ```
//!
//! Because the header is last, a process that is killed between two writes leaves a file whose
//! newest state is whole. After a sync that failed, the kernel may take pages for written that the
//! disk never got; [`Backend::rewrite`] gives them to it again.

use std::{
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

use super::seal::{self, Boot, HEADER};

/// A handle on the file. redb owns one, the store another.
#[derive(Clone, Debug)]
pub(crate) struct Backend(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Box<dyn StorageBackend>,
    boot: Boot,
    state: Mutex<State>,
    unsynced: Unsynced,
}

/// What was written since the last sync that succeeded. It outlives the backend.
pub(crate) type Unsynced = Arc<Mutex<Writes>>;

#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Places and lengths.
    places: Vec<(u64, usize)>,
    /// Whether the last sync failed.
    failed: bool,
}

#[derive(Debug)]
enum State {
    Checking {
        /// How long the file is: nothing changes it meanwhile.
        there: u64,
        len: Option<u64>,
        writes: Vec<(u64, Vec<u8>)>,
    },
    Open {
        header: Option<Vec<u8>>,
    },
}

impl Backend {
    /// A file that exists, to be checked before anything in it is changed.
    pub fn checking(
        file: Box<dyn StorageBackend>,
        boot: Boot,
        unsynced: Unsynced,
    ) -> io::Result<Self> {
        let (there, len, writes) = (file.len()?, None, Vec::new());
        let state = State::Checking { there, len, writes };
        Ok(Self::new(file, boot, unsynced, state))
    }

    /// A file that is being made.
    pub fn making(file: Box<dyn StorageBackend>, boot: Boot, unsynced: Unsynced) -> Self {
        Self::new(file, boot, unsynced, State::Open { header: None })
    }

    fn new(file: Box<dyn StorageBackend>, boot: Boot, unsynced: Unsynced, state: State) -> Self {
        Self(Arc::new(Shared {
            file,
            boot,
            state: Mutex::new(state),
            unsynced,
        }))
    }

    /// Ends the check: what redb has written meanwhile goes to the file.
    pub fn accept(&self) -> io::Result<()> {
        let mut state = self.state();
        let State::Checking { len, writes, .. } = &mut *state else {
            return Ok(());
        };
        let (len, writes) = (len.take(), std::mem::take(writes));
        *state = State::Open { header: None };
        drop(state);
        if let Some(len) = len {
            self.set_len(len)?;
        }
        for (offset, bytes) in writes {
            self.write(offset, &bytes)?;
        }
        self.sync_data()
    }

    /// Writes again what a failed sync may have dropped, and syncs it.
    pub fn rewrite(file: &dyn StorageBackend, unsynced: &Unsynced) -> io::Result<()> {
        let mut writes = unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        if !writes.failed {
            return Ok(());
        }
        let len = file.len()?;
        for (offset, count) in &writes.places {
            // What lies beyond the end was never there or was cut off since.
            if offset + *count as u64 <= len {
                let mut bytes = vec![0; *count];
                file.read(*offset, &mut bytes)?;
                file.write(*offset, &bytes)?;
            }
        }
        file.sync_data()?;
        *writes = Writes::default();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsynced(&self) -> MutexGuard<'_, Writes> {
        self.0
            .unsynced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.file.write(offset, bytes)?;
        self.unsynced().places.push((offset, bytes.len()));
        Ok(())
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match &*self.state() {
            State::Checking { len: Some(len), .. } => Ok(*len),
            _ => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.state() {
            State::Open { header: Some(held) } if offset < HEADER as u64 => {
                self.0.file.read(offset, out)?;
                lay_over(offset, out, 0, held);
                return Ok(());
            }
            State::Open { .. } => {}
            State::Checking { there, len, writes } => {
                let there = there.saturating_sub(offset);
                let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
                let wanted = if len.is_some() { there } else { out.len() };
                self.0.file.read(offset, &mut out[..wanted])?;
                seal::distrust(offset, out);
                for (at, bytes) in writes {
                    lay_over(offset, out, *at, bytes);
                }
                return Ok(());
            }
        }
        self.0.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if let State::Checking { len: new, .. } = &mut *self.state() {
            *new = Some(len);
            return Ok(());
        }
        self.0.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let header = match &mut *self.state() {
            State::Checking { .. } => return Ok(()),
            State::Open { header } => header.clone(),
        };
        if let Some(header) = header {
            self.put(0, &seal::seal(&header, self.0.boot))?;
        }
        if let Err(cause) = self.0.file.sync_data() {
            self.unsynced().failed = true;
            return Err(cause);
        }
        if let State::Open { header } = &mut *self.state() {
            *header = None;
        }
        *self.unsynced() = Writes::default();
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &mut *self.state() {
            State::Checking { writes, .. } => {
                writes.push((offset, bytes.to_vec()));
                return Ok(());
            }
            State::Open { header } if offset == 0 && bytes.len() == HEADER => {
                *header = Some(bytes.to_vec());
                return Ok(());
            }
            State::Open { .. } => {}
        }
        self.put(offset, bytes)
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

/// Puts the part of `bytes`, which are written at `at`, that falls into `out`, read at `offset`.
fn lay_over(offset: u64, out: &mut [u8], at: u64, bytes: &[u8]) {
    let end = (offset + out.len() as u64).min(at + bytes.len() as u64);
    let start = offset.max(at);
    if start < end {
        let (from, to, count) = (start - at, start - offset, end - start);
        let [from, to, count] = [from, to, count].map(|n| n as usize);
        out[to..to + count].copy_from_slice(&bytes[from..from + count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_common_part_is_laid_over() {
        for (offset, at, expected) in [
            (10, 8, [3, 0, 0]),
            (10, 11, [0, 1, 2]),
            (10, 10, [1, 2, 3]),
            (10, 13, [0; 3]),
            (10, 7, [0; 3]),
        ] {
            let mut out = [0; 3];
            lay_over(offset, &mut out, at, &[1, 2, 3]);
            assert_eq!(out, expected, "{at}");
        }
    }
}
