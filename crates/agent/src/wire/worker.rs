//! The threads that wire pods.
//!
//! To open a socket in a pod's namespace a thread has to enter it, which the
//! runtime's own thread must not; a thread for each pod costs more than the
//! kernel's work for it. So a few stay, each with a socket in the node's
//! namespace, and go back there after every visit.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use nix::sched::{CloneFlags, setns};
use sealane_netlink::{Direct, Nft};
use sealane_ruleset::{Change, Element};

use super::{Ground, WireError, Wired, limit::limit, make};
use crate::{leases::Lease, shape::Shape};

/// How many pods are wired side by side. The kernel changes links one after
/// the other anyway; if all of a burst proceeded together, all would be done
/// when the last is.
const WORKERS: usize = 2;

const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// A pod to wire, and whom to tell.
pub struct Job {
    pub ground: Arc<Ground>,
    pub lease: Arc<Lease>,
    /// What has to be in the node's sets before the pod's first packet.
    pub admit: Vec<Element>,
    pub shape: Shape,
    /// The pod's network namespace.
    pub netns: OwnedFd,
    /// Called on the worker's thread, so it may wait.
    pub done: Box<dyn FnOnce(Result<Wired, WireError>) + Send>,
}

/// The threads; dropping it ends them when their queue is empty.
pub struct Wirer {
    jobs: mpsc::Sender<Job>,
}

impl Wirer {
    /// Starts the threads for the node in `netns`, `None` for the namespace of this process.
    ///
    /// # Errors
    /// When the system has no thread left, or the node's namespace cannot be entered.
    pub fn start(netns: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..WORKERS {
            let (started, ready) = mpsc::channel();
            let netns = netns.map(|fd| fd.try_clone_to_owned()).transpose()?;
            let queue = Arc::clone(&queue);
            let work = move || {
                let at_home = settle_in(netns);
                let opened = at_home.and_then(|home| {
                    let node = Direct::open().map_err(io::Error::other)?;
                    let nft = Nft::open().map_err(io::Error::other)?;
                    Ok((home, node, nft))
                });
                match opened {
                    Ok((home, mut node, mut nft)) => {
                        let _ = started.send(Ok(()));
                        work_off(&queue, &mut node, &mut nft, &home);
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            };
            thread::Builder::new().name("wire".into()).spawn(work)?;
            let gone = |_| io::Error::other("the thread has ended");
            ready.recv().map_err(gone)??;
        }
        Ok(Self { jobs })
    }

    /// Hands over a job.
    pub fn wire(&self, job: Job) {
        // The threads end only with this sender.
        let _ = self.jobs.send(job);
    }
}

/// Enters the node's namespace for good; what to come back to.
fn settle_in(netns: Option<OwnedFd>) -> io::Result<File> {
    if let Some(netns) = netns {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
    }
    File::open(THREAD_NETNS)
}

fn work_off(queue: &Mutex<mpsc::Receiver<Job>>, node: &mut Direct, nft: &mut Nft, home: &File) {
    loop {
        // Held while waiting too: the other one then waits for the lock instead.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let result = admit(nft, &job.admit).and_then(|()| {
            make::wire(
                node,
                home.as_fd(),
                &job.ground,
                &job.lease,
                job.netns.as_fd(),
            )
        });
        let result = match result {
            Ok(wired) if !job.shape.is_free() => {
                let ends = (&*wired.link, &*job.lease.ifname);
                let netns = job.netns.as_fd();
                limit(node, home.as_fd(), netns, ends, job.shape).map(|()| wired)
            }
            result => result,
        };
        // The descriptor of a namespace that is going must not wait for the answer's turn.
        drop(job.netns);
        (job.done)(result);
    }
}

/// Before the link is made, so that its first packet passes. Tables that somebody has just removed
/// come back with all elements, this pod's as well.
fn admit(nft: &mut Nft, elements: &[Element]) -> Result<(), WireError> {
    let changes: Vec<Change<'_>> = elements.iter().map(Change::Add).collect();
    match nft.change(&changes) {
        Err(error) if error.is_absent() => {
            tracing::warn!("{error}; it comes with its table");
            Ok(())
        }
        result => Ok(result?),
    }
}
