//! The packets that pass an interface, captured inside the namespace that it belongs to.
//!
//! A packet socket of our own instead of `tcpdump`: it is bound, and so sees every packet, when
//! [`Capture::on`] returns; and what it yields are values to compare, not text.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::deadline::eventually;
use crate::namespace::Namespace;
use crate::packet::Packet;

/// Longest wait of the reader, and so for the end of a capture that sees nothing.
const READ_TIMEOUT: Duration = Duration::from_millis(20);

/// A capture that runs until it is dropped.
#[derive(Debug)]
pub struct Capture {
    title: String,
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts a capture of IP packets at an interface. Nothing that passes after the return is missed.
    ///
    /// # Panics
    /// When there is no such interface, or no right to capture (tests need root).
    #[track_caller]
    pub fn on(namespace: &Namespace, interface: &str) -> Self {
        let title = format!("{} at {interface}", namespace.title());
        let socket = namespace
            .enter(|| open(interface))
            .unwrap_or_else(|error| panic!("capture in {title}: {error}"));
        let packets = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (packets, stop) = (Arc::clone(&packets), Arc::clone(&stop));
            std::thread::spawn(move || read(&socket, &packets, &stop))
        };
        Self {
            title,
            packets,
            stop,
            reader: Some(reader),
        }
    }

    /// What was seen so far, oldest first.
    pub fn packets(&self) -> Vec<Packet> {
        self.packets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a packet that fits, among those seen before as well.
    ///
    /// # Panics
    /// When none came in time; prints all that came.
    #[track_caller]
    pub fn expect(&self, deadline: Duration, what: &str, fits: impl Fn(&Packet) -> bool) -> Packet {
        eventually(deadline, &format!("{} sees {what}", self.title), || {
            self.packets()
                .into_iter()
                .find(&fits)
                .ok_or_else(|| format!("it saw:\n{self}"))
        })
    }

    /// Fails if a packet that fits was seen so far.
    ///
    /// Only as good as the moment of asking: first `expect` a packet that comes later.
    ///
    /// # Panics
    /// When one was seen.
    #[track_caller]
    pub fn refuse(&self, what: &str, fits: impl Fn(&Packet) -> bool) {
        let found = self.packets().into_iter().find(fits);
        if let Some(packet) = found {
            panic!("{} must not see {what}, but saw: {packet}", self.title);
        }
    }
}

impl std::fmt::Display for Capture {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for packet in self.packets() {
            writeln!(text, "  {packet}")?;
        }
        to.write_str(&text)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // It has nothing to say: a panic of the reader was printed when it happened.
            drop(reader.join());
        }
    }
}

/// A packet socket at one interface: packet(7).
fn open(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // Protocol 0 receives nothing until bind names interface and protocol: no stray packet of another.
    // SAFETY: plain system call.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    set_read_timeout(&socket)?;
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the pointer is to a sockaddr_ll and the length is its own.
    let bound = unsafe {
        libc::bind(
            raw,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if bound == 0 {
        Ok(socket)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_read_timeout(socket: &OwnedFd) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    use nix::sys::time::{TimeVal, TimeValLike};
    let timeout = TimeVal::milliseconds(READ_TIMEOUT.as_millis() as i64);
    setsockopt(socket, sockopt::ReceiveTimeout, &timeout).map_err(io::Error::from)?;
    setsockopt(socket, sockopt::RcvBufForce, &(8 << 20)).map_err(io::Error::from)
}

fn read(socket: &OwnedFd, packets: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match receive(socket) {
            Ok(Some(packet)) => packets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(packet),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The interface went away, as it does when its pod is deleted.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) => panic!("read captured packet: {error}"),
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Option<Packet>> {
    let mut buffer = [0_u8; 128];
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: buffer, address and length are ours and as long as stated.
    let got = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let is_ip =
        [libc::ETH_P_IP, libc::ETH_P_IPV6].contains(&i32::from(u16::from_be(from.sll_protocol)));
    let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
    Ok(is_ip
        .then(|| Packet::parse(&buffer[..got], outgoing))
        .flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::SOON;
    use crate::packet::Protocol;
    use crate::topology::Topology;
    use std::net::UdpSocket;

    #[test]
    fn a_datagram_is_seen_leaving_one_end_and_entering_the_other() {
        let (topology, [left, right]) = Topology::new(["left", "right"]);
        topology.join(
            (&left, "eth0", "10.9.0.1/24"),
            (&right, "eth1", "10.9.0.2/24"),
        );
        let near = Capture::on(&left, "eth0");
        let far = Capture::on(&right, "eth1");
        let sender = left.enter(|| UdpSocket::bind("10.9.0.1:1111")).unwrap();
        sender.send_to(b"x", "10.9.0.2:2222").unwrap();

        let udp = |packet: &Packet| packet.protocol == Protocol::Udp;
        let left_by = near.expect(SOON, "the datagram", udp);
        let came_in = far.expect(SOON, "the datagram", udp);
        assert_eq!(
            left_by.to_string(),
            "out Udp 10.9.0.1:1111 -> 10.9.0.2:2222"
        );
        assert_eq!(
            came_in,
            Packet {
                outgoing: false,
                ..left_by
            }
        );
        far.refuse("TCP", |packet| packet.protocol == Protocol::Tcp);
    }
}
