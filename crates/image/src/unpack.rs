//! A layer's tar into a directory, as overlayfs wants it.
//!
//! ```text
//!            this thread reads                another hashes the tar
//!   blob ──► digest ──► decompress ──┬──► chunks ──► tree
//!                                    └──► chunks ──► diff id
//! ```
//!
//! A whiteout `.wh.NAME` becomes a character device 0/0, an opaque directory the extended attribute
//! `trusted.overlay.opaque` (OCI image layer spec, kernel: Documentation/filesystems/overlayfs.rst).
//!
//! Three threads, since each step costs about as much as the others. What reached the directory
//! counts only when both digests are right; the caller throws it away otherwise.

mod place;
mod tree;
mod whiteout;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::compression;
use crate::digest::{Digest, Hasher, Hashing};
use crate::error::Error;
use crate::store::LayerPlan;
use crate::tarball::Tarball;
use tree::Tree;

const CHUNK: usize = 256 << 10;
/// Chunks that may wait between two threads.
const AHEAD: usize = 8;

/// What a layer may hold at most; the tests have smaller ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the plain tar.
    pub(crate) bytes: u64,
    /// Files, directories and so on.
    pub(crate) entries: u64,
    /// Bytes of the disk that stay free for others.
    pub(crate) spare_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 128 << 30,
            entries: 4_000_000,
            spare_bytes: 256 << 20,
        }
    }
}

type Chunk = io::Result<Arc<Vec<u8>>>;

/// Unpacks a blob into `root`, an empty directory, upon the layers `below`, lowest first.
pub(crate) fn unpack(
    blob: File,
    layer: &LayerPlan,
    root: &Path,
    below: &[PathBuf],
) -> Result<(), Error> {
    unpack_within(blob, layer, root, below, Limits::default())
}

fn unpack_within(
    blob: File,
    layer: &LayerPlan,
    root: &Path,
    below: &[PathBuf],
    limits: Limits,
) -> Result<(), Error> {
    let (to_tree, chunks) = sync_channel(AHEAD);
    let (to_hash, copies) = sync_channel::<Arc<Vec<u8>>>(AHEAD);
    let (unpacked, blob_digest, diff_id) = thread::scope(|scope| {
        let reader = scope.spawn(|| decompress(blob, &layer.blob, to_tree, to_hash));
        let hasher = scope.spawn(|| hash(&layer.diff_id, copies));
        let unpacked = fill(Chunks::new(chunks, limits.bytes), root, below, limits);
        (unpacked, reader.join(), hasher.join())
    });
    let blob_digest = blob_digest
        .expect("reading does not panic")
        .map_err(|error| {
            Error::content("layer", &layer.blob, format!("it cannot be read: {error}"))
        })?;
    // A damaged blob may look like anything: its digest is judged first.
    if blob_digest != layer.blob {
        let reason = format!("the file is damaged, it has {blob_digest}");
        return Err(Error::content("layer", &layer.blob, reason));
    }
    unpacked.map_err(|error| Error::layer(&layer.blob, error))?;
    let diff_id = diff_id.expect("hashing does not panic");
    if diff_id != layer.diff_id {
        let reason = format!(
            "its tar has {diff_id}, the image's configuration says {}",
            layer.diff_id
        );
        return Err(Error::layer(&layer.blob, reason));
    }
    Ok(())
}

/// Reads the whole blob, whatever becomes of its content; returns its digest.
fn decompress(
    blob: File,
    expected: &Digest,
    to_tree: SyncSender<Chunk>,
    to_hash: SyncSender<Arc<Vec<u8>>>,
) -> io::Result<Digest> {
    let mut source = Hashing::new(expected.algorithm(), BufReader::with_capacity(CHUNK, blob));
    if let Err(error) = send(&mut source, &to_tree, &to_hash) {
        // Nobody listens any more when the tree has failed by itself.
        let _ = to_tree.send(Err(error));
    }
    drop((to_tree, to_hash));
    io::copy(&mut source, &mut io::sink())?;
    Ok(source.finish())
}

fn send(
    source: &mut (impl BufRead + Send),
    to_tree: &SyncSender<Chunk>,
    to_hash: &SyncSender<Arc<Vec<u8>>>,
) -> io::Result<()> {
    let mut plain = compression::plain(source)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let chunk = Arc::new(chunk);
        let heard = to_tree.send(Ok(chunk.clone())).is_ok() && to_hash.send(chunk).is_ok();
        if !heard {
            return Ok(());
        }
    }
}

fn hash(expected: &Digest, chunks: Receiver<Arc<Vec<u8>>>) -> Digest {
    let mut hasher = Hasher::new(expected.algorithm());
    chunks.iter().for_each(|chunk| hasher.update(&chunk));
    hasher.finish()
}

pub(crate) fn fill<R: BufRead>(
    chunks: R,
    root: &Path,
    below: &[PathBuf],
    limits: Limits,
) -> io::Result<()> {
    let mut tree = Tree::new(root, below, limits)?;
    let mut tarball = Tarball::new(chunks);
    while let Some(entry) = tarball.next()? {
        tree.add(&entry, &mut tarball)
            .map_err(|error| named(&entry.path, &error))?;
    }
    tree.finish()?;
    // What follows the end counts for the diff id.
    io::copy(&mut tarball.into_inner(), &mut io::sink()).map(drop)
}

fn named(path: &[u8], error: &io::Error) -> io::Error {
    let name = String::from_utf8_lossy(path);
    io::Error::new(error.kind(), format!("entry {name:?}: {error}"))
}

/// The plain tar, as it comes from the thread that decompresses.
struct Chunks {
    receiver: Receiver<Chunk>,
    chunk: Arc<Vec<u8>>,
    at: usize,
    left: u64,
}

impl Chunks {
    fn new(receiver: Receiver<Chunk>, limit: u64) -> Self {
        Self {
            receiver,
            chunk: Arc::default(),
            at: 0,
            left: limit,
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        self.at = 0;
        self.chunk = match self.receiver.recv() {
            Ok(chunk) => chunk?,
            Err(_) => Arc::default(),
        };
        self.left = self
            .left
            .checked_sub(self.chunk.len() as u64)
            .ok_or_else(|| io::Error::other("it is larger than a layer may be"))?;
        Ok(())
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.advance()?;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}
