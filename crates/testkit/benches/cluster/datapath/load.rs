//! A client and a server: threads of this process, with sockets made inside the namespaces.
//!
//! Both run on one processor at a high priority, so that what is measured is the way of a packet
//! through the kernel, and neither the wake-up of another processor nor somebody else's turn.
//! Throughput has a processor for each end, and is put in relation to the processors' time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use sealane_testkit::Namespace;

use super::paths::Path;

const ROUND_TRIPS: usize = 1000;
const CONNECTIONS: usize = 150;
const STREAM: Duration = Duration::from_millis(200);
const CHUNK: usize = 128 << 10;

/// What one turn on a path has given.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Middle of the round trips of one byte over TCP.
    pub round_trip_us: f64,
    /// Middle of the times to connect, send a byte each way, and close.
    pub connection_us: f64,
    pub gbit_per_s: f64,
    /// For each second that the processors spent for it in this process and in the kernel on its behalf.
    pub gbit_per_cpu_s: f64,
}

/// One turn on a path.
pub fn measure(path: &Path) -> Measured {
    let (gbit_per_s, gbit_per_cpu_s) = stream(path);
    Measured {
        round_trip_us: middle(round_trips(path)),
        connection_us: middle(connections(path)),
        gbit_per_s,
        gbit_per_cpu_s,
    }
}

fn round_trips(path: &Path) -> Vec<Duration> {
    let listener = listen(path);
    let target = listener.local_addr().expect("a listener has an address");
    let server = thread::spawn(move || {
        settle_on(Processor::Last);
        let (mut peer, _) = listener.accept().expect("accept");
        peer.set_nodelay(true).expect("set no delay");
        let mut byte = [0];
        while peer.read_exact(&mut byte).is_ok() {
            peer.write_all(&byte).expect("answer");
        }
    });
    let times = path.client.enter(|| {
        settle_on(Processor::Last);
        let mut peer = TcpStream::connect(target).expect("connect");
        peer.set_nodelay(true).expect("set no delay");
        (0..ROUND_TRIPS).map(|_| exchange(&mut peer)).collect()
    });
    server.join().expect("the server ends");
    times
}

fn exchange(peer: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut byte = [7];
    peer.write_all(&byte).expect("ask");
    peer.read_exact(&mut byte).expect("read the answer");
    begun.elapsed()
}

fn connections(path: &Path) -> Vec<Duration> {
    let listener = listen(path);
    let target = listener.local_addr().expect("a listener has an address");
    connect_to(listener, &path.client, target)
}

/// Middle of the times of connections to `target`, which `server` answers at `address`.
pub fn connection_us(
    client: &Namespace,
    server: &Namespace,
    address: SocketAddr,
    target: SocketAddr,
) -> f64 {
    let listener = server.enter(|| TcpListener::bind(address));
    let listener = listener.unwrap_or_else(|error| panic!("listen at {address}: {error}"));
    middle(connect_to(listener, client, target))
}

fn connect_to(listener: TcpListener, client: &Namespace, target: SocketAddr) -> Vec<Duration> {
    let server = thread::spawn(move || {
        settle_on(Processor::Last);
        for _ in 0..CONNECTIONS {
            let (mut peer, _) = listener.accept().expect("accept");
            let mut byte = [0];
            peer.read_exact(&mut byte).expect("read the question");
            peer.write_all(&byte).expect("answer");
        }
    });
    let times = client.enter(|| {
        settle_on(Processor::Last);
        let connection = |_| {
            let begun = Instant::now();
            let mut peer = TcpStream::connect(target).expect("connect");
            exchange(&mut peer);
            drop(peer);
            begun.elapsed()
        };
        (0..CONNECTIONS).map(connection).collect()
    });
    server.join().expect("the server ends");
    times
}

/// Gigabits in a second, and in a second of the processors.
fn stream(path: &Path) -> (f64, f64) {
    let listener = listen(path);
    let target = listener.local_addr().expect("a listener has an address");
    let before = processor_time();
    let server = thread::spawn(move || {
        settle_on(Processor::Last);
        let (mut peer, _) = listener.accept().expect("accept");
        let (mut buffer, mut received) = (vec![0; CHUNK], 0);
        let begun = Instant::now();
        loop {
            match peer.read(&mut buffer).expect("receive") {
                0 => return (received, begun.elapsed()),
                length => received += length,
            }
        }
    });
    path.client.enter(|| {
        settle_on(Processor::First);
        let mut peer = TcpStream::connect(target).expect("connect");
        let (chunk, begun) = (vec![7; CHUNK], Instant::now());
        while begun.elapsed() < STREAM {
            peer.write_all(&chunk).expect("send");
        }
    });
    let (bytes, elapsed) = server.join().expect("the server ends");
    let spent = processor_time() - before;
    let gbit = bytes as f64 * 8.0 / 1e9;
    (gbit / elapsed.as_secs_f64(), gbit / spent.as_secs_f64())
}

fn listen(path: &Path) -> TcpListener {
    path.server
        .enter(|| TcpListener::bind((path.address, 0)))
        .unwrap_or_else(|error| panic!("listen at {} for {}: {error}", path.address, path.name))
}

#[derive(Clone, Copy)]
enum Processor {
    First,
    Last,
}

/// Keeps the calling thread on one processor, before others that want it.
fn settle_on(processor: Processor) {
    const BEFORE_OTHERS: i32 = -15;
    let count = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let number = match processor {
        Processor::First => 0,
        Processor::Last => count - 1,
    };
    let mut set = CpuSet::new();
    let this = Pid::from_raw(0);
    // A machine that does not let us is only less quiet.
    let _ = set.set(number).and_then(|()| sched_setaffinity(this, &set));
    // SAFETY: takes and gives numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, BEFORE_OTHERS) };
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("ask for the processor time");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
