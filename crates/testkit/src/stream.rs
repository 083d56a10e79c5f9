//! A TCP stream between two namespaces that notices when it is cut or stalls.
//!
//! The client sends numbered lines of eight bytes and waits for each to come back, so every byte
//! that counts has made the whole way there and back, and a gap between two of them is a stall.

use std::io::{Read, Write};
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::deadline::{SOON, eventually};
use crate::namespace::Namespace;

/// A reader gives up after this long, and calls the stream cut.
const CUT: Duration = Duration::from_secs(30);

/// Time between an answer and the next number.
const PACE: Duration = Duration::from_millis(1);

/// A stream that runs until it is finished or dropped.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<State>,
    connection: TcpStream,
    client: Option<JoinHandle<()>>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    answers: AtomicU64,
    stop: AtomicBool,
    longest_gap: Mutex<Duration>,
    failure: Mutex<Option<String>>,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Numbers that came back.
    pub answers: u64,
    /// The longest time without one.
    pub longest_gap: Duration,
    /// Segments that the client's kernel had to send again: packets lost, or late beyond 200 ms.
    pub retransmissions: u64,
}

impl Stream {
    /// Opens a listener at `address` inside `server`, connects to it from `client`, and keeps talking.
    ///
    /// # Panics
    /// When either cannot be done.
    #[track_caller]
    pub fn between(client: &Namespace, server: &Namespace, address: IpAddr) -> Self {
        let listener = server
            .enter(|| TcpListener::bind(SocketAddr::new(address, 0)))
            .unwrap_or_else(|error| panic!("listen at {address} in {}: {error}", server.title()));
        let target = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("ask for the listener's address: {error}"));
        let connection = client
            .enter(|| TcpStream::connect_timeout(&target, SOON))
            .unwrap_or_else(|error| panic!("connect from {} to {target}: {error}", client.title()));
        let (accepted, _) = listener
            .accept()
            .unwrap_or_else(|error| panic!("accept at {target}: {error}"));
        let talker = connection
            .try_clone()
            .unwrap_or_else(|error| panic!("share the connection: {error}"));
        let shared = Arc::new(State::default());
        let talking = Arc::clone(&shared);
        let stream = Self {
            shared,
            connection,
            client: Some(std::thread::spawn(move || talk(talker, &talking))),
            server: Some(std::thread::spawn(move || answer(accepted))),
        };
        stream.expect_progress();
        stream
    }

    /// Waits until a good number of further bytes has come back.
    ///
    /// # Panics
    /// When the stream is cut, or stalls.
    #[track_caller]
    pub fn expect_progress(&self) {
        let before = self.shared.answers.load(Ordering::Relaxed);
        eventually(CUT, "the stream goes on", || {
            if let Some(failure) = self.failure() {
                panic!("the stream is cut: {failure}");
            }
            self.shared.answers.load(Ordering::Relaxed) > before + 20
        });
    }

    /// Ends the stream in good order.
    ///
    /// # Panics
    /// When it was cut before.
    #[track_caller]
    pub fn finish(mut self) -> Summary {
        self.expect_progress();
        self.join();
        Summary {
            answers: self.shared.answers.load(Ordering::Relaxed),
            longest_gap: *self
                .shared
                .longest_gap
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            retransmissions: self.retransmissions(),
        }
    }

    /// How many segments the client's kernel has sent again so far.
    pub fn retransmissions(&self) -> u64 {
        retransmissions(&self.connection)
    }

    fn failure(&self) -> Option<String> {
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in [self.client.take(), self.server.take()]
            .into_iter()
            .flatten()
        {
            // Its failure, if any, stands in the shared state.
            drop(thread.join());
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.join();
    }
}

fn talk(mut connection: TcpStream, state: &State) {
    let mut number = 0_u64;
    let mut last = Instant::now();
    while !state.stop.load(Ordering::Relaxed) {
        number += 1;
        if let Err(failure) = exchange(&mut connection, number) {
            *state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            break;
        }
        let mut longest = state
            .longest_gap
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *longest = longest.max(last.elapsed());
        drop(longest);
        last = Instant::now();
        state.answers.store(number, Ordering::Relaxed);
        std::thread::sleep(PACE);
    }
    // The stream holds the connection too, so closing is not left to drop.
    drop(connection.shutdown(Shutdown::Write));
}

fn exchange(connection: &mut TcpStream, number: u64) -> Result<(), String> {
    let failed = |what: &str, error: std::io::Error| format!("{what} number {number}: {error}");
    connection
        .set_read_timeout(Some(CUT))
        .map_err(|error| failed("prepare", error))?;
    connection
        .write_all(&number.to_be_bytes())
        .map_err(|error| failed("send", error))?;
    let mut back = [0; 8];
    connection
        .read_exact(&mut back)
        .map_err(|error| failed("receive", error))?;
    let back = u64::from_be_bytes(back);
    if back == number {
        Ok(())
    } else {
        Err(format!("sent number {number} and got {back}"))
    }
}

fn answer(mut connection: TcpStream) {
    let mut bytes = [0; 8];
    // Ends when the client closes; a cut is the client's to notice.
    while connection.read_exact(&mut bytes).is_ok() && connection.write_all(&bytes).is_ok() {}
}

/// tcp(7), TCP_INFO: how many segments were sent again in the connection's life.
fn retransmissions(connection: &TcpStream) -> u64 {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let done = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(
        done,
        0,
        "ask for TCP_INFO: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: all zero bytes are a valid tcp_info, and the kernel has written valid ones.
    u64::from(unsafe { info.assume_init() }.tcpi_total_retrans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn a_stream_flows_and_tells_how_well() {
        let (topology, [left, right]) = Topology::new(["left", "right"]);
        topology.join(
            (&left, "eth0", "10.9.0.1/24"),
            (&right, "eth0", "10.9.0.2/24"),
        );
        let stream = Stream::between(&left, &right, "10.9.0.2".parse().unwrap());
        stream.expect_progress();
        let summary = stream.finish();
        assert!(summary.answers > 20, "{summary:?}");
        assert!(summary.longest_gap > Duration::ZERO, "{summary:?}");
    }

    #[test]
    fn a_packet_lost_on_the_way_is_noticed() {
        let (topology, [left, right]) = Topology::new(["left", "right"]);
        topology.join(
            (&left, "eth0", "10.9.0.1/24"),
            (&right, "eth0", "10.9.0.2/24"),
        );
        let stream = Stream::between(&left, &right, "10.9.0.2".parse().unwrap());
        right.run("ip", ["link", "set", "eth0", "down"]).succeeds();
        eventually(SOON, "a number is sent again", || {
            stream.retransmissions() > 0
        });
        right.run("ip", ["link", "set", "eth0", "up"]).succeeds();
        let summary = stream.finish();
        assert!(
            summary.longest_gap > Duration::from_millis(100),
            "{summary:?}"
        );
    }
}
