//! As much of SCTP (RFC 9260) as says who reaches whom, by raw sockets: an INIT and its INIT ACK.
//!
//! Kernels without SCTP still track and translate it. The name of who answers travels as a parameter that
//! nobody knows.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use sealane_net::{Family, Protocol};

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COMMON_HEADER: usize = 12;
const CHUNK: usize = 20;
/// RFC 9260 §3.2.1: whoever does not know it passes it over.
const PARAMETER: u16 = 0x8094;
const PARAMETER_HEADER: usize = 4;
const TAG: u32 = 0x5ea1_a4e5;

/// A raw socket for packets of SCTP.
pub struct Sctp {
    family: Family,
    socket: UdpSocket,
}

/// A packet with one chunk.
struct Packet<'a> {
    ports: [u16; 2],
    verification_tag: u32,
    chunk: u8,
    text: &'a str,
}

impl Sctp {
    /// In the namespace of the calling thread.
    pub fn open(family: Family) -> Self {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system call.
        let raw = unsafe { libc::socket(domain, kind, Protocol::Sctp.number().into()) };
        assert!(raw >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the kernel has just given us this descriptor, nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        // Of a UDP socket only calls are used that any socket of packets has.
        Self {
            family,
            socket: socket.into(),
        }
    }

    /// Answers every INIT to a port, for ever.
    pub fn answer(&self, port: u16, tell: impl Fn(IpAddr) -> String) {
        let mut buffer = [0; 256];
        while let Ok((length, peer)) = self.socket.recv_from(&mut buffer) {
            let packet = self.payload(&buffer[..length]);
            if read(packet, INIT).is_none_or(|(ports, _)| ports[1] != port) {
                continue;
            }
            let answer = Packet {
                ports: [port, u16::from_be_bytes([packet[0], packet[1]])],
                verification_tag: TAG,
                chunk: INIT_ACK,
                text: &tell(peer.ip()),
            };
            // The kernel wants no port here.
            let _ = self.socket.send_to(&answer.bytes(), (peer.ip(), 0));
        }
    }

    /// What an INIT is answered with.
    pub fn ask(&self, from: u16, to: SocketAddr, patience: Duration) -> io::Result<String> {
        self.socket.connect((to.ip(), 0))?;
        self.socket.set_read_timeout(Some(patience))?;
        let init = Packet {
            ports: [from, to.port()],
            verification_tag: 0,
            chunk: INIT,
            text: "",
        };
        super::ask::send(&self.socket, &init.bytes())?;
        let mut buffer = [0; 256];
        loop {
            let length = self.socket.recv(&mut buffer)?;
            let packet = self.payload(&buffer[..length]);
            match read(packet, INIT_ACK) {
                Some((ports, text)) if ports == [to.port(), from] => return Ok(text),
                _ => {}
            }
        }
    }

    /// Without the IP header, which raw sockets of IPv4 show and those of IPv6 do not.
    fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.family {
            Family::V4 => &bytes[usize::from(bytes[0] & 0x0f) * 4..],
            Family::V6 => bytes,
        }
    }
}

impl Packet<'_> {
    /// RFC 9260 §3, §3.3.2, §3.3.3
    fn bytes(&self) -> Vec<u8> {
        let parameter = PARAMETER_HEADER + self.text.len();
        let mut bytes = self.ports.map(u16::to_be_bytes).concat();
        bytes.extend(self.verification_tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.chunk, 0]);
        bytes.extend(((CHUNK + parameter) as u16).to_be_bytes());
        bytes.extend(TAG.to_be_bytes());
        bytes.extend(65_536_u32.to_be_bytes());
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(TAG.to_be_bytes());
        bytes.extend(PARAMETER.to_be_bytes());
        bytes.extend((parameter as u16).to_be_bytes());
        bytes.extend(self.text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let sum = crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// Ports and text of a packet with this chunk, if its checksum is right.
fn read(packet: &[u8], chunk: u8) -> Option<([u16; 2], String)> {
    let number = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let mut copy = packet.to_vec();
    copy.get_mut(8..12)?.fill(0);
    let is_right = crc32c(&copy).to_le_bytes() == packet[8..12];
    let at = COMMON_HEADER + CHUNK;
    let length = usize::from(number(at + 2)?);
    let text = packet.get(at + PARAMETER_HEADER..at + length)?;
    let ports = [number(0)?, number(2)?];
    (is_right && packet[COMMON_HEADER] == chunk)
        .then(|| (ports, String::from_utf8_lossy(text).into_owned()))
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
        }
    }
    !crc
}

#[test]
fn checksums_are_those_of_rfc_3720() {
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
}
